"""The structures of the format as the tests see them: names, places and sizes of fields, and packers.

Everything here is written from the format reference. Each packer takes every field by keyword, so that a
test can say "as usual, but with this one lie"; `checksum=None` means "sealed properly".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self
from uuid import UUID

import google_crc32c

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40
SECTOR = 4096

HEADER_OFFSETS = {1: 64 * KIB, 2: 128 * KIB}
REGION_TABLE_OFFSETS = {1: 192 * KIB, 2: 256 * KIB}
TABLE_SIZE = 64 * KIB
HEADER_SECTION = MIB
BITMAP_SIZE = MIB
BITS_OF_A_BITMAP = 8 * BITMAP_SIZE

ZERO_GUID = UUID(int=0)
BAT_GUID = UUID("2DC27766-F623-4200-9D64-115E9BFD4A08")
METADATA_GUID = UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E")
LOCATOR_TYPE = UUID("B04AEFB7-D19E-4A81-B789-25B8E9445913")
ITEM_GUIDS = {
    "file_parameters": UUID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B"),
    "virtual_disk_size": UUID("2FA54224-CD1B-4876-B211-5DBED83BF4B8"),
    "virtual_disk_id": UUID("BECA12AB-B2E6-4523-93EF-C309E000C746"),
    "logical_sector_size": UUID("8141BF1D-A96F-4709-BA47-F233A8FAAB5F"),
    "physical_sector_size": UUID("CDA348C7-445D-4471-9CC9-E9885251C556"),
    "parent_locator": UUID("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C"),
    "chs_parameters": UUID("DA02D7BC-3D3A-423C-AC88-2A36AB21479B"),
    "incomplete_file": UUID("71CC85F0-1B69-4E28-9558-C3BF83AE75D3"),
    "pmem_label": UUID("10E1AE8A-4B7E-4169-A40F-CD70DE928393"),
}
IS_USER, IS_VIRTUAL_DISK, IS_REQUIRED = 1, 2, 4
LEAVE_BLOCK_ALLOCATED, HAS_PARENT = 1, 2

NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED, FULLY_PRESENT, PARTIALLY_PRESENT = 0, 1, 2, 3, 6, 7
BITMAP_PRESENT = 6

Value = int | bytes | UUID
Kind = Literal["int", "bytes", "guid"]


@dataclass(frozen=True)
class Field:
    """One named field; `bits` is not zero where the field is a part of an integer, from bit `shift` on."""

    name: str
    offset: int
    size: int
    kind: Kind
    shift: int = 0
    bits: int = 0

    def decode(self, structure: bytes) -> Value:
        """The value of this field in the bytes of its structure."""
        raw = structure[self.offset : self.offset + self.size]
        if self.kind == "guid":
            return UUID(bytes_le=raw)
        if self.kind == "bytes":
            return raw
        number = int.from_bytes(raw, "little")
        return number >> self.shift & (1 << self.bits) - 1 if self.bits else number

    def encode(self, structure: bytearray, value: Value) -> None:
        """Put `value` into the bytes of the structure; raw bytes are welcome in a field of any kind."""
        if isinstance(value, int) and self.bits:
            if not 0 <= value < 1 << self.bits:
                raise ValueError(f"{value:#x} does not fit the {self.bits} bits of {self.name}")
            word = int.from_bytes(structure[self.offset : self.offset + self.size], "little")
            word = word & ~((1 << self.bits) - 1 << self.shift) | value << self.shift
            raw = word.to_bytes(self.size, "little")
        elif isinstance(value, int):
            raw = value.to_bytes(self.size, "little")
        elif isinstance(value, UUID):
            raw = value.bytes_le
        else:
            raw = value.ljust(self.size, b"\0")
        if len(raw) != self.size:
            raise ValueError(f"{len(raw)} bytes do not fit the {self.size} bytes of {self.name}")
        structure[self.offset : self.offset + self.size] = raw


class Layout:
    """The fields of one structure, in file order."""

    def __init__(self, *fields: tuple[str, int, Kind]) -> None:
        """Lay the fields (name, size in bytes, kind) one after the other."""
        laid: list[Field] = []
        offset = 0
        for name, size, kind in fields:
            laid.append(Field(name, offset, size, kind))
            offset += size
        self.fields: tuple[Field, ...] = tuple(laid)
        self.size = offset
        self._named = {field.name: field for field in laid}

    def with_bits(self, *parts: tuple[str, str, int, int]) -> Self:
        """The same layout with names for bits: (name, name of the whole field, first bit, number of bits)."""
        for name, whole, shift, bits in parts:
            field = self.field(whole)
            self._named[name] = Field(name, field.offset, field.size, "int", shift, bits)
            self.fields += (self._named[name],)
        return self

    def field(self, name: str) -> Field:
        """The field of that name."""
        return self._named[name]

    def pack(self, values: Mapping[str, Value]) -> bytes:
        """The bytes of the structure; fields that `values` does not name are zero."""
        structure = bytearray(self.size)
        for name, value in values.items():
            self.field(name).encode(structure, value)
        return bytes(structure)

    def number(self, structure: bytes, name: str) -> int:
        """An integer field."""
        value = self.field(name).decode(structure)
        assert isinstance(value, int)
        return value

    def guid(self, structure: bytes, name: str) -> UUID:
        """A GUID field."""
        value = self.field(name).decode(structure)
        assert isinstance(value, UUID)
        return value

    def raw(self, structure: bytes, name: str) -> bytes:
        """The bytes of a field of any kind."""
        field = self.field(name)
        return structure[field.offset : field.offset + field.size]


IDENTIFIER = Layout(("signature", 8, "bytes"), ("creator", 512, "bytes"), ("reserved", 65016, "bytes"))
HEADER = Layout(
    ("signature", 4, "bytes"),
    ("checksum", 4, "int"),
    ("sequence_number", 8, "int"),
    ("file_write_guid", 16, "guid"),
    ("data_write_guid", 16, "guid"),
    ("log_guid", 16, "guid"),
    ("log_version", 2, "int"),
    ("version", 2, "int"),
    ("log_length", 4, "int"),
    ("log_offset", 8, "int"),
    ("reserved", 4016, "bytes"),
)
REGION_TABLE = Layout(
    ("signature", 4, "bytes"), ("checksum", 4, "int"), ("entry_count", 4, "int"), ("reserved", 4, "int")
)
REGION_ENTRY = Layout(
    ("guid", 16, "guid"), ("file_offset", 8, "int"), ("length", 4, "int"), ("required", 4, "int")
)
METADATA_TABLE = Layout(
    ("signature", 8, "bytes"), ("reserved", 2, "int"), ("entry_count", 2, "int"), ("reserved2", 20, "bytes")
)
METADATA_ENTRY = Layout(
    ("item_id", 16, "guid"),
    ("offset", 4, "int"),
    ("length", 4, "int"),
    ("flags", 4, "int"),
    ("reserved2", 4, "int"),
)
LOG_ENTRY = Layout(
    ("signature", 4, "bytes"),
    ("checksum", 4, "int"),
    ("entry_length", 4, "int"),
    ("tail", 4, "int"),
    ("sequence_number", 8, "int"),
    ("descriptor_count", 4, "int"),
    ("reserved", 4, "int"),
    ("log_guid", 16, "guid"),
    ("flushed_file_offset", 8, "int"),
    ("last_file_offset", 8, "int"),
)
ZERO_DESCRIPTOR = Layout(
    ("signature", 4, "bytes"),
    ("reserved", 4, "int"),
    ("zero_length", 8, "int"),
    ("file_offset", 8, "int"),
    ("sequence_number", 8, "int"),
)
DATA_DESCRIPTOR = Layout(
    ("signature", 4, "bytes"),
    ("trailing_bytes", 4, "bytes"),
    ("leading_bytes", 8, "bytes"),
    ("file_offset", 8, "int"),
    ("sequence_number", 8, "int"),
)
DATA_SECTOR = Layout(
    ("signature", 4, "bytes"),
    ("sequence_high", 4, "int"),
    ("data", 4084, "bytes"),
    ("sequence_low", 4, "int"),
)
BAT_ENTRY = Layout(("raw", 8, "int")).with_bits(
    ("state", "raw", 0, 3), ("reserved", "raw", 3, 17), ("file_offset_mb", "raw", 20, 44)
)
FILE_PARAMETERS = Layout(("block_size", 4, "int"), ("flags", 4, "int"))
LOCATOR = Layout(("locator_type", 16, "guid"), ("reserved", 2, "int"), ("key_value_count", 2, "int"))
LOCATOR_ENTRY = Layout(
    ("key_offset", 4, "int"), ("value_offset", 4, "int"), ("key_length", 2, "int"), ("value_length", 2, "int")
)

assert (IDENTIFIER.size, HEADER.size, DATA_SECTOR.size) == (64 * KIB, SECTOR, SECTOR)
assert (REGION_TABLE.size, METADATA_TABLE.size, LOG_ENTRY.size) == (16, 32, 64)
assert {x.size for x in (REGION_ENTRY, METADATA_ENTRY, ZERO_DESCRIPTOR, DATA_DESCRIPTOR)} == {32}
assert (LOCATOR.size, LOCATOR_ENTRY.size, BAT_ENTRY.size) == (20, 12, 8)


def crc32c(data: bytes) -> int:
    """The CRC-32C of the data."""
    return int(google_crc32c.value(data))


def seal(structure: bytes, checksum: int | None = None) -> bytes:
    """The structure with its checksum (always the second four bytes) right, or with the given one."""
    if checksum is None:
        checksum = crc32c(structure[:4] + bytes(4) + structure[8:])
    return structure[:4] + checksum.to_bytes(4, "little") + structure[8:]


def pack_identifier(
    creator: str | bytes = "", *, signature: bytes = b"vhdxfile", reserved: bytes = b""
) -> bytes:
    """The first 64 KiB of the file; a creator given as text is encoded, given as bytes it is taken as is."""
    text = creator.encode("utf-16-le") if isinstance(creator, str) else creator
    return IDENTIFIER.pack({"signature": signature, "creator": text, "reserved": reserved})


def pack_header(
    *,
    sequence_number: int = 0,
    file_write_guid: UUID = ZERO_GUID,
    data_write_guid: UUID = ZERO_GUID,
    log_guid: UUID = ZERO_GUID,
    log_version: int = 0,
    version: int = 1,
    log_length: int = MIB,
    log_offset: int = MIB,
    signature: bytes = b"head",
    reserved: bytes = b"",
    checksum: int | None = None,
) -> bytes:
    """The 4096 bytes of a header."""
    values: dict[str, Value] = {
        "signature": signature,
        "sequence_number": sequence_number,
        "file_write_guid": file_write_guid,
        "data_write_guid": data_write_guid,
        "log_guid": log_guid,
        "log_version": log_version,
        "version": version,
        "log_length": log_length,
        "log_offset": log_offset,
        "reserved": reserved,
    }
    return seal(HEADER.pack(values), checksum)


def pack_region_entry(guid: UUID, file_offset: int, length: int, required: int = 1) -> bytes:
    """The 32 bytes of one region entry."""
    return REGION_ENTRY.pack(
        {"guid": guid, "file_offset": file_offset, "length": length, "required": required}
    )


def pack_region_table(
    entries: Iterable[bytes],
    *,
    signature: bytes = b"regi",
    entry_count: int | None = None,
    reserved: int = 0,
    rest: bytes = b"",
    checksum: int | None = None,
) -> bytes:
    """The 64 KiB of one region table copy; `rest` stands behind the last entry."""
    packed = list(entries)
    count = len(packed) if entry_count is None else entry_count
    head = REGION_TABLE.pack({"signature": signature, "entry_count": count, "reserved": reserved})
    table = (head + b"".join(packed) + rest).ljust(TABLE_SIZE, b"\0")
    return seal(table[:TABLE_SIZE], checksum)


def pack_metadata_entry(item_id: UUID, offset: int, length: int, flags: int, reserved2: int = 0) -> bytes:
    """The 32 bytes of one metadata table entry."""
    return METADATA_ENTRY.pack(
        {"item_id": item_id, "offset": offset, "length": length, "flags": flags, "reserved2": reserved2}
    )


def pack_metadata_table(
    entries: Iterable[bytes],
    *,
    signature: bytes = b"metadata",
    reserved: int = 0,
    entry_count: int | None = None,
    reserved2: bytes = b"",
    rest: bytes = b"",
) -> bytes:
    """The 64 KiB of the metadata table; `rest` stands behind the last entry."""
    packed = list(entries)
    count = len(packed) if entry_count is None else entry_count
    head = METADATA_TABLE.pack(
        {"signature": signature, "reserved": reserved, "entry_count": count, "reserved2": reserved2}
    )
    return (head + b"".join(packed) + rest).ljust(TABLE_SIZE, b"\0")[:TABLE_SIZE]


def pack_bat_entry(state: int, file_offset: int = 0, reserved: int = 0) -> int:
    """The 64-bit word of a BAT entry; the file offset is in bytes and a multiple of 1 MiB."""
    if file_offset % MIB or not (0 <= state < 8 and 0 <= reserved < 1 << 17 and 0 <= file_offset < 1 << 64):
        raise ValueError("a BAT entry cannot say this")
    return state | reserved << 3 | file_offset


def pack_locator(
    pairs: Mapping[str, str] | Sequence[tuple[str, str]],
    *,
    locator_type: UUID = LOCATOR_TYPE,
    reserved: int = 0,
    key_value_count: int | None = None,
    entries: Sequence[Mapping[str, int]] = (),
) -> bytes:
    """A parent locator item, each key followed by its value; `entries[i]` overrides fields of entry i."""
    listed = list(pairs.items()) if isinstance(pairs, Mapping) else list(pairs)
    count = len(listed) if key_value_count is None else key_value_count
    head = LOCATOR.pack({"locator_type": locator_type, "reserved": reserved, "key_value_count": count})
    strings_at = LOCATOR.size + LOCATOR_ENTRY.size * len(listed)
    table = strings = b""
    for index, (key_text, value_text) in enumerate(listed):
        key = key_text.encode("utf-16-le", "surrogatepass")
        value = value_text.encode("utf-16-le", "surrogatepass")
        fields = {
            "key_offset": strings_at + len(strings),
            "value_offset": strings_at + len(strings) + len(key),
            "key_length": len(key),
            "value_length": len(value),
        }
        table += LOCATOR_ENTRY.pack({**fields, **(entries[index] if index < len(entries) else {})})
        strings += key + value
    return head + table + strings
