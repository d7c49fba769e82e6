"""A partition or volume as a disk: a slice, or, of a logical volume that stands in several pieces, these."""

from __future__ import annotations

import errno
import os

from vhdx.disk.base import bytes_in, bytes_of, check_change, keywords_only
from vhdx.disk.partitions import partition_table
from vhdx.disk.slice import PartOfDisk, SliceDisk
from vhdx.disk.volumes import volumes
from vhdx.text import printable
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.disk.base import Buffer
    from vhdx.disk.opened import Disk
    from vhdx.disk.volume_map import VolumeMap
    from vhdx.extents import Doubt, Extent

    Run = tuple[int, int, int]
    """Offset in the volume, offset on the disk, length."""


def one_partition(disk: Disk, number: int, *, owns: bool = True) -> SliceDisk:
    """A partition; ``owns`` says whether closing it closes the whole disk.

    Raises ValueError unless it is there and wholly inside the disk.
    """
    found = partition_table(disk).partition(number)
    if found.end > disk.size:
        raise ValueError(f"partition {number} reaches behind the end of the disk")
    return SliceDisk(disk, found.offset, found.length, owns=owns)


def one_volume(disk: Disk, name: str) -> Disk:
    """The volume of this name, label or UUID. Raises ValueError unless there is exactly one."""
    every = volumes(disk, agree=False)
    found = [each for each in every if each.is_named(name)]
    if len(found) != 1:
        there = ", ".join(printable(each.title) for each in found or every) or "nothing that is known"
        count = "several volumes are" if found else "no volume is"
        raise ValueError(f"{count} called {printable(name)!r}; there is: {there}")
    return disk_of(disk, found[0].map)


def disk_of(disk: Disk, place: VolumeMap) -> Disk:
    """What stands at a place of a disk as a disk of its own."""
    if len(place.segments) == 1:
        segment = place.segments[0]
        return SliceDisk(disk, segment.disk_offset, segment.length, owns=False)
    return ScatteredDisk(disk, place)


class ScatteredDisk(PartOfDisk):
    """Pieces of a disk in an order of their own. Nothing outside can be reached."""

    def __init__(self, disk: Disk, place: VolumeMap) -> None:
        super().__init__(disk, place.size, owns=False)
        self._place = place

    def _runs(self, offset: int, length: int) -> Iterator[Run]:
        """A range piece by piece. Raises ValueError where it is not wholly inside."""
        for start, count in self._place.runs(offset, length):
            yield offset, start, count
            offset += count

    def pread(self, length: int, offset: int) -> bytes:
        """Exactly ``length`` bytes."""
        return self._place.read(length, offset)

    def preadinto(self, buffer: Buffer, offset: int) -> None:
        """Fill a writable buffer."""
        view = bytes_of(buffer)
        for at, start, count in self._runs(offset, len(view)):
            self._disk.preadinto(view[at - offset : at - offset + count], start)

    def pwrite(self, data: Buffer, offset: int) -> None:
        """Write all of ``data``."""
        view = bytes_in(data)
        for at, start, count in self._runs(offset, len(view)):
            self._disk.pwrite(view[at - offset : at - offset + count], start)

    @keywords_only
    def zero(
        self, *, length: int, offset: int, keep_allocated: bool = False, fast_only: bool = False
    ) -> None:
        """Make a range read as zeros; ``fast_only`` refuses what is more than one piece."""
        check_change(offset, length, self._size)
        runs = list(self._runs(offset, length))
        if fast_only and len(runs) > 1:  # the first could be zeroed before the second refuses
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        for _, start, count in runs:
            self._disk.zero(length=count, offset=start, keep_allocated=keep_allocated, fast_only=fast_only)

    @keywords_only
    def trim(self, *, length: int, offset: int) -> None:
        """Say that nobody needs the contents of a range any more."""
        check_change(offset, length, self._size)
        for _, start, count in self._runs(offset, length):
            self._disk.trim(length=count, offset=start)

    def extents(self, *, offset: int = 0, length: int | None = None) -> Iterator[Extent]:
        """What a range is made of; offsets are those of the volume."""
        return self._extents(offset, self._length(offset, length))

    def _extents(self, offset: int, length: int) -> Iterator[Extent]:
        for at, start, count in self._runs(offset, length):
            for extent in self._disk.extents(offset=start, length=count):
                yield extent._replace(offset=extent.offset - start + at)

    def data_ranges(self, *, offset: int = 0, length: int | None = None) -> Iterator[tuple[int, int]]:
        """The runs of a range that may hold something; offsets are those of the volume."""
        return self._data_ranges(offset, self._length(offset, length))

    def _data_ranges(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        for at, start, count in self._runs(offset, length):
            for place, stored in self._disk.data_ranges(offset=start, length=count):
                yield place - start + at, stored

    @property
    def doubts(self) -> Iterator[Doubt]:
        """Those of the whole disk, as far as they lie in the volume."""
        for doubt in self._disk.doubts:
            for segment in self._place.segments:
                start = max(doubt.offset, segment.disk_offset)
                end = min(doubt.offset + doubt.length, segment.disk_offset + segment.length)
                if start < end:
                    at = start - segment.disk_offset + segment.offset
                    yield doubt._replace(offset=at, length=end - start)

    def __repr__(self) -> str:
        return f"<{self._size} bytes in {len(self._place.segments)} pieces of {self._disk!r}>"
