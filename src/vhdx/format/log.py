"""Entries of the log: header, descriptors and data sectors [MS-VHDX 2.3.1]."""

from __future__ import annotations

import struct

from vhdx.format import fields
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ENTRY_SIGNATURE = b"loge"
ZERO_SIGNATURE = b"zero"
DATA_DESCRIPTOR_SIGNATURE = b"desc"
DATA_SECTOR_SIGNATURE = b"data"

SECTOR_SIZE = 4096
LOG_ALIGNMENT = 1024 * 1024
FIRST_TARGET = 192 * 1024
"""Identifier and headers, which end here, are never changed through the log."""

_ENTRY_HEADER = struct.Struct("<4sIIIQII16sQQ")
_DESCRIPTOR = struct.Struct("<4s4s8sQQ")
_ZERO_DESCRIPTOR = struct.Struct("<4sIQQQ")
_DATA_SECTOR = struct.Struct("<4sI4084sI")
ENTRY_HEADER_SIZE = _ENTRY_HEADER.size
DESCRIPTOR_SIZE = _DESCRIPTOR.size
assert ENTRY_HEADER_SIZE == 4 * 4 + 8 + 4 + 4 + 16 + 8 + 8 == 64
assert DESCRIPTOR_SIZE == _ZERO_DESCRIPTOR.size == 4 + 4 + 8 + 8 + 8 == 32
assert _DATA_SECTOR.size == SECTOR_SIZE

ENTRY_FIELDS = fields.table(
    ("signature", 4, fields.signature(ENTRY_SIGNATURE)),
    ("checksum", 4, fields.word),
    ("entry length", 4, fields.size),
    ("tail", 4, fields.number),
    ("sequence number", 8, fields.number),
    ("descriptor count", 4, fields.number),
    ("reserved", 4, fields.reserved),
    ("log GUID", 16, fields.guid),
    ("flushed file offset", 8, fields.size),
    ("last file offset", 8, fields.size),
)
ZERO_DESCRIPTOR_FIELDS = fields.table(
    ("signature", 4, fields.signature(ZERO_SIGNATURE)),
    ("reserved", 4, fields.reserved),
    ("zero length", 8, fields.size),
    ("file offset", 8, fields.size),
    ("sequence number", 8, fields.number),
)
DATA_DESCRIPTOR_FIELDS = fields.table(
    ("signature", 4, fields.signature(DATA_DESCRIPTOR_SIGNATURE)),
    ("trailing bytes", 4, fields.data),
    ("leading bytes", 8, fields.data),
    ("file offset", 8, fields.size),
    ("sequence number", 8, fields.number),
)
DATA_SECTOR_FIELDS = fields.table(
    ("signature", 4, fields.signature(DATA_SECTOR_SIGNATURE)),
    ("sequence number, high half", 4, fields.number),
    ("data", 4084, fields.digest),
    ("sequence number, low half", 4, fields.number),
)
assert fields.length(ENTRY_FIELDS) == ENTRY_HEADER_SIZE
assert fields.length(ZERO_DESCRIPTOR_FIELDS) == fields.length(DATA_DESCRIPTOR_FIELDS) == DESCRIPTOR_SIZE
assert fields.length(DATA_SECTOR_FIELDS) == SECTOR_SIZE


class EntryHeader(NamedTuple):
    """The header of an entry; lengths and offsets are bytes, ``tail`` counts from the log's start."""

    signature: bytes
    checksum: int
    entry_length: int
    tail: int
    sequence_number: int
    descriptor_count: int
    reserved: int
    log_guid: bytes
    flushed_file_offset: int
    last_file_offset: int


class ZeroDescriptor(NamedTuple):
    """A run of zeros to be put at ``file_offset``, both in bytes."""

    file_offset: int
    length: int
    sequence_number: int


class DataDescriptor(NamedTuple):
    """One sector to be put at ``file_offset``: its first 8 and last 4 bytes, kept out of the data sector."""

    file_offset: int
    leading: bytes
    trailing: bytes
    sequence_number: int


Descriptor = ZeroDescriptor | DataDescriptor


def unpack_entry_header(sector: bytes) -> EntryHeader:
    """The 64 bytes at the start of an entry, unchecked."""
    return EntryHeader._make(_ENTRY_HEADER.unpack_from(sector))


def pack_entry_header(header: EntryHeader) -> bytes:
    """The 64 bytes of an entry header as given; the entry's checksum is sealed when it is whole."""
    return _ENTRY_HEADER.pack(*header)


def descriptor_sector_count(descriptor_count: int) -> int:
    """How many sectors of an entry its header and its descriptors take: at least one."""
    return max(1, -(-(ENTRY_HEADER_SIZE + descriptor_count * DESCRIPTOR_SIZE) // SECTOR_SIZE))


def unpack_descriptors(data: bytes) -> Iterator[Descriptor | None]:
    """The descriptors that stand back to back in ``data``; None for one that is malformed."""
    for row in _DESCRIPTOR.iter_unpack(data):
        signature, trailing, leading, file_offset, sequence = row
        if signature == DATA_DESCRIPTOR_SIGNATURE:
            yield DataDescriptor(file_offset, leading, trailing, sequence)
        elif signature == ZERO_SIGNATURE and trailing == bytes(4):
            yield ZeroDescriptor(file_offset, int.from_bytes(leading, "little"), sequence)
        else:
            yield None


def pack_data_descriptor(file_offset: int, sector: bytes, sequence_number: int) -> bytes:
    """The descriptor of one sector, which keeps the bytes that its data sector has no place for."""
    return _DESCRIPTOR.pack(DATA_DESCRIPTOR_SIGNATURE, sector[-4:], sector[:8], file_offset, sequence_number)


def pack_data_sector(sector: bytes, sequence_number: int) -> bytes:
    """The data sector of one sector, with the sequence number at both its ends."""
    high, low = sequence_number >> 32, sequence_number & 0xFFFF_FFFF
    return _DATA_SECTOR.pack(DATA_SECTOR_SIGNATURE, high, sector[8:-4], low)


def data_sector_sequence(sector: bytes) -> int | None:
    """The sequence number that a data sector carries at both its ends, None if it is no data sector."""
    if sector[:4] != DATA_SECTOR_SIGNATURE:
        return None
    return int.from_bytes(sector[4:8], "little") << 32 | int.from_bytes(sector[-4:], "little")


def restored_sector(descriptor: DataDescriptor, sector: bytes) -> bytes:
    """The 4096 bytes that a data descriptor and its data sector stand for."""
    return descriptor.leading + sector[8:-4] + descriptor.trailing
