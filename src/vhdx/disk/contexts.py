"""What a server can tell of the blocks behind an extent: the name of a context and the number for it.

Names beginning with ``x-`` are free for everybody in NBD. QEMU's dirty bitmaps are what backup programs ask
for: bit 0 says that a range was changed since something.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import partial

from vhdx.text import printable
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vhdx.disk.base import Contexts
    from vhdx.extents import Extent
    from vhdx.image.image import Image


def _state(extent: Extent) -> int:
    return int(extent.state) if extent.depth == 1 else 0


def _depth(extent: Extent) -> int:
    return extent.depth


BLOCK_CONTEXTS: Contexts = {
    "x-vhdx:state": _state,  # of the block in the image itself; 0 (not present) where others answer
    "x-vhdx:depth": _depth,  # 0 nobody, 1 the image itself, 2 its parent: as qemu:allocation-depth
}
_SINCE = "qemu:dirty-bitmap:since-"


def chain_contexts(layers: Sequence[Image], visible: Sequence[int]) -> Contexts:
    """Those of a chain: also, for each ancestor, what was changed since it by the layers over it.

    ``visible`` is how much of each layer can be seen.
    """
    found = dict(BLOCK_CONTEXTS)
    for depth, name in enumerate(_names(layers), 1):
        if depth > 1:
            shown, had = visible[depth - 2], layers[depth - 1].geometry.disk_size
            hides = shown < min(had, layers[0].geometry.disk_size)
            found[_SINCE + name] = partial(_is_dirty, depth=depth, hides=hides)
    return found


def _names(layers: Sequence[Image]) -> list[str]:
    """What people call the layers: by their files, or by identity where that is not one name that shows."""
    files = [os.path.basename(layer.name) for layer in layers]
    count = Counter(files)
    return [
        name if count[name] == 1 and printable(name) == name else str(layer.header.data_write_guid)
        for name, layer in zip(files, layers, strict=True)
    ]


def _is_dirty(extent: Extent, *, depth: int, hides: bool) -> int:
    """Whether a layer over the one at this depth answers.

    ``hides``: one of them is too short to show all that was there. Then what nobody answers may be that.
    """
    return int(0 < extent.depth < depth or (hides and not extent.depth))
