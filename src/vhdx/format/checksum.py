"""CRC-32C, the checksum of every protected structure [MS-VHDX 2]."""

from __future__ import annotations

import google_crc32c

CHECKSUM_OFFSET = 4
"""Header, region table and log entry all keep their checksum here, four bytes, little-endian."""
_FIELD_END = CHECKSUM_OFFSET + 4
_NO_CHECKSUM = bytes(4)


def crc32c(data: bytes, previous: int = 0) -> int:
    """The CRC-32C of ``data``, or of what ``previous`` is the checksum of followed by ``data``."""
    # The library takes bytes and arrays, but no bytearray and no memoryview.
    return int(google_crc32c.extend(previous, data if isinstance(data, bytes) else bytes(data)))


def structure_checksum(structure: bytes) -> int:
    """The checksum of a structure, its own checksum field taken as zero."""
    return crc32c(structure[:CHECKSUM_OFFSET] + _NO_CHECKSUM + structure[_FIELD_END:])


def stored_checksum(structure: bytes) -> int:
    """The checksum that the structure itself states."""
    return int.from_bytes(structure[CHECKSUM_OFFSET:_FIELD_END], "little")


def damage(structure: bytes) -> str | None:
    """In words that a structure does not have the checksum that it states; None if it has."""
    stored, computed = stored_checksum(structure), structure_checksum(structure)
    return None if stored == computed else f"checksum is {stored:#010x}, its bytes give {computed:#010x}"


def sealed(structure: bytes) -> bytes:
    """The structure with its checksum filled in."""
    checksum = structure_checksum(structure).to_bytes(4, "little")
    return structure[:CHECKSUM_OFFSET] + checksum + structure[_FIELD_END:]
