"""What a merge takes of the host: which layers share their space, and whether the rest fits."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from itertools import chain
from typing import TYPE_CHECKING

from vhdx.extents import ExtentKind, merged, side_by_side
from vhdx.storage.file import GIVES_BACK, FileStorage, open_for_writing
from vhdx.storage.sharing import may_share
from vhdx.units import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vhdx.disk.chain import VhdxDisk
    from vhdx.image.image import Image
    from vhdx.storage.sharing import Clone

_HOST_BLOCK = 4096
"""What a host takes for a single byte, as a rule."""


def sharing_of(layers: Sequence[Image], clone: Clone) -> list[bool]:
    """Which of the layers can share space with the last one. Raises ValueError where all must and one cannot.

    Only of what may be written to it can be asked.
    """
    *upper, target = layers
    with contextlib.ExitStack() as opened:
        file = target.file
        if clone != "never" and isinstance(file, FileStorage) and file.shared_unit():
            file = opened.enter_context(contextlib.closing(open_for_writing(file.name, lock=False)))
        return [may_share(clone, layer.file, file) for layer in upper]


def refuse_without_space(disk: VhdxDisk, depth: int, sharing: Sequence[bool]) -> None:
    """What the layers have and the one that they go into has no space for yet has to fit the host."""
    target = disk.layers[depth]
    needed = sum(
        _new_bytes(layer, target, shared=shared)
        for layer, shared in zip(disk.layers[:depth], sharing, strict=True)
    )
    if target.metadata.disk_type == "fixed":
        needed += max(0, disk.size - target.geometry.disk_size)
    free = shutil.disk_usage(os.path.realpath(target.name)).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"merging takes {format_size(needed)} more, of which the file system has {format_size(free)}: "
            f"nothing was merged; {GIVES_BACK}",
            target.name,
        )


def _new_bytes(layer: Image, target: Image, *, shared: bool) -> int:
    """What a layer stores and the target has no space for, in whole blocks of the host.

    Of what is ``shared`` only the ends are copied, which may be no whole blocks.
    """
    common = min(layer.geometry.disk_size, target.geometry.disk_size)
    ours, theirs = (merged(one.reader.extents(0, common)) for one in (layer, target))
    new = (ours for ours, theirs in side_by_side(ours, theirs) if theirs.kind is not ExtentKind.DATA)
    behind = layer.reader.extents(common, layer.geometry.disk_size - common)
    return _HOST_BLOCK * sum(
        min(2, -(-length // _HOST_BLOCK)) if shared else -(-length // _HOST_BLOCK)
        for extent in chain(new, behind)
        if extent.kind is ExtentKind.DATA and extent.file_offset is not None
        for _, length in layer.storage.data_ranges(extent.file_offset, extent.length)
    )
