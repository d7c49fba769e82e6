"""The block allocation table of one image, read in pieces [MS-VHDX 2.5]. Knows slots, not what they mean.

Entries come out as they are read: where state 7 is taken for FULLY_PRESENT nobody above sees or writes it.
"""

from __future__ import annotations

import sys
from array import array
from itertools import pairwise

from vhdx.extents import BlockState
from vhdx.format.bat import ENTRY_SIZE, STATE_MASK
from vhdx.image.states import TAKEN_FOR_PRESENT
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from vhdx.geometry import Geometry
    from vhdx.image.pages import Pages

WINDOW = 128 * 1024
"""Slots looked at in one go: 1 MiB of table."""
_FEW = 64
MANY = 4096
"""Slots from which on the host is asked for a hole before they are read."""
_FULL, _PARTIAL = BlockState.FULLY_PRESENT.value, BlockState.PARTIALLY_PRESENT.value
_LOW_BYTE = 0 if sys.byteorder == "little" else ENTRY_SIZE - 1
_AS_READ = bytes(
    _FULL | low & ~STATE_MASK if low & STATE_MASK == TAKEN_FOR_PRESENT else low for low in range(256)
)
"""The lowest byte of an entry to what it is taken for where there are no bits to ask."""


class BlockRun(NamedTuple):
    """Neighbouring payload blocks whose entries continue each other; ``entry`` is that of the first."""

    first_block: int
    block_count: int
    entry: int


class Bat:
    """The entries of a table that begins at ``file_offset`` (bytes)."""

    def __init__(self, pages: Pages, file_offset: int, geometry: Geometry) -> None:
        self._pages = pages
        self._file_offset = file_offset
        self._geometry = geometry

    def slot_offset(self, index: int) -> int:
        """The file offset of a slot, in bytes."""
        return self._file_offset + index * ENTRY_SIZE

    def entry(self, index: int) -> int:
        """The entry in a slot, as it stands there."""
        return int.from_bytes(self._pages.read(ENTRY_SIZE, self.slot_offset(index)), "little")

    def payload(self, block: int) -> int:
        """The entry of a payload block."""
        entry = self.entry(self._geometry.payload_index(block))
        return entry if self._geometry.differencing else _as_read(entry)

    def bitmap(self, chunk: int) -> int:
        """The entry of the sector bitmap block of a chunk."""
        return _as_read(self.entry(self._geometry.bitmap_index(chunk)))

    def payloads(self, block: int, count: int) -> array[int]:
        """The entries of ``count`` payload blocks from ``block`` on, bitmap slots left out."""
        if count <= _FEW:
            return array("Q", map(self.payload, range(block, block + count)))
        first = self._geometry.payload_index(block)
        entries = self.entries(first, self._geometry.payload_index(block + count - 1) + 1 - first)
        del entries[self._geometry.first_bitmap_index_from(first) - first :: self._geometry.chunk_ratio + 1]
        return entries

    def entries(self, index: int, count: int) -> array[int]:
        """The entries of ``count`` slots from ``index`` on, whatever they belong to."""
        entries = array("Q", self._pages.read_many(count * ENTRY_SIZE, self.slot_offset(index)))
        if sys.byteorder == "big":
            entries.byteswap()
        if self._geometry.differencing:
            first = self._geometry.first_bitmap_index_from(index) - index
            for slot in range(first, count, self._geometry.chunk_ratio + 1):
                entries[slot] = _as_read(entries[slot])
        else:
            low_bytes = memoryview(entries).cast("B")[_LOW_BYTE::ENTRY_SIZE]
            stored = bytes(low_bytes)
            if (read := stored.translate(_AS_READ)) != stored:
                low_bytes[:] = read
        return entries

    def stored_entries(self, index: int, count: int) -> Iterator[array[int]]:
        """What stands in ``count`` slots from ``index`` on, window by window; those of zeros are passed over.

        What was changed in memory is not looked for where the file has a hole.
        """
        place = self.slot_offset(index)
        for start, length in self._pages.data_ranges(place, count * ENTRY_SIZE):
            first, last = (start - place) // ENTRY_SIZE, -(-(start + length - place) // ENTRY_SIZE)
            for at in range(first, last, WINDOW):
                entries = self.entries(index + at, min(WINDOW, last - at))
                if any(entries):
                    yield entries

    def is_hole(self, index: int, count: int) -> bool:
        """Whether the host knows that ``count`` slots from ``index`` on are zeros, without reading them."""
        return self._pages.is_hole(self.slot_offset(index), count * ENTRY_SIZE)

    def put(self, block: int, entries: array[int]) -> None:
        """Change the entries of payload blocks whose slots stand side by side in one page, in memory."""
        self._pages.put(packed(entries), self.slot_offset(self._geometry.payload_index(block)))

    def put_bitmap(self, chunk: int, entry: int) -> None:
        """Change the entry of the sector bitmap block of a chunk, in memory."""
        place = self.slot_offset(self._geometry.bitmap_index(chunk))
        self._pages.put(entry.to_bytes(ENTRY_SIZE, "little"), place)

    def runs(self, block: int, count: int) -> Iterator[BlockRun]:
        """``count`` payload blocks from ``block`` on as runs, in order, in bounded memory.

        Present blocks continue each other where they stand back to back in the file, others where their
        entries are equal. Partially present blocks stand alone. Runs do not reach over a window of the
        table, so neighbouring runs may continue each other.
        """
        step = self._geometry.block_size
        find_runs = _runs_of_few if count <= WINDOW else _runs_of_many
        for start in range(block, block + count, WINDOW):
            length = min(WINDOW, block + count - start)
            if length >= MANY and self.are_absent(start, length):
                yield BlockRun(start, length, 0)
            else:
                yield from find_runs(start, self.payloads(start, length), step)

    def are_absent(self, block: int, count: int) -> bool:
        """Whether the entries of blocks are all zeros, by what the host says of the table."""
        first = self._geometry.payload_index(block)
        return self.is_hole(first, self._geometry.payload_index(block + count - 1) + 1 - first)


