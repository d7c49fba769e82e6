"""A place for bytes that the host cannot read in part: zeros stand where it cannot, and it is told where.

A read that fails is halved until what fails is a sector. What was read is not read again, and a sector that
failed is never tried again: of a dying drive each try may take a minute.
"""

from __future__ import annotations

import errno
from _thread import allocate_lock  # as `threading.Lock`, which takes longer to import

from vhdx.storage.base import fill_zeros
from vhdx.storage.runs import Runs
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.storage.base import ReadableStorage

SECTOR_SIZE = 512
"""No drive has smaller sectors: what cannot be read is no less."""


class SkippingStorage:
    """What can be read of a base storage. Owns it."""

    def __init__(self, base: ReadableStorage) -> None:
        self._base = base
        self._unreadable = Runs()
        self._lock = allocate_lock()

    @property
    def name(self) -> str:
        """The name of the base."""
        return self._base.name

    def size(self) -> int:
        """The length in bytes."""
        return self._base.size()

    def identity(self) -> tuple[int, int] | None:
        """The identity of the base."""
        return self._base.identity()

    def unreadable(self, start: int, end: int) -> list[tuple[int, int]]:
        """(start, end) of what the host could not read between two places, as far as it was tried."""
        with self._lock:
            return list(self._unreadable.within(start, end))

    def read(self, length: int, file_offset: int) -> bytes:
        """Exactly ``length`` bytes."""
        buffer = bytearray(length)
        self.read_into(memoryview(buffer), file_offset)
        return bytes(buffer)

    def read_into(self, buffer: memoryview, file_offset: int) -> None:
        """Fill the buffer, with zeros where the host has failed or fails now."""
        at, end = file_offset, file_offset + len(buffer)
        for start, stop in [*self.unreadable(file_offset, end), (end, end)]:
            if start > at:
                self._fill(buffer[at - file_offset : start - file_offset], at)
            fill_zeros(buffer[start - file_offset : stop - file_offset])
            at = stop

    def _fill(self, buffer: memoryview, file_offset: int) -> None:
        """Read a range that has not failed yet; smaller pieces where it fails now."""
        try:
            self._base.read_into(buffer, file_offset)
        except OSError as error:
            end = file_offset + len(buffer)
            if error.errno != errno.EIO or end > self._base.size():
                raise
            read_up_to = max(file_offset, getattr(error, "failed_at", file_offset))
            self._fill_rest(buffer[read_up_to - file_offset :], read_up_to)

    def _fill_rest(self, buffer: memoryview, file_offset: int) -> None:
        end = file_offset + len(buffer)
        middle = (file_offset + len(buffer) // 2) // SECTOR_SIZE * SECTOR_SIZE
        if middle <= file_offset:
            middle = file_offset // SECTOR_SIZE * SECTOR_SIZE + SECTOR_SIZE
        if middle >= end:
            fill_zeros(buffer)
            with self._lock:
                self._unreadable.add(file_offset, end)
            return
        self._fill(buffer[: middle - file_offset], file_offset)
        self._fill(buffer[middle - file_offset :], middle)

    def data_ranges(self, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
        """The runs of a range that the host does not know to be holes."""
        return self._base.data_ranges(file_offset, length)

    def close(self) -> None:
        """Close the base."""
        self._base.close()
