"""A range of a disk, a partition for one, as a disk of its own."""

from __future__ import annotations

from vhdx.disk.base import bytes_in, bytes_of, check_change, check_range, keywords_only
from vhdx.disk.opened import Disk
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from vhdx.disk.base import Buffer, Contexts, Format
    from vhdx.extents import Doubt, Extent


class PartOfDisk(Disk):
    """What is the same for all parts of a disk. ``owns`` says whether closing closes the whole disk."""

    def __init__(self, disk: Disk, size: int, *, owns: bool) -> None:
        self._disk = disk
        self._size = size
        self._owns = owns

    @property
    def size(self) -> int:
        """The capacity in bytes."""
        return self._size

    @property
    def format(self) -> Format:
        """That of the whole disk."""
        return self._disk.format

    @property
    def disk_type(self) -> str:
        """That of the whole disk."""
        return self._disk.disk_type

    @property
    def block_size(self) -> int | None:
        """That of the whole disk."""
        return self._disk.block_size

    @property
    def disk_id(self) -> UUID | None:
        """That of the whole disk."""
        return self._disk.disk_id

    @property
    def logical_sector_size(self) -> int:
        """That of the whole disk."""
        return self._disk.logical_sector_size

    @property
    def physical_sector_size(self) -> int:
        """That of the whole disk."""
        return self._disk.physical_sector_size

    @property
    def read_only(self) -> bool:
        """Whether the whole disk is."""
        return self._disk.read_only

    @property
    def chain(self) -> tuple[str, ...]:
        """That of the whole disk."""
        return self._disk.chain

    @property
    def contexts(self) -> Contexts:
        """Those of the whole disk."""
        return self._disk.contexts

    def files(self) -> tuple[tuple[int, int], ...]:
        """Device and inode of every file behind the whole disk."""
        return self._disk.files()

    def flush(self) -> None:
        """Return when everything written before, to the whole disk, is durable."""
        self._disk.flush()

    def close(self) -> None:
        """Close the whole disk, or only make durable what was written if that is somebody else's."""
        if self._owns:
            self._disk.close()
        elif not self._disk.read_only:
            self._disk.flush()

    def _length(self, offset: int, length: int | None) -> int:
        length = self._size - offset if length is None else length
        check_range(offset, length, self._size)
        return length


class SliceDisk(PartOfDisk):
    """``length`` bytes of a disk from ``offset`` on. Nothing outside can be reached.

    Raises ValueError for a range that is not wholly inside the disk.
    """

    def __init__(self, disk: Disk, offset: int, length: int, *, owns: bool = True) -> None:
        check_range(offset, length, disk.size)
        super().__init__(disk, length, owns=owns)
        self.start = offset
        """Where it begins on the disk, in bytes."""

    def pread(self, length: int, offset: int) -> bytes:
        """Exactly ``length`` bytes."""
        check_range(offset, length, self._size)
        return self._disk.pread(length, self.start + offset)

    def preadinto(self, buffer: Buffer, offset: int) -> None:
        """Fill a writable buffer."""
        view = bytes_of(buffer)
        check_range(offset, len(view), self._size)
        self._disk.preadinto(view, self.start + offset)

    def pwrite(self, data: Buffer, offset: int) -> None:
        """Write all of ``data``."""
        view = bytes_in(data)
        check_range(offset, len(view), self._size)
        self._disk.pwrite(view, self.start + offset)

    @keywords_only
    def zero(
        self, *, length: int, offset: int, keep_allocated: bool = False, fast_only: bool = False
    ) -> None:
        """Make a range read as zeros."""
        check_change(offset, length, self._size)
        self._disk.zero(
            length=length, offset=self.start + offset, keep_allocated=keep_allocated, fast_only=fast_only
        )

    @keywords_only
    def trim(self, *, length: int, offset: int) -> None:
        """Say that nobody needs the contents of a range any more."""
        check_change(offset, length, self._size)
        self._disk.trim(length=length, offset=self.start + offset)

    def extents(self, *, offset: int = 0, length: int | None = None) -> Iterator[Extent]:
        """What a range is made of; offsets are those of the slice."""
        length = self._length(offset, length)
        extents = self._disk.extents(offset=self.start + offset, length=length)
        return (extent._replace(offset=extent.offset - self.start) for extent in extents)

    def data_ranges(self, *, offset: int = 0, length: int | None = None) -> Iterator[tuple[int, int]]:
        """The runs of a range that may hold something; offsets are those of the slice."""
        length = self._length(offset, length)
        ranges = self._disk.data_ranges(offset=self.start + offset, length=length)
        return ((start - self.start, count) for start, count in ranges)

    @property
    def doubts(self) -> Iterator[Doubt]:
        """Those of the whole disk, as far as they lie in the slice."""
        for doubt in self._disk.doubts:
            start = max(doubt.offset - self.start, 0)
            end = min(doubt.offset + doubt.length - self.start, self._size)
            if start < end:
                yield doubt._replace(offset=start, length=end - start)

    def __repr__(self) -> str:
        return f"<{self._size} bytes at {self.start} of {self._disk!r}>"
