"""What stands in front of the blocks of a new image, but for its BAT: in the order of the file."""

from __future__ import annotations

import uuid

from vhdx.build.layout import Layout, metadata_length
from vhdx.format import guids, header, identifier, locator, metadata, region
from vhdx.format.header import Header
from vhdx.format.metadata import KNOWN_ITEMS, MetadataEntry
from vhdx.format.region import RegionEntry
from vhdx.typed import TYPE_CHECKING, Protocol
from vhdx.version import __version__

if TYPE_CHECKING:
    from uuid import UUID

    from vhdx.build.plan import ImagePlan

CREATOR = f"vhdx {__version__}"


class Output(Protocol):
    """What a new file needs of its storage: a pipe can do it, too, in ascending order."""

    def write_at(self, data: bytes | bytearray | memoryview, file_offset: int) -> None:
        """Write all of ``data``."""

    def resize(self, size: int) -> None:
        """Give the file its length; what was left out reads as zeros."""

    def reserve(self, file_offset: int, length: int) -> bool:
        """Claim space on the host for a range; False where the host cannot."""


def layout_of(plan: ImagePlan) -> Layout:
    """Where the structures of an image of this plan go."""
    return Layout(plan.log_length, metadata_length(sum(len(value) for _, value, _ in _items(plan, 0))))


def write_structures(
    storage: Output,
    plan: ImagePlan,
    disk_size: int,
    bat_offset: int,
    bat_length: int,
    *,
    data_write_guid: UUID | None = None,
) -> None:
    """Write identifier, headers, region tables and metadata of a new image.

    Its contents have a new identity unless ``data_write_guid`` is given.
    """
    layout = layout_of(plan)
    storage.write_at(identifier.pack(CREATOR), identifier.IDENTIFIER_OFFSET)
    _write_headers(storage, layout, data_write_guid or uuid.uuid4())
    _write_regions(storage, layout, bat_offset, bat_length)
    storage.write_at(_packed_metadata(plan, disk_size), layout.metadata_offset)


def _write_headers(storage: Output, layout: Layout, data_write_guid: UUID) -> None:
    file_write_guid = uuid.uuid4()
    for sequence_number, offset in enumerate(header.HEADER_OFFSETS):
        packed = Header(
            sequence_number=sequence_number,
            file_write_guid=file_write_guid,
            data_write_guid=data_write_guid,
            log_guid=guids.NIL,
            log_version=header.LOG_VERSION,
            version=header.VERSION,
            log_length=layout.log_length,
            log_offset=layout.log_offset,
        ).pack()
        storage.write_at(packed, offset)


def _write_regions(storage: Output, layout: Layout, bat_offset: int, bat_length: int) -> None:
    table = region.pack(
        (
            RegionEntry(guids.BAT_REGION, bat_offset, bat_length, required=1),
            RegionEntry(guids.METADATA_REGION, layout.metadata_offset, layout.metadata_length, required=1),
        )
    )
    for offset in region.TABLE_OFFSETS:
        storage.write_at(table, offset)


def _packed_metadata(plan: ImagePlan, disk_size: int) -> bytes:
    offset, entries, values = metadata.TABLE_SIZE, [], []
    for item_id, value, flags in _items(plan, disk_size):
        entries.append(MetadataEntry(item_id, offset if value else 0, len(value), flags))
        values.append(value)
        offset += len(value)
    return metadata.pack_table(entries).ljust(metadata.TABLE_SIZE, b"\0") + b"".join(values)


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