def _as_read(entry: int) -> int:
    """An entry where there are no bits to ask."""
    return entry - 1 if entry & STATE_MASK == TAKEN_FOR_PRESENT else entry


def packed(entries: array[int]) -> bytes:
    """Entries as they stand in the file."""
    if sys.byteorder == "big":
        entries = array("Q", entries)
        entries.byteswap()
    return entries.tobytes()


def _runs_of_few(block: int, entries: array[int], step: int) -> Iterator[BlockRun]:
    """Without numpy, whose import alone takes longer than a table of 1 MiB."""
    first, first_entry, expected = block, -1, -1
    for current, entry in enumerate(entries, block):
        if entry != expected:
            if current > first:
                yield BlockRun(first, current - first, first_entry)
            first, first_entry = current, entry
        state = entry & STATE_MASK
        if state == _FULL:
            expected = entry + step
        elif state == _PARTIAL:
            expected = -1
        else:
            expected = entry
    if entries:
        yield BlockRun(first, block + len(entries) - first, first_entry)


def _runs_of_many(block: int, entries: array[int], step: int) -> Iterator[BlockRun]:
    """The same, vectorised: a full table of 64 TiB has 67 million entries."""
    import numpy as np  # noqa: PLC0415  slow to import, and of no use for small tables

    starts = run_starts(np.frombuffer(entries, dtype=np.uint64), step).tolist()
    for start, stop in pairwise((*starts, len(entries))):
        yield BlockRun(block + start, stop - start, entries[start])


def run_starts(
    values: NDArray[np.uint64], step: int, blocks: NDArray[np.intp] | None = None
) -> NDArray[np.intp]:
    """At which entries runs begin, as `BlockRun` says what a run is.

    The entries are those of ``blocks``, in order, or of blocks without any between them.
    """
    import numpy as np  # noqa: PLC0415  who has arrays has paid for it

    states = values[:-1] & np.uint64(STATE_MASK)
    steps = np.where(states == _FULL, np.uint64(step), np.uint64(0))
    breaks = values[1:] != values[:-1] + steps
    breaks |= states == _PARTIAL
    if blocks is not None:
        breaks |= blocks[1:] != blocks[:-1] + 1
    return np.concatenate((np.zeros(1, dtype=np.intp), np.flatnonzero(breaks) + 1))
