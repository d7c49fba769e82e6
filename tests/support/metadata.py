"""The metadata region of a described image: its items, the parent locator, and the table."""

from collections.abc import Iterator
from uuid import uuid5

from . import layout
from .describe import Description
from .layout import IS_REQUIRED, IS_VIRTUAL_DISK, TABLE_SIZE, ZERO_GUID
from .parts import Item, given


def usual_items(image: Description) -> dict[str, Item]:
    """The metadata items that a right writer would write."""
    flags = {"dynamic": 0, "fixed": layout.LEAVE_BLOCK_ALLOCATED, "differencing": layout.HAS_PARENT}
    chosen = flags[image.disk_type] if image.file_parameters_flags is None else image.file_parameters_flags
    parameters = layout.FILE_PARAMETERS.pack({"block_size": image.block_size, "flags": chosen})
    of_the_disk = {
        "virtual_disk_size": image.disk_size.to_bytes(8, "little"),
        "virtual_disk_id": image.guid("disk id").bytes_le,
        "logical_sector_size": image.logical_sector_size.to_bytes(4, "little"),
        "physical_sector_size": image.physical_sector_size.to_bytes(4, "little"),
    }
    items = {"file_parameters": Item(value=parameters, flags=IS_REQUIRED)}
    items |= {
        name: Item(value=value, flags=IS_REQUIRED | IS_VIRTUAL_DISK) for name, value in of_the_disk.items()
    }
    if image.differencing:
        locator = layout.pack_locator(usual_locator(image) if image.locator is None else image.locator)
        items["parent_locator"] = Item(value=locator, flags=IS_REQUIRED)
    return items


def usual_locator(image: Description) -> dict[str, str]:
    """The keys that Windows writes, in its order; the paths but the relative one lead nowhere."""
    return {
        "parent_linkage": f"{{{image.parent_data_write_guid}}}",
        "absolute_win32_path": f"C:\\no such folder\\{image.parent_name}",
        "relative_path": f".\\{image.parent_name}",
        "volume_path": f"\\\\?\\Volume{{{uuid5(ZERO_GUID, 'volume')}}}\\no such folder\\{image.parent_name}",
        "parent_linkage2": f"{{{ZERO_GUID}}}",
    }


def metadata_pieces(image: Description) -> Iterator[tuple[int, bytes]]:
    """Pieces (offset in the region, bytes) of the metadata region; later pieces win."""
    usual = usual_items(image)
    names = [name for name in image.item_order if name in usual or name in image.items]
    names += [name for name in (*usual, *image.items) if name not in names]
    entries: list[bytes] = []
    cursor = TABLE_SIZE
    for name in dict.fromkeys(names):
        told = image.items.get(name, Item())
        if told.omit:
            continue
        base = usual.get(name, Item(value=b"", flags=0))
        value = told.value if told.value is not None else base.value or b""
        flags = told.flags if told.flags is not None else base.flags or 0
        at = told.data_offset if told.data_offset is not None else told.offset
        at = cursor if at is None else at
        cursor = max(cursor, at + len(value))
        entry = {
            "item_id": layout.ITEM_GUIDS.get(name) or uuid5(ZERO_GUID, f"item {name}"),
            "offset": at if value else 0,
            "length": len(value),
            "flags": flags,
            **given(told, "item_id", "offset", "length", "reserved2"),
        }
        entries.append(layout.pack_metadata_entry(**entry))
        yield at, value
    table = image.metadata_table
    rest = {"rest": entries[-1]} if image.stale_slot and entries else {}
    packed = layout.pack_metadata_table(**{"entries": entries, **rest, **given(table)})
    yield 0, packed if table.raw is None else table.raw
