"""The guard that every verb asks which can make a disk smaller: unasked, nothing but zeros is cut."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from vhdx.disk.partitions import partition_table
from vhdx.errors import UnsupportedImageError
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdx.disk.chain import VhdxDisk
    from vhdx.progress import Progress


def _nothing(_: int) -> range:
    """No data may go."""
    return range(0)


def refuse_data_loss(
    disk: VhdxDisk,
    lost: range,
    *,
    may_go: Callable[[int], range] = _nothing,
    progress: Progress | None = None,
) -> None:
    """Raise UnsupportedImageError if anything but zeros stands in a range of the disk that would be lost.

    ``may_go`` tells the range around a byte that may be lost nevertheless, an empty one if it may not.
    """
    at = lost.start
    while (first := _first_byte(disk, range(at, lost.stop), progress)) is not None:
        spared = may_go(first)
        if first not in spared:
            raise _loss(disk, first, lost.start)
        at = spared.stop


def _first_byte(disk: VhdxDisk, places: range, progress: Progress | None) -> int | None:
    """The first disk offset at which something stands that is not zero."""
    ranges = partial(disk.data_ranges, offset=places.start, length=len(places))
    done, total = 0, 0 if progress is None else sum(length for _, length in ranges())
    for start, length in ranges():
        for offset in range(start, start + length, MIB):
            piece = disk.pread(min(MIB, start + length - offset), offset)
            done += len(piece)
            if progress is not None:
                progress(done, total)
            if piece.count(0) != len(piece):
                return offset + len(piece) - len(piece.lstrip(b"\0"))
    return None


def _loss(disk: VhdxDisk, first: int, lost_from: int) -> UnsupportedImageError:
    inside = [str(p.number) for p in partition_table(disk).partitions if p.offset <= first < p.end]
    where = f", in partition {inside[0]}" if inside else ""
    return UnsupportedImageError(
        f"nothing but zeros may stand from disk offset {lost_from} on, but there is data at {first}{where}; "
        "shrink what is there first, or lose it with --shrink",
        image=disk.chain[0],
    )
