"""The region table: which parts of the file are the BAT, the metadata and others [MS-VHDX 2.2.3]."""

from __future__ import annotations

import struct
from uuid import UUID

from vhdx.format import checksum, fields
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

SIGNATURE = b"regi"
TABLE_OFFSETS = (192 * 1024, 256 * 1024)
TABLE_SIZE = 64 * 1024
ALIGNMENT = 1024 * 1024

_HEADER = struct.Struct("<4s4xI4x")
_ENTRY = struct.Struct("<16sQII")
assert _HEADER.size == 4 + 4 + 4 + 4
assert _ENTRY.size == 16 + 8 + 4 + 4
RESERVED = slice(_HEADER.size - 4, _HEADER.size)
"""Where the reserved field of a table stands."""
ENTRY_SIZE = _ENTRY.size
MAXIMUM_ENTRIES = (TABLE_SIZE - _HEADER.size) // ENTRY_SIZE
assert MAXIMUM_ENTRIES == 2047

TABLE_FIELDS = fields.table(
    ("signature", 4, fields.signature(SIGNATURE)),
    ("checksum", 4, fields.checksum),
    ("entry count", 4, fields.number),
    ("reserved", 4, fields.reserved),
)
ENTRY_FIELDS = fields.table(
    ("GUID", 16, fields.guid),
    ("file offset", 8, fields.size),
    ("length", 4, fields.size),
    ("required", 4, fields.flags({1: "required"})),
)
assert fields.length(TABLE_FIELDS) == _HEADER.size
assert fields.length(ENTRY_FIELDS) == ENTRY_SIZE


class RegionEntry(NamedTuple):
    """One region; ``file_offset`` and ``length`` are bytes, ``required`` the field as it stands."""

    guid: UUID
    file_offset: int
    length: int
    required: int

    @property
    def end(self) -> int:
        """The file offset just behind the region."""
        return self.file_offset + self.length

    @property
    def is_required(self) -> bool:
        """Bit 0: version 0.95 declared bits 1 to 31 reserved."""
        return bool(self.required & 1)


def aligned(length: int) -> int:
    """``length`` rounded up to whole MiB, the unit in which every structure and block is placed."""
    return -(-length // ALIGNMENT) * ALIGNMENT


def entry_offset(index: int) -> int:
    """Where entry ``index`` stands, in bytes from the start of a table."""
    return _HEADER.size + index * _ENTRY.size


def pack(entries: Iterable[RegionEntry]) -> bytes:
    """The 64 KiB of a table, checksum included."""
    packed = [_ENTRY.pack(e.guid.bytes_le, e.file_offset, e.length, e.required) for e in entries]
    table = _HEADER.pack(SIGNATURE, len(packed)) + b"".join(packed)
    return checksum.sealed(table.ljust(TABLE_SIZE, b"\0"))


def damage(data: bytes) -> str | None:
    """Why these bytes are no valid table (signature, checksum, count), or None if they are one."""
    if len(data) < TABLE_SIZE:
        return f"the file ends after {len(data)} of its {TABLE_SIZE} bytes"
    signature, entries = _HEADER.unpack_from(data)
    if signature != SIGNATURE:
        return f"signature is {signature!r}, must be {SIGNATURE!r}"
    if wrong := checksum.damage(data):
        return wrong
    if entries > MAXIMUM_ENTRIES:
        return f"entry count is {entries}, at most {MAXIMUM_ENTRIES} fit"
    return None


def count(data: bytes) -> int:
    """How many entries a table says it has."""
    return int(_HEADER.unpack_from(data)[1])


def unpack(data: bytes) -> tuple[RegionEntry, ...]:
    """The entries of a valid table, in their order."""
    rows = _ENTRY.iter_unpack(data[_HEADER.size : entry_offset(count(data))])
    return tuple(RegionEntry(UUID(bytes_le=guid), *numbers) for guid, *numbers in rows)
