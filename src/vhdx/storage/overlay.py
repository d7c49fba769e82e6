"""Replayed sectors over a read-only base: how a dirty image is read without touching it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from vhdx.storage.base import fill_zeros

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.storage.base import ReadableStorage

SECTOR_SIZE = 4096


class OverlayFullError(Exception):
    """More was put into an overlay than it may hold in memory."""


class Overlay:
    """A base storage with sectors and runs of zeros laid over it. Filled newest first, then only read.

    Newest first, because then nothing that is put in ever has to be taken out again: a sector or a run
    that comes later only shows where nothing newer stands. ``limit`` bounds the number of sectors and
    the number of runs, and so the memory.
    """

    def __init__(self, base: ReadableStorage, limit: int) -> None:
        self._base = base
        self._limit = limit
        self._size = self._base_size = base.size()
        self._sectors: dict[int, bytes] = {}
        self._sector_offsets: list[int] = []
        self._zero_starts: list[int] = []
        self._zero_ends: list[int] = []

    @property
    def name(self) -> str:
        """The name of the base."""
        return self._base.name

    def size(self) -> int:
        """The length in bytes, with everything that was laid over the base."""
        return self._size

    def extend(self, size: int) -> None:
        """Make the whole at least ``size`` bytes long; what is added reads as zeros."""
        self._size = max(self._size, size)

    def put_sector(self, file_offset: int, sector: bytes) -> None:
        """Lay 4096 bytes under everything that was put in before."""
        self.extend(file_offset + SECTOR_SIZE)
        if file_offset in self._sectors or self._zeros_reach(file_offset) > file_offset:
            return
        if len(self._sectors) >= self._limit:
            raise OverlayFullError
        self._sectors[file_offset] = sector

    def put_zeros(self, file_offset: int, length: int) -> None:
        """Lay a run of zeros under everything that was put in before."""
        if length == 0:
            return
        end = file_offset + length
        self.extend(end)
        first = bisect_left(self._zero_ends, file_offset)
        last = bisect_right(self._zero_starts, end)
        if first < last:  # runs that it touches become one with it
            file_offset = min(file_offset, self._zero_starts[first])
            end = max(end, self._zero_ends[last - 1])
        elif len(self._zero_starts) >= self._limit:
            raise OverlayFullError
        self._zero_starts[first:last] = [file_offset]
        self._zero_ends[first:last] = [end]

    def seal(self) -> None:
        """Say that nothing more will be put in; reading may begin."""
        self._sector_offsets = sorted(self._sectors)

    def dissolve(self) -> None:
        """Let the base alone answer: everything that was laid over it stands in it now."""
        self._size = self._base_size = self._base.size()
        self._sectors, self._sector_offsets = {}, []
        self._zero_starts, self._zero_ends = [], []

    def _zeros_reach(self, file_offset: int) -> int:
        """The end of the run of zeros that covers ``file_offset``, 0 if none does."""
        run = bisect_right(self._zero_starts, file_offset) - 1
        return self._zero_ends[run] if run >= 0 and self._zero_ends[run] > file_offset else 0

    def _untouched(self, file_offset: int, end: int) -> bool:
        """Whether the base alone answers for a range."""
        offsets = self._sector_offsets
        sector = bisect_right(offsets, file_offset - SECTOR_SIZE)
        if sector < len(offsets) and offsets[sector] < end:
            return False
        run = bisect_right(self._zero_ends, file_offset)
        return end <= self._base_size and not (run < len(self._zero_starts) and self._zero_starts[run] < end)

    def read(self, length: int, file_offset: int) -> bytes:
        """Exactly ``length`` bytes."""
        if self._untouched(file_offset, file_offset + length):
            return self._base.read(length, file_offset)
        buffer = bytearray(length)
        self.read_into(memoryview(buffer), file_offset)
        return bytes(buffer)

    def read_into(self, buffer: memoryview, file_offset: int) -> None:
        """Fill the buffer: base first, then zeros, then sectors, each over what is below it."""
        end = file_offset + len(buffer)
        if self._untouched(file_offset, end):
            self._base.read_into(buffer, file_offset)
            return
        if end > self._size:
            self._base.read_into(buffer, file_offset)  # raises the base's own error
        self._read_base(buffer, file_offset, end)
        for run in range(bisect_right(self._zero_ends, file_offset), bisect_left(self._zero_starts, end)):
            start, stop = max(file_offset, self._zero_starts[run]), min(end, self._zero_ends[run])
            fill_zeros(buffer[start - file_offset : stop - file_offset])
        first = bisect_right(self._sector_offsets, file_offset - SECTOR_SIZE)
        for offset in self._sector_offsets[first : bisect_left(self._sector_offsets, end)]:
            start, stop = max(file_offset, offset), min(end, offset + SECTOR_SIZE)
            buffer[start - file_offset : stop - file_offset] = self._sectors[offset][
                start - offset : stop - offset
            ]

    def _read_base(self, buffer: memoryview, file_offset: int, end: int) -> None:
        stop = min(end, self._base_size)
        if file_offset < stop:
            self._base.read_into(buffer[: stop - file_offset], file_offset)
        fill_zeros(buffer[max(0, stop - file_offset) :])

    def data_ranges(self, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
        """The whole range: what lies over the base has no holes worth telling."""
        if length:
            yield file_offset, length

    def close(self) -> None:
        """Close the base."""
        self._base.close()
