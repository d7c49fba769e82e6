"""One header: the 4096 bytes that name the log and the write GUIDs [MS-VHDX 2.2.2]."""

from __future__ import annotations

import struct
from uuid import UUID

from vhdx.format import checksum, fields, guids
from vhdx.typed import NamedTuple

SIGNATURE = b"head"
HEADER_OFFSETS = (64 * 1024, 128 * 1024)
HEADER_SIZE = 4096
HEADER_SECTION_SIZE = 1024 * 1024
"""Identifier, headers, region tables and reserved space: no other structure may stand in it."""
FILE_OFFSET_LIMIT = 1 << 48
"""Nothing may stand at 256 TiB or behind, as in openvmm: no disk of 64 TiB needs a longer file."""
VERSION = 1
LOG_VERSION = 0

_FIELDS = struct.Struct("<4s4xQ16s16s16sHHIQ")
assert _FIELDS.size == 4 + 4 + 8 + 3 * 16 + 2 + 2 + 4 + 8 == 80

FIELDS = fields.table(
    ("signature", 4, fields.signature(SIGNATURE)),
    ("checksum", 4, fields.checksum),
    ("sequence number", 8, fields.number),
    ("file write GUID", 16, fields.guid),
    ("data write GUID", 16, fields.guid),
    ("log GUID", 16, fields.guid),
    ("log version", 2, fields.must_be(LOG_VERSION)),
    ("version", 2, fields.must_be(VERSION)),
    ("log length", 4, fields.size),
    ("log offset", 8, fields.size),
    ("reserved", 4016, fields.reserved),
)
assert fields.length(FIELDS) == HEADER_SIZE


class Header(NamedTuple):
    """The fields of a header; ``log_length`` and ``log_offset`` are bytes."""

    sequence_number: int
    file_write_guid: UUID
    data_write_guid: UUID
    log_guid: UUID
    log_version: int
    version: int
    log_length: int
    log_offset: int

    @property
    def log_state(self) -> str:
        """``clean``, or ``dirty``: what the log says is to be replayed."""
        return "clean" if self.log_guid == guids.NIL else "dirty"

    def pack(self) -> bytes:
        """The 4096 bytes of this header, checksum included."""
        fields = _FIELDS.pack(
            SIGNATURE,
            self.sequence_number,
            self.file_write_guid.bytes_le,
            self.data_write_guid.bytes_le,
            self.log_guid.bytes_le,
            self.log_version,
            self.version,
            self.log_length,
            self.log_offset,
        )
        return checksum.sealed(fields.ljust(HEADER_SIZE, b"\0"))


NO_LOG = Header(0, guids.NIL, guids.NIL, guids.NIL, LOG_VERSION, VERSION, 0, 0)
"""What stands for a header where none is valid."""


def damage(data: bytes) -> str | None:
    """Why these bytes are no valid header (signature, checksum), or None if they are one."""
    if len(data) < HEADER_SIZE:
        return f"the file ends after {len(data)} of its {HEADER_SIZE} bytes"
    if data[:4] != SIGNATURE:
        return f"signature is {data[:4]!r}, must be {SIGNATURE!r}"
    return checksum.damage(data)


def unpack(data: bytes) -> Header:
    """The fields of 4096 bytes that are a valid header."""
    _, sequence, file_write, data_write, log, log_version, version, length, offset = _FIELDS.unpack_from(data)
    return Header(
        sequence_number=sequence,
        file_write_guid=UUID(bytes_le=file_write),
        data_write_guid=UUID(bytes_le=data_write),
        log_guid=UUID(bytes_le=log),
        log_version=log_version,
        version=version,
        log_length=length,
        log_offset=offset,
    )
