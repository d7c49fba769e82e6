"""The slots of a BAT in arrays of whole chunks, as far as the file has them [MS-VHDX 2.5]. Vectorised."""

from __future__ import annotations

import numpy as np

from vhdx.extents import BlockState
from vhdx.format.bat import ENTRY_SIZE, RESERVED_MASK, STATE_MASK
from vhdx.image.bat import WINDOW
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from vhdx.format.region import RegionEntry
    from vhdx.geometry import Geometry
    from vhdx.storage.base import ReadableStorage

    Entries = NDArray[np.uint64]


_INFO = np.uint64(RESERVED_MASK | STATE_MASK)


class Window(NamedTuple):
    """Some chunks of a table: the entries of their payload blocks and of their sector bitmap blocks.

    ``blocks`` ends with the disk; ``beyond`` are the entries of the last chunk that belong to no block.
    """

    first_chunk: int
    first_block: int
    blocks: Entries
    beyond: Entries
    bitmaps: Entries
    is_full: bool
    """Whether all entries of payload blocks are those of fully present ones, without anything unusual."""


class Slots:
    """The table of one image; what the region or the file is too short for is left out."""

    def __init__(self, storage: ReadableStorage, region: RegionEntry, geometry: Geometry) -> None:
        self._storage = storage
        self._file_offset = region.file_offset
        self._geometry = geometry
        there = max(0, min(region.length, storage.size() - region.file_offset))
        self.region_slots = there // ENTRY_SIZE
        self.count = min(self.region_slots, geometry.chunk_count * (geometry.chunk_ratio + 1))

    def offset(self, index: int) -> int:
        """The file offset of a slot, in bytes."""
        return self._file_offset + index * ENTRY_SIZE

    @property
    def bytes_in_all(self) -> int:
        """How long the table is, in bytes."""
        return self.count * ENTRY_SIZE

    def bytes_before(self, window: Window) -> int:
        """How many bytes of the table stand before the end of a window."""
        chunks = window.first_chunk + len(window.bitmaps)
        return min(self.count, chunks * (self._geometry.chunk_ratio + 1)) * ENTRY_SIZE

    def windows(self) -> Iterator[Window]:
        """The whole table in pieces of about 1 MiB, those left out that are holes in the file."""
        period = self._geometry.chunk_ratio + 1
        chunks = max(1, min(WINDOW // period, self._geometry.chunk_count))
        holes = _Holes(self._storage, self.offset(0), self.offset(self.count))
        grid = np.zeros((chunks, period), dtype="<u8")
        for first_chunk in range(0, self._geometry.chunk_count, chunks):
            first_slot = first_chunk * period
            length = min(chunks * period, max(0, self.count - first_slot)) * ENTRY_SIZE
            if not length or holes.cover(self.offset(first_slot), length):
                continue
            self._storage.read_into(memoryview(grid.data).cast("B")[:length], self.offset(first_slot))
            grid.reshape(-1)[length // ENTRY_SIZE :] = 0
            yield self._window(first_chunk, grid)

    def _window(self, first_chunk: int, grid: Entries) -> Window:
        ratio = self._geometry.chunk_ratio
        first_block = first_chunk * ratio
        payload = grid[:, :ratio].reshape(-1)
        is_full = bool((payload & _INFO == BlockState.FULLY_PRESENT.value).all())
        count = max(0, self._geometry.block_count - first_block)
        chunks = self._geometry.chunk_count - first_chunk
        bitmaps = grid[:chunks, ratio].copy()
        return Window(first_chunk, first_block, payload[:count], payload[count:], bitmaps, is_full)

    def behind(self) -> Iterator[tuple[int, Entries]]:
        """(first slot, entries) of what stands in the region behind the table, holes left out."""
        start, end = self.offset(self.count), self.offset(self.region_slots)
        step = WINDOW * ENTRY_SIZE
        holes = _Holes(self._storage, start, end)
        for at in range(start, end, step):
            length = min(step, end - at)
            if not holes.cover(at, length):
                data = self._storage.read(length, at)
                yield (at - self._file_offset) // ENTRY_SIZE, np.frombuffer(data, dtype="<u8")


class _Holes:
    """The holes of a range of the file, asked for once and from front to back.

    For each window anew a host may have to look at everything behind it.
    """

    def __init__(self, storage: ReadableStorage, start: int, end: int) -> None:
        self._ranges = storage.data_ranges(start, end - start)
        self._start = self._end = start

    def cover(self, file_offset: int, length: int) -> bool:
        """Whether a range is known to be zeros."""
        while self._end <= file_offset:
            following = next(self._ranges, None)
            if following is None:
                return True
            self._start, self._end = following[0], sum(following)
        return self._start >= file_offset + length
