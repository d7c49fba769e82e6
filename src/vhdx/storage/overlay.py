"""Replayed sectors over a read-only base: how a dirty image is read without touching it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from heapq import merge

from vhdx.storage.base import fill_zeros
from vhdx.storage.runs import Runs, joined
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.storage.base import ReadableStorage

SECTOR_SIZE = 4096


class OverlayFullError(Exception):
    """More was put into an overlay than it may hold in memory."""


class _Laid(NamedTuple):
    """What lies over the base: sectors by file offset, and where they are in order; runs of zeros."""

    sectors: dict[int, bytes]
    sector_offsets: list[int]
    zeros: Runs
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
        self._laid = _Laid({}, [], Runs(), size, size)

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
        if file_offset in sectors or self._laid.zeros.meets(file_offset, file_offset + 1):
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
        zeros = self._laid.zeros
        zeros.add(file_offset, end)
        if len(zeros) > self._limit:
            raise OverlayFullError

    def seal(self) -> None:
        """Say that nothing more will be put in; reading may begin."""
        self._laid = self._laid._replace(sector_offsets=sorted(self._laid.sectors))

    def changed_ranges(self) -> Iterator[tuple[int, int]]:
        """The (file offset, length) runs of whole sectors, in order, in which the base may look different."""
        laid = self._laid
        sectors = ((offset, offset + SECTOR_SIZE) for offset in laid.sector_offsets)
        yield from joined(merge(sectors, self._zeroed_data()))

    def _zeroed_data(self) -> Iterator[tuple[int, int]]:
        """Where runs of zeros lie over something else, as far as the host knows its holes."""
        laid = self._laid
        for low, high in laid.zeros:
            inside = min(high, laid.base_size) - low
            for start, length in self._base.data_ranges(low, inside) if inside > 0 else ():
                yield start - start % SECTOR_SIZE, -(-(start + length) // SECTOR_SIZE) * SECTOR_SIZE

    def dissolve(self) -> None:
        """Let the base alone answer: everything that was laid over it stands in it now."""
        size = self._base.size()
        # In one step: a read that runs meanwhile sees all of the old or all of the new.
        self._laid = _Laid({}, [], Runs(), size, size)

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
        for start, stop in laid.zeros.within(file_offset, end):
            fill_zeros(buffer[start - file_offset : stop - file_offset])
        offsets = laid.sector_offsets
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
        """What the base tells, and the sectors that lie over it."""
        laid, end = self._laid, file_offset + length
        inside = max(0, min(end, laid.base_size) - file_offset)
        told = self._base.data_ranges(file_offset, inside) if inside else ()
        base = ((start, start + part) for start, part in told)
        first = bisect_right(laid.sector_offsets, file_offset - SECTOR_SIZE)
        offsets = laid.sector_offsets[first : bisect_left(laid.sector_offsets, end)]
        sectors = ((max(offset, file_offset), min(offset + SECTOR_SIZE, end)) for offset in offsets)
        yield from joined(merge(base, sectors))

    def close(self) -> None:
        """Close the base."""
        self._base.close()


def _untouched(laid: _Laid, file_offset: int, end: int) -> bool:
    """Whether the base alone answers for a range."""
    sector = bisect_right(laid.sector_offsets, file_offset - SECTOR_SIZE)
    if sector < len(laid.sector_offsets) and laid.sector_offsets[sector] < end:
        return False
    return end <= laid.base_size and not laid.zeros.meets(file_offset, end)
