"""Replayed sectors over a read-only base: how a dirty image is read without touching it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from heapq import merge
from typing import TYPE_CHECKING, NamedTuple

from vhdx.storage.base import fill_zeros

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.storage.base import ReadableStorage

SECTOR_SIZE = 4096


class OverlayFullError(Exception):
    """More was put into an overlay than it may hold in memory."""


class _Laid(NamedTuple):
    """What lies over the base: sectors by file offset, runs of zeros from starts to ends, both in order."""

    sectors: dict[int, bytes]
    sector_offsets: list[int]
    zero_starts: list[int]
    zero_ends: list[int]
    base_size: int
    size: int


class Overlay:
    """A base storage with sectors and runs of zeros laid over it. Filled newest first, then only read.

    Newest first, because then nothing that is put in ever has to be taken out again: a sector or a run
    that comes later only shows where nothing newer stands. ``limit`` bounds the number of sectors and
    the number of runs, and so the memory.
    """

    def __init__(self, base: ReadableStorage, limit: int) -> None:
        self._base = base
        self._limit = limit
        size = base.size()
        self._laid = _Laid({}, [], [], [], size, size)

    @property
    def name(self) -> str:
        """The name of the base."""
        return self._base.name

    def size(self) -> int:
        """The length in bytes, with everything that was laid over the base."""
        return self._laid.size

    def identity(self) -> tuple[int, int] | None:
        """The identity of the base."""
        return self._base.identity()

    def extend(self, size: int) -> None:
        """Make the whole at least ``size`` bytes long; what is added reads as zeros."""
        if size > self._laid.size:
            self._laid = self._laid._replace(size=size)

    def put_sector(self, file_offset: int, sector: bytes) -> None:
        """Lay 4096 bytes under everything that was put in before."""
        self.extend(file_offset + SECTOR_SIZE)
        sectors = self._laid.sectors
        if file_offset in sectors or self._is_zero(file_offset):
            return
        if len(sectors) >= self._limit:
            raise OverlayFullError
        sectors[file_offset] = sector

    def put_zeros(self, file_offset: int, length: int) -> None:
        """Lay a run of zeros under everything that was put in before."""
        if length == 0:
            return
        end = file_offset + length
        self.extend(end)
        starts, ends = self._laid.zero_starts, self._laid.zero_ends
        first = bisect_left(ends, file_offset)
        last = bisect_right(starts, end)
        if first < last:  # runs that it touches become one with it
            file_offset = min(file_offset, starts[first])
            end = max(end, ends[last - 1])
        elif len(starts) >= self._limit:
            raise OverlayFullError
        starts[first:last] = [file_offset]
        ends[first:last] = [end]

    def _is_zero(self, file_offset: int) -> bool:
        run = bisect_right(self._laid.zero_starts, file_offset) - 1
        return run >= 0 and self._laid.zero_ends[run] > file_offset

    def seal(self) -> None:
        """Say that nothing more will be put in; reading may begin."""
        self._laid = self._laid._replace(sector_offsets=sorted(self._laid.sectors))

    def changed_ranges(self) -> Iterator[tuple[int, int]]:
        """The (file offset, length) runs of whole sectors, in order, in which the base may look different."""
        laid = self._laid
        sectors = ((offset, offset + SECTOR_SIZE) for offset in laid.sector_offsets)
        start = end = 0
        for low, high in merge(sectors, self._zeroed_data()):
            if low > end:
                if end > start:
                    yield start, end - start
                start = low
            end = max(end, high)
        if end > start:
            yield start, end - start

    def _zeroed_data(self) -> Iterator[tuple[int, int]]:
        """Where runs of zeros lie over something else, as far as the host knows its holes."""
        laid = self._laid
        for low, high in zip(laid.zero_starts, laid.zero_ends, strict=True):
            inside = min(high, laid.base_size) - low
            for start, length in self._base.data_ranges(low, inside) if inside > 0 else ():
                yield start - start % SECTOR_SIZE, -(-(start + length) // SECTOR_SIZE) * SECTOR_SIZE

    def dissolve(self) -> None:
        """Let the base alone answer: everything that was laid over it stands in it now."""
        size = self._base.size()
        # In one step: a read that runs meanwhile sees all of the old or all of the new.
        self._laid = _Laid({}, [], [], [], size, size)

    def read(self, length: int, file_offset: int) -> bytes:
        """Exactly ``length`` bytes."""
        if _untouched(self._laid, file_offset, file_offset + length):
            return self._base.read(length, file_offset)
        buffer = bytearray(length)
        self.read_into(memoryview(buffer), file_offset)
        return bytes(buffer)

    def read_into(self, buffer: memoryview, file_offset: int) -> None:
        """Fill the buffer: base first, then zeros, then sectors, each over what is below it."""
        laid, end = self._laid, file_offset + len(buffer)
        if end > laid.size or _untouched(laid, file_offset, end):
            self._base.read_into(buffer, file_offset)  # which raises its own error past the end
            return
        self._read_base(buffer, file_offset, min(end, laid.base_size))
        starts, ends, offsets = laid.zero_starts, laid.zero_ends, laid.sector_offsets
        for run in range(bisect_right(ends, file_offset), bisect_left(starts, end)):
            start, stop = max(file_offset, starts[run]), min(end, ends[run])
            fill_zeros(buffer[start - file_offset : stop - file_offset])
        first = bisect_right(offsets, file_offset - SECTOR_SIZE)
        for offset in offsets[first : bisect_left(offsets, end)]:
            start, stop = max(file_offset, offset), min(end, offset + SECTOR_SIZE)
            sector = memoryview(laid.sectors[offset])
            buffer[start - file_offset : stop - file_offset] = sector[start - offset : stop - offset]

    def _read_base(self, buffer: memoryview, file_offset: int, stop: int) -> None:
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


def _untouched(laid: _Laid, file_offset: int, end: int) -> bool:
    """Whether the base alone answers for a range."""
    sector = bisect_right(laid.sector_offsets, file_offset - SECTOR_SIZE)
    if sector < len(laid.sector_offsets) and laid.sector_offsets[sector] < end:
        return False
    run = bisect_right(laid.zero_ends, file_offset)
    return end <= laid.base_size and not (run < len(laid.zero_starts) and laid.zero_starts[run] < end)
