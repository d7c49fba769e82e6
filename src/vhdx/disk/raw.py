"""A flat file or block device as a virtual disk."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from vhdx.disk.base import bytes_of, check_range
from vhdx.disk.stream import DiskStream
from vhdx.extents import BlockState, Extent, ExtentKind
from vhdx.storage.base import fill_zeros

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from typing_extensions import Buffer

    from vhdx.storage.base import ReadableStorage

SECTOR_SIZE = 512


class RawDisk:
    """A flat file, its last sector filled up with zeros. Owns its storage."""

    read_only = True
    logical_sector_size = SECTOR_SIZE
    physical_sector_size = SECTOR_SIZE

    def __init__(self, storage: ReadableStorage) -> None:
        self._storage = storage
        self.stored_size = storage.size()
        """The length of the file in bytes, its last sector not filled up."""
        self.size = -(-self.stored_size // SECTOR_SIZE) * SECTOR_SIZE

    def pread(self, length: int, offset: int) -> bytes:
        """Exactly ``length`` bytes."""
        check_range(offset, length, self.size)
        stored = self._stored_part(length, offset)
        return self._storage.read(stored, offset) + bytes(length - stored)

    def preadinto(self, buffer: Buffer, offset: int) -> None:
        """Fill a writable buffer."""
        view = bytes_of(buffer)
        check_range(offset, len(view), self.size)
        stored = self._stored_part(len(view), offset)
        if stored:
            self._storage.read_into(view[:stored], offset)
        fill_zeros(view[stored:])

    def pwrite(self, data: Buffer, offset: int) -> None:  # noqa: ARG002  the protocol's signature
        """Refused: a flat file is only read."""
        raise io.UnsupportedOperation("a raw disk is only read")

    def _stored_part(self, length: int, offset: int) -> int:
        return max(0, min(length, self.stored_size - offset))

    def extents(self, *, offset: int = 0, length: int | None = None) -> Iterator[Extent]:
        """What a range is made of: data, and holes that the host knows of."""
        length = self.size - offset if length is None else length
        check_range(offset, length, self.size)
        return self._extents(offset, offset + length)

    def _extents(self, offset: int, end: int) -> Iterator[Extent]:
        for start, count in self._storage.data_ranges(offset, self._stored_part(end - offset, offset)):
            if start > offset:
                yield _hole(offset, start)
            yield Extent(start, count, ExtentKind.DATA, BlockState.FULLY_PRESENT, 1, start)
            offset = start + count
        if offset < end:
            yield _hole(offset, end)

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """The runs of the file that are no holes."""
        return self._storage.data_ranges(0, self.stored_size)

    @property
    def chain(self) -> tuple[str, ...]:
        """The name of the file."""
        return (self._storage.name,)

    def files(self) -> tuple[tuple[int, int], ...]:
        """Device and inode of the file."""
        identity = self._storage.identity()
        return () if identity is None else (identity,)

    def stream(self) -> DiskStream:
        """The disk as a file object."""
        return DiskStream(self)

    def close(self) -> None:
        """Let go of the file."""
        self._storage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _hole(offset: int, end: int) -> Extent:
    return Extent(offset, end - offset, ExtentKind.UNALLOCATED, BlockState.NOT_PRESENT, 0, None)
