"""A new image, written in one forward pass without a journal: nothing durable points at it yet."""

from __future__ import annotations

from array import array

from vhdx.build.structures import layout_of, write_structures
from vhdx.build.table import TableWriter
from vhdx.extents import BlockState
from vhdx.format import bat
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.build.plan import ImagePlan
    from vhdx.build.structures import Output
    from vhdx.geometry import Geometry


class ImageBuilder:
    """Gives places to blocks in ascending order, then writes everything that points at them.

    ``disk_size`` None means that it is known only at the end: the BAT then stands behind the blocks, and
    16 bytes are kept in memory for each run of blocks.
    """

    def __init__(self, storage: Output, plan: ImagePlan, disk_size: int | None) -> None:
        self._storage = storage
        self._plan = plan
        self._layout = layout_of(plan)
        self._disk_size = disk_size
        bat_space = 0 if disk_size is None else plan.geometry(disk_size).bat_length
        self._blocks_offset = self._end = self._layout.bat_offset + bat_space
        self._runs = array("Q")  # first block, count, first block, count …
        self._table = None if disk_size is None else self._table_writer(disk_size, self._layout.bat_offset)
        self.reserved = True
        """Whether the host could reserve the space of a fixed image."""
        if plan.fixed and disk_size is not None:
            self._allocate_all(disk_size)

    def _table_writer(self, disk_size: int, file_offset: int) -> TableWriter:
        return TableWriter(self._storage, file_offset, self._plan.geometry(disk_size))

    def place(self, block: int) -> int:
        """The file offset of a block's contents, which read as zeros until they are written.

        Blocks of a dynamic image are to be asked for in ascending order, each once.
        """
        if self._plan.fixed:
            return self._blocks_offset + block * self._plan.block_size
        place = self._end
        self._end += self._plan.block_size
        if self._table is not None:
            self._append(self._table, block, 1, place)
        elif self._runs and self._runs[-2] + self._runs[-1] == block:
            self._runs[-1] += 1
        else:
            self._runs.extend((block, 1))
        return place

    def _append(self, table: TableWriter, block: int, count: int, place: int) -> None:
        table.append(block - table.next_block, self._plan.absent)
        table.append(count, bat.pack(BlockState.FULLY_PRESENT, place), self._plan.block_size)

    def _allocate_all(self, disk_size: int) -> None:
        blocks = self._plan.geometry(disk_size).block_count
        self._end = self._blocks_offset + blocks * self._plan.block_size
        self._storage.resize(self._end)
        self.reserved = self._storage.reserve(self._blocks_offset, self._end - self._blocks_offset)

    def finish(self, disk_size: int) -> int:
        """Write tables, metadata and headers; the length of the file in bytes. The caller flushes."""
        geometry = self._plan.geometry(disk_size)
        bat_offset = self._layout.bat_offset
        table = self._table
        if table is None:
            if self._plan.fixed:
                self._allocate_all(disk_size)
            bat_offset, self._end = self._end, self._end + geometry.bat_length
            table = self._table_writer(disk_size, bat_offset)
        self._storage.resize(self._end)
        self._finish_table(table, geometry)
        write_structures(self._storage, self._plan, disk_size, bat_offset, geometry.bat_length)
        return self._end

    def _finish_table(self, table: TableWriter, geometry: Geometry) -> None:
        if self._plan.fixed:
            self._append(table, 0, geometry.block_count, self._blocks_offset)
        place = self._blocks_offset
        for block, count in zip(self._runs[::2], self._runs[1::2], strict=True):
            self._append(table, block, count, place)
            place += count * self._plan.block_size
        table.append(geometry.block_count - table.next_block, self._plan.absent)
        table.write()


def file_size(plan: ImagePlan, disk_size: int, blocks: int) -> int:
    """The length in bytes of an image of this plan in which so many blocks have a place."""
    geometry = plan.geometry(disk_size)
    places = geometry.block_count if plan.fixed else blocks
    return layout_of(plan).bat_offset + geometry.bat_length + places * plan.block_size
