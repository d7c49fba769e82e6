"""What of one file may move, and what of it is free: the numbers by which it is packed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.format.bat import BITMAP_PRESENT, FILE_OFFSET_MASK, STATE_MASK
from vhdx.image.bat import WINDOW
from vhdx.image.states import PRESENT
from vhdx.reshape.packing import Gap, Piece, Room, lowest_end, moves
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from vhdx.image.image import Image
    from vhdx.reshape.packing import Move
    from vhdx.write.space import Space

    Numbers = NDArray[np.int64]

_FULL, _PARTIAL = PRESENT
_AT_ONCE = 64 * 1024


class FileLayout:
    """The payload blocks, sector bitmaps and gaps of one file, as they stand, in MiB."""

    def __init__(self, image: Image, space: Space) -> None:
        self._geometry = image.geometry
        self._bat = image.bat
        self._space = space
        self._block_length = image.geometry.block_size // MIB
        # However it is packed, a file is as long as what it holds, and does not end before what cannot move.
        lowest = max(image.regions.areas[-1].end, space.used_size) // MIB
        self._starts, self._lengths, self._slots = self._pieces(lowest)
        lowest = max(lowest, space.end_without(self._starts, self._lengths) // MIB)
        self._gap_starts, self._gap_lengths = space.gaps()
        self._gap_blocks = self._sums(self._gap_lengths // self._block_length)
        self._gap_sums = self._sums(self._gap_lengths)
        ends = self._starts + self._lengths
        self._block_ends = ends[self._lengths == self._block_length]
        self._bitmap_ends = ends[self._lengths != self._block_length]
        self._end = lowest_end(lowest, max(lowest, space.used_end // MIB), self._behind, self._free_before)

    @staticmethod
    def _sums(values: Numbers) -> Numbers:
        """The sum of the first so many values, for each number of them."""
        import numpy as np  # noqa: PLC0415  who has arrays has paid for it

        return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(values)))

    def _behind(self, end: int) -> Room:
        """What reaches behind an end."""
        blocks = len(self._block_ends) - int(self._block_ends.searchsorted(end, "right"))
        bitmaps = len(self._bitmap_ends) - int(self._bitmap_ends.searchsorted(end, "right"))
        return Room(blocks, blocks * self._block_length + bitmaps)

    def _free_before(self, end: int) -> Room:
        """What is free in front of an end."""
        count = int(self._gap_starts.searchsorted(end, "left"))
        blocks, length = int(self._gap_blocks[count]), int(self._gap_sums[count])
        if count:
            last = int(self._gap_lengths[count - 1])
            behind = max(0, int(self._gap_starts[count - 1]) + last - end)
            blocks -= last // self._block_length - (last - behind) // self._block_length
            length -= behind
        return Room(blocks, length)

    @property
    def moved_size(self) -> int:
        """How many bytes have to move."""
        return self._behind(self._end).length * MIB

    def moves(self) -> Iterator[Move]:
        """What moves where so that the file becomes as short as can be, from its end on."""
        first = int((self._starts + self._lengths).searchsorted(self._end, "right"))
        columns = (column[first:][::-1] for column in (self._starts, self._lengths, self._slots))
        pieces = (Piece(*row) for row in _rows(*columns))
        return moves(pieces, self._gaps, self._behind(self._end).blocks, self._block_length)

    def _gaps(self) -> Iterator[Gap]:
        for start, length in _rows(self._gap_starts, self._gap_lengths):
            if start >= self._end:
                return
            yield Gap(start, min(length, self._end - start))

    def _pieces(self, bound: int) -> tuple[Numbers, Numbers, Numbers]:
        """First MiB, length and slot of what stands behind ``bound``, at least in part, by place."""
        import numpy as np  # noqa: PLC0415

        count = self._geometry.bat_entry_count
        found = [self._pieces_in_window(index, bound) for index in range(0, count, WINDOW)]
        starts, lengths, slots = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.argsort(starts)
        return starts[order], lengths[order], slots[order]

    def _pieces_in_window(self, index: int, bound: int) -> tuple[Numbers, Numbers, Numbers]:
        import numpy as np  # noqa: PLC0415

        count = min(WINDOW, self._geometry.bat_entry_count - index)
        values = np.frombuffer(self._bat.entries(index, count), dtype=np.uint64)
        slots = np.arange(index, index + count, dtype=np.int64)
        period = self._geometry.chunk_ratio + 1
        states = values & np.uint64(STATE_MASK)
        starts = ((values & np.uint64(FILE_OFFSET_MASK)) // np.uint64(MIB)).astype(np.int64)
        is_bitmap = slots % period == period - 1
        # Slots behind the last block of the last chunk may hold anything.
        is_block = ~is_bitmap & (slots - slots // period < self._geometry.block_count)
        present = is_block & ((states == _FULL) | (states == _PARTIAL))
        if self._geometry.differencing:
            present |= is_bitmap & (states == BITMAP_PRESENT)
        lengths = np.where(is_bitmap, 1, self._block_length)
        chosen = np.flatnonzero(present & (starts + lengths > bound))
        chosen = chosen[self._space.is_used(starts[chosen])]
        return starts[chosen], lengths[chosen], slots[chosen]


def _rows(*columns: Numbers) -> Iterator[tuple[int, ...]]:
    """Rows of arrays as numbers, in bounded memory."""
    for start in range(0, len(columns[0]), _AT_ONCE):
        yield from zip(*(column[start : start + _AT_ONCE].tolist() for column in columns), strict=True)
