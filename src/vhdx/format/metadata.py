"""The metadata table and the fixed items that it locates [MS-VHDX 2.6]."""

from __future__ import annotations

import struct
from uuid import UUID

from vhdx.format import fields, guids
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

SIGNATURE = b"metadata"
TABLE_SIZE = 64 * 1024
ITEM_SIZE_LIMIT = 1024 * 1024
MAXIMUM_USER_ENTRIES = 1024
USER_ITEMS_LIMIT = 40 * 1024 * 1024
"""Bytes of all user items together; Microsoft's own code refuses images with more."""

IS_USER = 1
IS_VIRTUAL_DISK = 2
IS_REQUIRED = 4
FLAGS = IS_USER | IS_VIRTUAL_DISK | IS_REQUIRED

LEAVE_BLOCK_ALLOCATED = 1
HAS_PARENT = 2

MINIMUM_BLOCK_SIZE = 1024 * 1024
MAXIMUM_BLOCK_SIZE = 256 * 1024 * 1024
MAXIMUM_DISK_SIZE = 64 * 1024**4
SECTOR_SIZES = (512, 4096)

_HEADER = struct.Struct("<8s2xH20x")
_COUNT = struct.Struct("<H")
COUNT_OFFSET = 8 + 2
_ENTRY = struct.Struct("<16sIII4x")
_FILE_PARAMETERS = struct.Struct("<II")
assert _HEADER.size == 8 + 2 + 2 + 20
assert _ENTRY.size == 16 + 4 + 4 + 4 + 4
ENTRY_SIZE = _ENTRY.size
FLAGS_IN_ENTRY = 16 + 4 + 4
RESERVED_IN_ENTRY = FLAGS_IN_ENTRY + 4
MAXIMUM_ENTRIES = (TABLE_SIZE - _HEADER.size) // ENTRY_SIZE
assert MAXIMUM_ENTRIES == 2047

TABLE_FIELDS = fields.table(
    ("signature", 8, fields.signature(SIGNATURE)),
    ("reserved", 2, fields.reserved),
    ("entry count", 2, fields.number),
    ("reserved 2", 20, fields.reserved),
)
_FLAG_NAMES = {IS_USER: "user", IS_VIRTUAL_DISK: "virtual disk", IS_REQUIRED: "required"}
ENTRY_FIELDS = fields.table(
    ("item id", 16, fields.guid),
    ("offset in the region", 4, fields.size),
    ("length", 4, fields.size),
    ("flags", 4, fields.flags(_FLAG_NAMES)),
    ("reserved 2", 4, fields.reserved),
)
assert fields.length(TABLE_FIELDS) == _HEADER.size
assert fields.length(ENTRY_FIELDS) == ENTRY_SIZE


def _only_field(item_id: UUID, size: int, show: fields.Show) -> fields.Table:
    """The table of an item that is one value, which is called as the item is."""
    return fields.table((guids.NAMES[item_id], size, show))


ITEM_FIELDS = {
    guids.FILE_PARAMETERS: fields.table(
        ("block size", 4, fields.size),
        (
            "flags",
            4,
            fields.flags({LEAVE_BLOCK_ALLOCATED: "leave block allocated", HAS_PARENT: "has parent"}),
        ),
    ),
    guids.VIRTUAL_DISK_SIZE: _only_field(guids.VIRTUAL_DISK_SIZE, 8, fields.size),
    guids.VIRTUAL_DISK_ID: _only_field(guids.VIRTUAL_DISK_ID, 16, fields.guid),
    guids.LOGICAL_SECTOR_SIZE: _only_field(guids.LOGICAL_SECTOR_SIZE, 4, fields.number),
    guids.PHYSICAL_SECTOR_SIZE: _only_field(guids.PHYSICAL_SECTOR_SIZE, 4, fields.number),
}
"""The fields of the items that have a fixed length."""


class KnownItem(NamedTuple):
    """What the specification says of an item: its name, its length in bytes (None: any) and its flags."""

    name: str
    length: int | None
    flags: int


def _known(item_id: UUID, flags: int) -> KnownItem:
    table = ITEM_FIELDS.get(item_id)
    return KnownItem(guids.NAMES[item_id], None if table is None else fields.length(table), flags)


