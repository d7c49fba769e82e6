"""What a server can tell of the blocks behind an extent: the name of a context and the number for it.

Names beginning with ``x-`` are free for everybody in NBD.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.disk.base import Contexts
    from vhdx.extents import Extent


def _state(extent: Extent) -> int:
    return int(extent.state) if extent.depth == 1 else 0


def _depth(extent: Extent) -> int:
    return extent.depth


BLOCK_CONTEXTS: Contexts = {
    "x-vhdx:state": _state,  # of the block in the image itself; 0 (not present) where others answer
    "x-vhdx:depth": _depth,  # 0 nobody, 1 the image itself, 2 its parent: as qemu:allocation-depth
}
