"""A new image, written in one forward pass without a journal: nothing durable points at it yet."""

from __future__ import annotations

import uuid
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from vhdx.build.layout import Layout, metadata_length
from vhdx.build.table import TableWriter
from vhdx.extents import BlockState
from vhdx.format import bat, guids, header, identifier, locator, metadata, region
from vhdx.format.header import Header
from vhdx.format.metadata import IS_USER, IS_VIRTUAL_DISK, KNOWN_ITEMS, MetadataEntry
from vhdx.format.region import RegionEntry
from vhdx.geometry import Geometry
from vhdx.version import __version__

if TYPE_CHECKING:
    from vhdx.storage.base import Storage

CREATOR = f"vhdx {__version__}"


@dataclass(frozen=True, slots=True)
class UserItem:
    """A user metadata item that belongs to the virtual disk, not to the file."""

    item_id: UUID
    value: bytes
    flags: int = IS_USER | IS_VIRTUAL_DISK


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """What a new image is to be; sizes in bytes, already legal.

    ``absent`` is the state of blocks without contents: NOT_PRESENT or ZERO.
    """

    fixed: bool
    block_size: int
    log_length: int
    logical_sector_size: int
    physical_sector_size: int
    disk_id: UUID
    absent: BlockState = BlockState.NOT_PRESENT
    user_items: tuple[UserItem, ...] = ()
    locator: tuple[tuple[str, str], ...] = ()
    """Keys and values of the parent locator; empty if there is no parent."""

    def geometry(self, disk_size: int) -> Geometry:
        """The geometry of a disk of ``disk_size`` bytes."""
        return Geometry(disk_size, self.block_size, self.logical_sector_size, bool(self.locator))


class ImageBuilder:
    """Gives places to blocks in ascending order, then writes everything that points at them.

    ``disk_size`` None means that it is known only at the end: the BAT then stands behind the blocks, and
    16 bytes are kept in memory for each run of blocks.
    """

    def __init__(self, storage: Storage, plan: ImagePlan, disk_size: int | None) -> None:
        self._storage = storage
        self._plan = plan
        self._layout = _layout(plan)
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
        self._write_metadata(disk_size)
        self._write_regions(bat_offset, geometry.bat_length)
        self._write_headers()
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

    def _write_metadata(self, disk_size: int) -> None:
        offset, entries = metadata.TABLE_SIZE, []
        for item_id, value, flags in _items(self._plan, disk_size):
            entries.append(MetadataEntry(item_id, offset if value else 0, len(value), flags))
            self._storage.write_at(value, self._layout.metadata_offset + offset)
            offset += len(value)
        self._storage.write_at(metadata.pack_table(entries), self._layout.metadata_offset)

    def _write_regions(self, bat_offset: int, length: int) -> None:
        layout = self._layout
        table = region.pack(
            (
                RegionEntry(guids.BAT_REGION, bat_offset, length, required=1),
                RegionEntry(
                    guids.METADATA_REGION, layout.metadata_offset, layout.metadata_length, required=1
                ),
            )
        )
        for offset in region.TABLE_OFFSETS:
            self._storage.write_at(table, offset)

    def _write_headers(self) -> None:
        file_write_guid, data_write_guid = uuid.uuid4(), uuid.uuid4()
        for sequence_number, offset in enumerate(header.HEADER_OFFSETS):
            packed = Header(
                sequence_number=sequence_number,
                file_write_guid=file_write_guid,
                data_write_guid=data_write_guid,
                log_guid=guids.NIL,
                log_version=header.LOG_VERSION,
                version=header.VERSION,
                log_length=self._layout.log_length,
                log_offset=self._layout.log_offset,
            ).pack()
            self._storage.write_at(packed, offset)
        self._storage.write_at(identifier.pack(CREATOR), identifier.IDENTIFIER_OFFSET)


def file_size(plan: ImagePlan, disk_size: int, blocks: int) -> int:
    """The length in bytes of an image of this plan in which so many blocks have a place."""
    geometry = plan.geometry(disk_size)
    places = geometry.block_count if plan.fixed else blocks
    return _layout(plan).bat_offset + geometry.bat_length + places * plan.block_size


def _layout(plan: ImagePlan) -> Layout:
    return Layout(plan.log_length, metadata_length(sum(len(value) for _, value, _ in _items(plan, 0))))


def _items(plan: ImagePlan, disk_size: int) -> list[tuple[UUID, bytes, int]]:
    """Id, value and flags of every item, in the order in which Windows writes them."""
    flags = metadata.HAS_PARENT if plan.locator else metadata.LEAVE_BLOCK_ALLOCATED if plan.fixed else 0
    known = {
        guids.FILE_PARAMETERS: metadata.pack_file_parameters(plan.block_size, flags),
        guids.VIRTUAL_DISK_SIZE: disk_size.to_bytes(8, "little"),
        guids.LOGICAL_SECTOR_SIZE: plan.logical_sector_size.to_bytes(4, "little"),
        guids.PHYSICAL_SECTOR_SIZE: plan.physical_sector_size.to_bytes(4, "little"),
        guids.VIRTUAL_DISK_ID: plan.disk_id.bytes_le,
    }
    if plan.locator:
        known[guids.PARENT_LOCATOR] = locator.pack(dict(plan.locator))
    items = [(item_id, value, KNOWN_ITEMS[item_id].flags) for item_id, value in known.items()]
    return items + [(item.item_id, item.value, item.flags) for item in plan.user_items]