_FLAGS_OF_ITEMS = {
    guids.FILE_PARAMETERS: IS_REQUIRED,
    guids.VIRTUAL_DISK_SIZE: IS_VIRTUAL_DISK | IS_REQUIRED,
    guids.VIRTUAL_DISK_ID: IS_VIRTUAL_DISK | IS_REQUIRED,
    guids.LOGICAL_SECTOR_SIZE: IS_VIRTUAL_DISK | IS_REQUIRED,
    guids.PHYSICAL_SECTOR_SIZE: IS_VIRTUAL_DISK | IS_REQUIRED,
    guids.PARENT_LOCATOR: IS_REQUIRED,
}
KNOWN_ITEMS = {item_id: _known(item_id, flags) for item_id, flags in _FLAGS_OF_ITEMS.items()}
assert KNOWN_ITEMS[guids.FILE_PARAMETERS].length == _FILE_PARAMETERS.size
# Written by Microsoft's own software, sometimes as required, and of no effect on what a read returns.
TOLERATED_ITEMS = frozenset({guids.CHS_PARAMETERS, guids.PMEM_LABEL_STORAGE})
SYSTEM_ITEMS = TOLERATED_ITEMS | KNOWN_ITEMS.keys() | {guids.INCOMPLETE_FILE}


class MetadataEntry(NamedTuple):
    """One row of the table; ``offset`` counts bytes from the start of the metadata region."""

    item_id: UUID
    offset: int
    length: int
    flags: int

    @property
    def end(self) -> int:
        """The offset just behind the item, in bytes from the start of the metadata region."""
        return self.offset + self.length

    @property
    def is_user(self) -> bool:
        """Whether the item belongs to a user rather than to the system."""
        return bool(self.flags & IS_USER)

    @property
    def is_virtual_disk(self) -> bool:
        """Whether the item belongs to the virtual disk and follows it into copies and children."""
        return bool(self.flags & IS_VIRTUAL_DISK)

    @property
    def is_required(self) -> bool:
        """Whether software that does not know the item must refuse the file."""
        return bool(self.flags & IS_REQUIRED)


def is_block_size(size: int) -> bool:
    """Whether blocks may have so many bytes: a power of two from 1 MiB to 256 MiB."""
    return not size & (size - 1) and MINIMUM_BLOCK_SIZE <= size <= MAXIMUM_BLOCK_SIZE


def entry_offset(index: int) -> int:
    """Where entry ``index`` stands, in bytes from the start of the table."""
    return _HEADER.size + index * _ENTRY.size


def pack_entry(entry: MetadataEntry) -> bytes:
    """The 32 bytes of one row of the table."""
    return _ENTRY.pack(entry.item_id.bytes_le, entry.offset, entry.length, entry.flags)


def pack_count(count: int) -> bytes:
    """How many entries there are, as it stands at COUNT_OFFSET of a table."""
    return _COUNT.pack(count)


def pack_table(entries: Iterable[MetadataEntry]) -> bytes:
    """The 64 KiB of a table."""
    packed = [pack_entry(entry) for entry in entries]
    return (_HEADER.pack(SIGNATURE, len(packed)) + b"".join(packed)).ljust(TABLE_SIZE, b"\0")


def table_signature(table: bytes) -> bytes:
    """The first eight bytes of a table, which must be ``metadata``."""
    return table[: len(SIGNATURE)]


def table_count(table: bytes) -> int:
    """How many entries a table says it has; more than MAXIMUM_ENTRIES cannot be."""
    return int(_HEADER.unpack_from(table)[1])


def unpack_table(table: bytes) -> tuple[MetadataEntry, ...]:
    """The entries of a table whose count has been checked; what stands behind them is ignored."""
    rows = _ENTRY.iter_unpack(table[_HEADER.size : entry_offset(table_count(table))])
    return tuple(MetadataEntry(UUID(bytes_le=guid), *numbers) for guid, *numbers in rows)


def pack_file_parameters(block_size: int, flags: int) -> bytes:
    """The item File Parameters [2.6.2.1]."""
    return _FILE_PARAMETERS.pack(block_size, flags)


def unpack_file_parameters(item: bytes) -> tuple[int, int]:
    """Block size in bytes and flags of the item File Parameters."""
    block_size, flags = _FILE_PARAMETERS.unpack(item)
    return block_size, flags
