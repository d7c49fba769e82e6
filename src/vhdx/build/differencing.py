"""A new differencing image, written front to back, so that a pipe can take it [MS-VHDX 2.4, 2.5.1].

What it is to hold is gone through twice: first for the table, which stands in front of the blocks, then for
the blocks. Behind those of a chunk stands its sector bitmap, if one of them is partially present.
"""

from __future__ import annotations

from array import array
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from vhdx.build.structures import layout_of, write_structures
from vhdx.extents import BlockState
from vhdx.format import bat
from vhdx.geometry import BITMAP_BLOCK_SIZE, SECTORS_PER_CHUNK
from vhdx.image.bat import packed
from vhdx.pieces import pieces
from vhdx.storage.zeros import nonzero_runs
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from uuid import UUID

    from vhdx.build.plan import ImagePlan
    from vhdx.build.structures import Output
    from vhdx.geometry import Geometry

_WITH_SPACE = (BlockState.FULLY_PRESENT, BlockState.PARTIALLY_PRESENT)
_BITMAP_UNIT = 4096
"""What is written of a sector bitmap: one has 1 MiB, and most of it stays a hole."""
_BlockRun = tuple[int, int, int]
"""The first block, how many, and their state."""


class Change(NamedTuple):
    """A run of whole sectors that the image is to hold; offset and length in bytes of the disk."""

    offset: int
    length: int
    is_zero: bool

    @property
    def end(self) -> int:
        """The disk offset just behind it."""
        return self.offset + self.length


