"""New files of blocks written front to back, without a step back: their tables stand in front of the blocks.

So it is said before which blocks will have contents. One of them that gets none holds zeros; a block that
was not named cannot get a place any more.
"""

from __future__ import annotations

from array import array

from vhdx.build.structures import layout_of, write_structures
from vhdx.build.table import TableWriter
from vhdx.build.vhd import (
    BITMAP,
    BLOCK_SIZE,
    TABLE_OFFSET,
    block_count,
    data_offset,
    dynamic_header,
    new_footer,
    packed_table,
    table_length,
)
from vhdx.extents import BlockState
from vhdx.format import bat, vhd
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vhdx.build.plan import ImagePlan
    from vhdx.build.structures import Output


class NamedBlocks:
    """Runs of blocks, named in ascending order, and which of them a block is; each is asked for once."""

    def __init__(self, runs: Iterable[tuple[int, int]]) -> None:
        self._runs = array("Q")
        for first, count in runs:
            self._runs.extend((first, count))
        self._at = 0
        self._before = 0
        self.count = sum(self._runs[1::2])

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._runs[::2], self._runs[1::2], strict=True)

    def rank(self, block: int) -> int:
        """How many named blocks stand in front of one. Blocks are asked for in ascending order.

        Raises OSError for one that was not named: the disk was written to since.
        """
        while self._at < len(self._runs) and block >= self._runs[self._at] + self._runs[self._at + 1]:
            self._before += self._runs[self._at + 1]
            self._at += 2
        if self._at == len(self._runs) or block < self._runs[self._at]:
            raise OSError(f"block {block} was empty when the table was written: the source was changed")
        return self._before + block - self._runs[self._at]


class ForwardImage:
    """A VHDX: everything up to its blocks is written at once. The disk's size is known."""

    reserved = True

    def __init__(
        self, storage: Output, plan: ImagePlan, disk_size: int, runs: Iterable[tuple[int, int]]
    ) -> None:
        geometry = plan.geometry(disk_size)
        self._storage = storage
        self._block_size = plan.block_size
        self._blocks = NamedBlocks(((0, geometry.block_count),) if plan.fixed else runs)
        bat_offset = layout_of(plan).bat_offset
        self._blocks_offset = bat_offset + geometry.bat_length
        write_structures(storage, plan, disk_size, bat_offset, geometry.bat_length)
        table, place = TableWriter(storage, bat_offset, geometry), self._blocks_offset
        for first, count in self._blocks:
            table.append(first - table.next_block, plan.absent)
            table.append(count, bat.pack(BlockState.FULLY_PRESENT, place), plan.block_size)
            place += count * plan.block_size
        table.append(geometry.block_count - table.next_block, plan.absent)
        table.write()

    def place(self, block: int) -> int:
        """The file offset of a block's contents."""
        return self._blocks_offset + self._blocks.rank(block) * self._block_size

    def finish(self, disk_size: int) -> int:  # noqa: ARG002  known before
        """Write what is missing of the last blocks; the length of the file in bytes."""
        end = self._blocks_offset + self._blocks.count * self._block_size
        self._storage.resize(end)
        return end


class ForwardDynamicVhd:
    """A dynamic VHD: footer, header and table, a bitmap in front of each block, the footer once more."""

    reserved = True

    def __init__(self, storage: Output, disk_size: int, runs: Iterable[tuple[int, int]]) -> None:
        self._storage = storage
        self._blocks = NamedBlocks(runs)
        self._footer = new_footer(vhd.DYNAMIC, disk_size)
        self._tables_end = TABLE_OFFSET + table_length(disk_size)
        self._first = data_offset(self._tables_end)
        self._begun = 0
        storage.write_at(self._footer, 0)
        storage.write_at(dynamic_header(TABLE_OFFSET, disk_size), vhd.FOOTER_SIZE)
        storage.write_at(packed_table(self._table(block_count(disk_size)), disk_size), TABLE_OFFSET)

    def _table(self, blocks: int) -> array[int]:
        table, rank = array("I"), 0
        for first, count in self._blocks:
            table.extend(array("I", [vhd.UNUSED_ENTRY]) * (first - len(table)))
            places = (self._place(rank + index) - len(BITMAP) for index in range(count))
            table.extend(place // vhd.SECTOR_SIZE for place in places)
            rank += count
        table.extend(array("I", [vhd.UNUSED_ENTRY]) * (blocks - len(table)))
        return table

    def _place(self, rank: int) -> int:
        return self._first + rank * data_offset(BLOCK_SIZE)

    def place(self, block: int) -> int:
        """The file offset of a block's data."""
        rank = self._blocks.rank(block)
        self._begin(rank + 1)
        return self._place(rank)

    def _begin(self, count: int) -> None:
        """Write the bitmaps of the first so many blocks."""
        while self._begun < count:
            self._storage.write_at(BITMAP, self._place(self._begun) - len(BITMAP))
            self._begun += 1

    def finish(self, disk_size: int) -> int:  # noqa: ARG002  known before
        """Write what is missing of the last blocks, and the footer; the length of the file in bytes."""
        self._begin(self._blocks.count)
        count = self._blocks.count
        end = self._place(count - 1) + BLOCK_SIZE if count else self._tables_end
        self._storage.write_at(self._footer, end)
        return end + len(self._footer)
