"""A flat file or block device as a virtual disk."""

from __future__ import annotations

import errno
import io
import os
from _thread import RLock  # as `threading` has it, which takes longer to import

from vhdx.disk.base import bytes_in, bytes_of, check_change, check_range, keywords_only
from vhdx.disk.opened import Disk
from vhdx.disk.unreadable import told_of_disk
from vhdx.errors import ImageFailedError
from vhdx.extents import BlockState, Doubt, Extent, ExtentKind
from vhdx.storage.base import UNREADABLE_DATA, fill_zeros
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.disk.base import Buffer, Contexts, Format
    from vhdx.storage.base import ReadableStorage, Storage

SECTOR_SIZE = 512


class RawDisk(Disk):
    """A flat file, its last sector filled up with zeros. Owns its storage.

    ``writable`` is the same storage where it may be changed. Then the file's length must be whole sectors:
    ValueError, as a write into what was filled up would make it longer.

    Nothing here is half done between two calls of the host, so a signal handler may do whatever it likes.
    """

    format: Format = "raw"
    disk_type = "fixed"
    block_size = None
    disk_id = None
    logical_sector_size = SECTOR_SIZE
    physical_sector_size = SECTOR_SIZE

    def __init__(self, storage: ReadableStorage, writable: Storage | None = None) -> None:
        self._storage = storage
        self._writer = writable
        self._closed = False
        self._flushing = RLock()
        self._failure: OSError | None = None
        self.stored_size = storage.size()
        """The length of the file in bytes, its last sector not filled up."""
        self._size = -(-self.stored_size // SECTOR_SIZE) * SECTOR_SIZE
        if writable is not None and self.size != self.stored_size:
            raise ValueError(
                f"{storage.name} has {self.stored_size} bytes, which is no multiple of {SECTOR_SIZE}: "
                "such a raw disk is only read"
            )

    @property
    def storage(self) -> ReadableStorage:
        """The file."""
        return self._storage

    @property
    def size(self) -> int:
        """The capacity in bytes, a multiple of the sector size."""
        return self._size

    @property
    def read_only(self) -> bool:
        """Whether the disk was opened for reading only."""
        return self._writer is None

    @property
    def contexts(self) -> Contexts:
        """Nothing more can be told of a flat file."""
        return {}

    def pread(self, length: int, offset: int) -> bytes:
        """Exactly ``length`` bytes."""
        check_range(offset, length, self.size)
        stored = self._stored_part(length, offset)
        try:
            return self._storage.read(stored, offset) + bytes(length - stored)
        except OSError as error:
            raise told_of_disk(error, offset, length) from None

    def preadinto(self, buffer: Buffer, offset: int) -> None:
        """Fill a writable buffer."""
        view = bytes_of(buffer)
        check_range(offset, len(view), self.size)
        stored = self._stored_part(len(view), offset)
        if stored:
            try:
                self._storage.read_into(view[:stored], offset)
            except OSError as error:
                raise told_of_disk(error, offset, stored) from None
        fill_zeros(view[stored:])

    def pwrite(self, data: Buffer, offset: int) -> None:
        """Write all of ``data``."""
        view = bytes_in(data)
        check_range(offset, len(view), self.size)
        self._writable().write_at(view, offset)

    @keywords_only
    def zero(
        self, *, length: int, offset: int, keep_allocated: bool = False, fast_only: bool = False
    ) -> None:
        """Make a range read as zeros: a hole where the host can, else zeros are written.

        ``keep_allocated`` has space behind the zeros; ``fast_only`` makes a hole or raises OSError (ENOTSUP).
        """
        check_change(offset, length, self.size)
        storage = self._writable()
        if fast_only and keep_allocated:
            raise _not_fast(storage.name)
        if not keep_allocated and storage.punch(offset, length):
            return
        if fast_only:
            raise _not_fast(storage.name)
        storage.zero(offset, length)

    @keywords_only
    def trim(self, *, length: int, offset: int) -> None:
        """Give the space of a range back, where the host can; then it reads as zeros."""
        check_change(offset, length, self.size)
        storage = self._writable()
        storage.punch(offset, length)

    def flush(self) -> None:
        """Return when everything written before is durable.

        Once that has failed nothing is written any more: a host drops what it could not write, and answers
        the next time as if nothing had been, also another thread that asks at the same time.
        """
        with self._flushing:
            self._check()
            if self._writer is not None:
                try:
                    self._writer.flush()
                except OSError as error:
                    self._failure = error
                    raise

    def _check(self) -> None:
        if self._failure is not None:
            raise ImageFailedError(
                f"an earlier flush failed ({self._failure!r}); what was written before it may be lost",
                image=self._storage.name,
            ) from self._failure

    def _writable(self) -> Storage:
        if self._closed:
            raise ValueError("the disk is closed")
        self._check()
        if self._writer is None:
            raise io.UnsupportedOperation('the disk was opened for reading; open it with mode "r+"')
        return self._writer

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

    def data_ranges(self, *, offset: int = 0, length: int | None = None) -> Iterator[tuple[int, int]]:
        """The runs of a range of the file that are no holes."""
        length = self.size - offset if length is None else length
        check_range(offset, length, self.size)
        return self._storage.data_ranges(offset, self._stored_part(length, offset))

    @property
    def chain(self) -> tuple[str, ...]:
        """The name of the file."""
        return (self._storage.name,)

    @property
    def doubts(self) -> Iterator[Doubt]:
        """What the host could not read so far: a flat file has no structure that could be damaged."""
        host = self._storage
        from vhdx.storage.skipping import SkippingStorage  # noqa: PLC0415  sound disks need not wait for it

        unreadable = host.unreadable(0, self.stored_size) if isinstance(host, SkippingStorage) else []
        for start, end in unreadable:
            yield Doubt(start, end - start, f"{self._storage.name}: {UNREADABLE_DATA}")

    def files(self) -> tuple[tuple[int, int], ...]:
        """Device and inode of the file."""
        identity = self._storage.identity()
        return () if identity is None else (identity,)

    def close(self) -> None:
        """Make everything durable and let go of the file. Closing twice does no harm.

        Raises ImageFailedError, once, if an earlier `flush` has failed.
        """
        with self._flushing:
            if self._closed:
                return
            self._closed = True
            try:
                self.flush()
            finally:
                self._storage.close()


def _not_fast(name: str) -> OSError:
    return OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), name)


def _hole(offset: int, end: int) -> Extent:
    return Extent(offset, end - offset, ExtentKind.UNALLOCATED, BlockState.NOT_PRESENT, 0, None)
