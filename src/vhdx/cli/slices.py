"""A long range of a disk cut into slices, so that one can watch what is done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.cli.render import progress_bar
from vhdx.pieces import pieces

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdx.disk.base import VirtualDisk

_SLICE = 4 << 30
"""A multiple of every block size, so that no border of slices cuts a block in two."""


def in_slices(disk: VirtualDisk, offset: int, length: int, label: str, work: Callable[..., None]) -> None:
    """Call ``work`` with ``length`` and ``offset`` of each slice.

    Raises ValueError for a range that is empty or not wholly inside the disk.

    The disk may be a partition, whose borders lie anywhere in a block.
    """
    from vhdx.disk.base import check_change  # noqa: PLC0415  --help needs no library
    from vhdx.disk.slice import SliceDisk  # noqa: PLC0415

    check_change(offset, length, disk.size)
    base = disk.start if isinstance(disk, SliceDisk) else 0
    with progress_bar(label) as progress:
        for start, count in pieces(base + offset, length, _SLICE):
            work(length=count, offset=start - base)
            if progress is not None:
                progress(start + count - base - offset, length)
