"""Counting what one image says of its disk, a window of its table at a time.

Comes to exactly what `Reader.extents` would tell one by one. What needs a closer look goes that way: blocks
whose place is not sound, those that keep space without contents, parts of blocks.
"""

from __future__ import annotations

from itertools import pairwise

from vhdx.extents import BlockState, Extent, ExtentKind, merged
from vhdx.format.bat import FILE_OFFSET_MASK, STATE_MASK
from vhdx.image.bat import WINDOW
from vhdx.image.state_masks import are_in
from vhdx.image.states import KEEPS_SPACE, READ_ANSWERS, Answer
from vhdx.tally import Count, Stretch
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from vhdx.image.image import Image
    from vhdx.tally import Class

    Entries = NDArray[np.uint64]

_FEW = 64
_FULL = BlockState.FULLY_PRESENT.value
_COUNTED, _ONE_BY_ONE, _BY_BITS = 0, 1, 2
_KINDS = {
    Answer.THIS_FILE: ExtentKind.DATA,
    Answer.ZEROS: ExtentKind.ZERO,
    Answer.NOBODY: ExtentKind.UNALLOCATED,
}


class Census:
    """Counts one layer of a chain, which stands at ``depth``; ``add`` gets every stretch in order.

    With ``asks_below`` nothing is counted of what the layer says nothing about: that is yielded, so that
    somebody below can be asked.
    """

    def __init__(self, layer: Image, depth: int, add: Callable[[Stretch], None], *, asks_below: bool) -> None:
        self._bat = layer.bat
        self._geometry = layer.geometry
        self._reader = layer.reader
        self._depth = depth
        self._add = add
        self._asks_below = asks_below
        self._ways = [_COUNTED] * len(BlockState)
        for state in BlockState:
            self._ways[state] = self._way_of(READ_ANSWERS[state])

    def _way_of(self, answer: Answer) -> int:
        if answer is Answer.BITMAP and not self._asks_below:
            return _BY_BITS
        return _ONE_BY_ONE if answer not in _KINDS or self._is_hole(answer) else _COUNTED

    def _is_hole(self, answer: Answer) -> bool:
        return answer is Answer.NOBODY and self._asks_below

    def holes(self, offset: int, length: int) -> Iterator[Extent]:
        """Count a range inside the disk; yields what was left to those below, in order."""
        size = self._geometry.block_size
        first, stop = -(-offset // size), (offset + length) // size
        if stop - first < _FEW or self._reader.needs_closer_look:
            yield from self._one_by_one(offset, length)
            return
        yield from self._one_by_one(offset, first * size - offset)
        for block in range(first, stop, WINDOW):
            yield from self._window(block, min(WINDOW, stop - block))
        yield from self._one_by_one(stop * size, offset + length - stop * size)

    def _one_by_one(self, offset: int, length: int) -> Iterator[Extent]:
        for extent in merged(self._reader.extents(offset, length)):
            if extent.kind is not ExtentKind.UNALLOCATED:
                self._add(Stretch.of(extent._replace(depth=self._depth)))
            elif self._asks_below:
                yield extent
            else:
                self._add(Stretch.of(extent))

    def _window(self, block: int, count: int) -> Iterator[Extent]:
        import numpy as np  # noqa: PLC0415  slow to import, and of no use for small tables

        entries = np.frombuffer(self._bat.payloads(block, count), dtype=np.uint64)
        states, places = _split(entries)
        ways = np.array(self._ways, dtype=np.uint8)[states]
        keeping = are_in(entries, KEEPS_SPACE) & (places > 0)
        faulty = (states == _FULL) & self._reader.faulty_places(places)
        ways[keeping | faulty] = _ONE_BY_ONE
        size = self._geometry.block_size
        borders = [0, *(np.flatnonzero(ways[1:] != ways[:-1]) + 1).tolist(), count]
        for start, stop in pairwise(borders):
            if ways[start] == _COUNTED:
                self._count(block + start, states[start:stop], places[start:stop])
            elif ways[start] == _BY_BITS:
                for partial in range(block + start, block + stop):
                    self._count_bits(partial)
            else:
                yield from self._one_by_one((block + start) * size, (stop - start) * size)

    def _count(self, block: int, states: NDArray[np.uint8], places: Entries) -> None:
        """Whole blocks, none of which needs a closer look."""
        import numpy as np  # noqa: PLC0415  who has arrays has paid for it

        size = self._geometry.block_size
        full = states == _FULL
        alike = states[1:] == states[:-1]
        apart = full[1:] & (places[1:] != places[:-1] + np.uint64(size))
        begins = np.concatenate(([True], ~alike | apart))
        blocks, runs = np.bincount(states, minlength=8), np.bincount(states[begins], minlength=8)
        counts = {
            self._class_of(state): Count(int(runs[state]), int(blocks[state]) * size)
            for state in BlockState
            if blocks[state]
        }
        jumps = int(np.count_nonzero(alike & apart))
        first, last = (self._extent(block + i, int(states[i]), int(places[i])) for i in (0, len(states) - 1))
        self._add(Stretch(first, last, counts, jumps))

    def _class_of(self, state: BlockState) -> Class:
        kind = _KINDS[READ_ANSWERS[state]]
        return 0 if kind is ExtentKind.UNALLOCATED else self._depth, kind, state

    def _extent(self, block: int, number: int, place: int) -> Extent:
        size, state = self._geometry.block_size, BlockState(number)
        depth, kind, _ = self._class_of(state)
        return Extent(block * size, size, kind, state, depth, place if kind is ExtentKind.DATA else None)

    def _count_bits(self, block: int) -> None:
        """The sectors of a partially present block, by counting the bits of its bitmap."""
        place, bits = self._reader.present_sectors(block)
        sector, sectors = self._geometry.logical_sector_size, self._geometry.sectors_per_block
        start = block * self._geometry.block_size

        def extent(index: int) -> Extent:
            here = start + index * sector
            if bits >> index & 1:
                state = BlockState.PARTIALLY_PRESENT
                return Extent(here, sector, ExtentKind.DATA, state, self._depth, place + index * sector)
            return Extent(here, sector, ExtentKind.UNALLOCATED, BlockState.NOT_PRESENT, 0, None)

        absent = bits ^ ((1 << sectors) - 1)
        present = self._depth, ExtentKind.DATA, BlockState.PARTIALLY_PRESENT
        counts = {
            present: _count_of(bits, sector),
            self._class_of(BlockState.NOT_PRESENT): _count_of(absent, sector),
        }
        counts = {counted: count for counted, count in counts.items() if count.runs}
        self._add(Stretch(extent(0), extent(sectors - 1), counts, 0))


def _count_of(bits: int, sector_size: int) -> Count:
    """The runs of bits that are set, and the bytes that they stand for."""
    return Count((bits & ~(bits << 1)).bit_count(), bits.bit_count() * sector_size)


def _split(entries: Entries) -> tuple[NDArray[np.uint8], Entries]:
    """States and places of entries."""
    import numpy as np  # noqa: PLC0415  who has arrays has paid for it

    return (entries & np.uint64(STATE_MASK)).astype(np.uint8), entries & np.uint64(FILE_OFFSET_MASK)