class DifferencingImage:
    """The layout of a differencing image of this plan that holds these changes, which come in order."""

    def __init__(self, plan: ImagePlan, disk_size: int, changes: Iterable[Change]) -> None:
        self._plan = plan
        self._disk_size = disk_size
        self._geometry = plan.geometry(disk_size)
        self._bat_offset = layout_of(plan).bat_offset
        self._blocks_offset = self._bat_offset + self._geometry.bat_length
        self._runs = array("Q")
        for run in _merged(_block_runs(changes, self._geometry)):
            self._runs.extend(run)
        self.file_size = max((chunk.end for chunk in self._chunks()), default=self._blocks_offset)
        """The length of the file in bytes."""

    def write(
        self,
        output: Output,
        changes: Iterable[Change],
        read_into: Callable[[memoryview, int], None],
        data_write_guid: UUID | None = None,
    ) -> None:
        """Write the file. ``read_into`` fills a buffer with what the disk holds at an offset.

        ``changes`` are those again that the layout was made of. The contents have a new identity unless
        ``data_write_guid`` is given.
        """
        table, length = self._bat_offset, self._geometry.bat_length
        write_structures(output, self._plan, self._disk_size, table, length, data_write_guid=data_write_guid)
        slots = self._geometry.chunk_ratio + 1
        for chunk in self._chunks():
            output.write_at(packed(chunk.entries()), table + chunk.number * slots * bat.ENTRY_SIZE)
        length = SECTORS_PER_CHUNK * self._geometry.logical_sector_size
        parts = groupby(_cut(changes, length), lambda change: change.offset // length)
        for chunk, (_, part) in zip(self._chunks(), parts, strict=True):
            self._write_chunk(output, chunk, part, read_into)
        output.resize(self.file_size)

    def _chunks(self) -> Iterator[_Chunk]:
        place = self._blocks_offset
        for number, runs in groupby(self._runs_in_chunks(), lambda run: self._geometry.chunk_of(run[0])):
            chunk = _Chunk(self._geometry, number, tuple(runs), place)
            yield chunk
            place = chunk.end

    def _runs_in_chunks(self) -> Iterator[_BlockRun]:
        """The runs of blocks, none over the end of a chunk."""
        ratio = self._geometry.chunk_ratio
        for first, count, state in zip(self._runs[::3], self._runs[1::3], self._runs[2::3], strict=True):
            block, end = first, first + count
            while block < end:
                part = min(end - block, ratio - block % ratio)
                yield block, part, state
                block += part

    def _write_chunk(
        self,
        output: Output,
        chunk: _Chunk,
        changes: Iterable[Change],
        read_into: Callable[[memoryview, int], None],
    ) -> None:
        geometry, size = self._geometry, self._geometry.logical_sector_size
        places = dict(chunk.places())
        bits = bytearray(BITMAP_BLOCK_SIZE if chunk.has_bitmap else 0)
        for change in changes:
            if bits:
                set_bits(bits, change.offset // size % SECTORS_PER_CHUNK, change.length // size)
            for span in () if change.is_zero else geometry.spans(change.offset, change.length):
                moved = places[span.block] + span.offset_in_block - geometry.offset_of(span)
                for offset, length in pieces(geometry.offset_of(span), span.length, MIB):
                    piece = bytearray(length)
                    read_into(memoryview(piece), offset)
                    for start, stop in nonzero_runs(piece):
                        output.write_at(memoryview(piece)[start:stop], offset + moved + start)
        for start, stop in nonzero_runs(bits, _BITMAP_UNIT):
            output.write_at(memoryview(bits)[start:stop], chunk.bitmap_place + start)


class _Chunk(NamedTuple):
    """The blocks of a chunk that are not asked of the parent; the first of them stands at ``place``."""

    geometry: Geometry
    number: int
    runs: tuple[_BlockRun, ...]
    place: int

    @property
    def has_bitmap(self) -> bool:
        return any(state == BlockState.PARTIALLY_PRESENT for _, _, state in self.runs)

    @property
    def bitmap_place(self) -> int:
        """The file offset behind its last block, where its bitmap stands if it has one."""
        stored = sum(count for _, count, state in self.runs if state in _WITH_SPACE)
        return self.place + stored * self.geometry.block_size

    @property
    def end(self) -> int:
        return self.bitmap_place + (BITMAP_BLOCK_SIZE if self.has_bitmap else 0)

    def places(self) -> Iterator[tuple[int, int]]:
        """Each block that has space, and its file offset."""
        place = self.place
        for first, count, state in self.runs:
            for block in range(first, first + count) if state in _WITH_SPACE else ():
                yield block, place
                place += self.geometry.block_size

    def entries(self) -> array[int]:
        """Its part of the table: an entry for each block, and that of its bitmap."""
        ratio, size, place = self.geometry.chunk_ratio, self.geometry.block_size, self.place
        table = array("Q", bytes((ratio + 1) * bat.ENTRY_SIZE))
        for first, count, state in self.runs:
            at = first - self.number * ratio
            step = size if state in _WITH_SPACE else 0
            entry = bat.pack(state, place if step else 0)
            table[at : at + count] = array("Q", (entry + index * step for index in range(count)))
            place += count * step
        if self.has_bitmap:
            table[ratio] = bat.pack(bat.BITMAP_PRESENT, self.bitmap_place)
        return table


def _block_runs(changes: Iterable[Change], geometry: Geometry) -> Iterator[_BlockRun]:
    """What becomes of the blocks that changes lie in, in order."""
    block, covered, all_zero = -1, 0, True  # of the one that is not wholly in one change
    for change in changes:
        at = change.offset
        while at < change.end:
            whole = geometry.covered(at, change.end - at)
            touched = at >> geometry.block_shift
            if touched != block and covered:
                yield block, 1, _state(geometry, block, covered, all_zero=all_zero)
                covered = 0
            if whole and whole.start == touched:
                yield touched, len(whole), _state(geometry, touched, None, all_zero=change.is_zero)
                at = min(change.end, whole.stop << geometry.block_shift)
                continue
            stop = min(change.end, (touched + 1) << geometry.block_shift)
            all_zero = change.is_zero and (all_zero or not covered)
            block, covered, at = touched, covered + stop - at, stop
    if covered:
        yield block, 1, _state(geometry, block, covered, all_zero=all_zero)


def _state(geometry: Geometry, block: int, covered: int | None, *, all_zero: bool) -> BlockState:
    """The state of a block of which so many bytes are covered, None meaning all."""
    if covered is not None and covered < geometry.block_length(block):
        return BlockState.PARTIALLY_PRESENT
    return BlockState.ZERO if all_zero else BlockState.FULLY_PRESENT


def _merged(runs: Iterable[_BlockRun]) -> Iterator[_BlockRun]:
    first = count = state = 0
    for run in runs:
        if count and run[0] == first + count and run[2] == state:
            count += run[1]
            continue
        if count:
            yield first, count, state
        first, count, state = run
    if count:
        yield first, count, state


def _cut(changes: Iterable[Change], length: int) -> Iterator[Change]:
    """The same changes, none over a multiple of ``length``."""
    for change in changes:
        at = change.offset
        while at < change.end:
            stop = min(change.end, at - at % length + length)
            yield Change(at, stop - at, change.is_zero)
            at = stop


def set_bits(bits: bytearray, first: int, count: int) -> None:
    """Set a run of bits, the least significant of a byte being its first."""
    stop = first + count
    low, high = -(-first // 8), stop // 8
    if low > high:  # all in one byte
        bits[high] |= ((1 << count) - 1) << first % 8
        return
    if first % 8:
        bits[low - 1] |= 0xFF << first % 8 & 0xFF
    bits[low:high] = b"\xff" * (high - low)
    if stop % 8:
        bits[high] |= (1 << stop % 8) - 1
