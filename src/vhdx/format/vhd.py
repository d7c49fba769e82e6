"""The structures of a VHD, the older format: footer, header of a dynamic disk, parent locators.

Microsoft, "Virtual Hard Disk Image Format Specification", October 2006. Big-endian throughout; sectors have
512 bytes. The footer ends every file; of files with a table a copy of it stands at the beginning.
"""

from __future__ import annotations

import struct
from uuid import UUID

from vhdx.typed import NamedTuple

SECTOR_SIZE = 512
FOOTER_SIZE = 512
OLD_FOOTER_SIZE = 511
"""What Virtual PC before 2004 wrote: the last reserved byte is not there."""
FOOTER_COOKIE = b"conectix"
HEADER_SIZE = 1024
HEADER_COOKIE = b"cxsparse"
VERSION = 0x00010000
FEATURES = 2
"""A reserved bit that is always set."""
NOWHERE = 0xFFFFFFFFFFFFFFFF
UNUSED_ENTRY = 0xFFFFFFFF
ENTRY_SIZE = 4
MAXIMUM_DISK_SIZE = 2040 * 1024**3
"""What Windows and Azure accept; sector numbers of 32 bits end at 2 TiB."""
EPOCH = 946684800
"""Timestamps count seconds from the year 2000; in seconds from 1970."""

FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
DISK_TYPES = {FIXED: "fixed", DYNAMIC: "dynamic", DIFFERENCING: "differencing"}

_FOOTER = struct.Struct(">8sIIQI4sI4sQQHBBII16sB427x")
_HEADER = struct.Struct(">8sQQIIII16sI4x512s")
_LOCATOR = struct.Struct(">4sIIIQ")
_LOCATOR_COUNT = 8
_FOOTER_CHECKSUM_OFFSET = 64
_HEADER_CHECKSUM_OFFSET = 36
assert _FOOTER.size == FOOTER_SIZE
assert _HEADER.size == 8 + 8 + 8 + 4 * 4 + 16 + 4 + 4 + 512 == 576
assert _HEADER.size + _LOCATOR_COUNT * _LOCATOR.size + 256 == HEADER_SIZE


class Geometry(NamedTuple):
    """Cylinders, heads and sectors of a track, as an ATA disk of that time would answer."""

    cylinders: int
    heads: int
    sectors_per_track: int

    @property
    def size(self) -> int:
        """The bytes that can be addressed this way."""
        return self.cylinders * self.heads * self.sectors_per_track * SECTOR_SIZE


LARGEST_GEOMETRY = Geometry(65535, 16, 255)


class Footer(NamedTuple):
    """What a file is. Sizes in bytes; ``timestamp`` in seconds from 2000."""

    features: int
    version: int
    header_offset: int
    timestamp: int
    creator: bytes
    creator_version: int
    creator_host: bytes
    original_size: int
    current_size: int
    geometry: Geometry
    disk_type: int
    unique_id: UUID
    saved_state: int

    def pack(self) -> bytes:
        """The 512 bytes, checksum included."""
        return _sealed(
            _FOOTER.pack(
                FOOTER_COOKIE,
                *self[:9],
                *self.geometry,
                self.disk_type,
                0,
                self.unique_id.bytes,
                self.saved_state,
            ),
            _FOOTER_CHECKSUM_OFFSET,
        )


class Locator(NamedTuple):
    """Where in the file a name of the parent stands, and for which platform it is written."""

    platform: bytes
    length: int
    file_offset: int


class DynamicHeader(NamedTuple):
    """Of a file with a block allocation table: where that is, and who the parent is, if there is one."""

    table_offset: int
    version: int
    entry_count: int
    block_size: int
    parent_id: UUID
    parent_timestamp: int
    parent_name: str
    locators: tuple[Locator, ...]

    def pack(self) -> bytes:
        """The 1024 bytes of a disk without a parent, checksum included."""
        packed = _HEADER.pack(
            *(HEADER_COOKIE, NOWHERE, self.table_offset, self.version, self.entry_count, self.block_size, 0),
            *(self.parent_id.bytes, self.parent_timestamp, b""),
        )
        return sealed_header(packed.ljust(HEADER_SIZE, b"\0"))


def checksum(structure: bytes, checksum_offset: int) -> int:
    """The ones' complement of the sum of all bytes, those of the checksum itself left out."""
    return ~(sum(structure) - sum(structure[checksum_offset : checksum_offset + 4])) & 0xFFFFFFFF


def _sealed(structure: bytes, checksum_offset: int) -> bytes:
    stored = checksum(structure, checksum_offset).to_bytes(4, "big")
    return structure[:checksum_offset] + stored + structure[checksum_offset + 4 :]


def sealed_footer(data: bytes) -> bytes:
    """The 512 bytes of a footer with their checksum filled in."""
    return _sealed(data, _FOOTER_CHECKSUM_OFFSET)


def sealed_header(data: bytes) -> bytes:
    """The 1024 bytes of a header with their checksum filled in."""
    return _sealed(data, _HEADER_CHECKSUM_OFFSET)


def footer_damage(data: bytes) -> str | None:
    """Why these 512 bytes are no valid footer, or None if they are one."""
    return _damage(data, FOOTER_SIZE, FOOTER_COOKIE, _FOOTER_CHECKSUM_OFFSET)


def header_damage(data: bytes) -> str | None:
    """Why these 1024 bytes are no valid header, or None if they are one."""
    return _damage(data, HEADER_SIZE, HEADER_COOKIE, _HEADER_CHECKSUM_OFFSET)


def _damage(data: bytes, size: int, cookie: bytes, checksum_offset: int) -> str | None:
    if data[:8] != cookie:
        return f"cookie is {data[:8]!r}, must be {cookie!r}"
    if len(data) < size:  # which the sum would not tell: what is missing is mostly zeros
        return f"it has {len(data)} bytes, must have {size}"
    stored = int.from_bytes(data[checksum_offset : checksum_offset + 4], "big")
    computed = checksum(data, checksum_offset)
    return None if stored == computed else f"checksum is {stored:#010x}, its bytes give {computed:#010x}"


def unpack_footer(data: bytes) -> Footer:
    """The fields of 512 bytes that are a valid footer."""
    _, features, version, header, timestamp, creator, creator_version, host, *rest = _FOOTER.unpack(data)
    original, current, cylinders, heads, sectors, disk_type, _, unique_id, saved_state = rest
    return Footer(
        features=features,
        version=version,
        header_offset=header,
        timestamp=timestamp,
        creator=creator,
        creator_version=creator_version,
        creator_host=host,
        original_size=original,
        current_size=current,
        geometry=Geometry(cylinders, heads, sectors),
        disk_type=disk_type,
        unique_id=UUID(bytes=unique_id),
        saved_state=saved_state,
    )


def unpack_header(data: bytes) -> DynamicHeader:
    """The fields of 1024 bytes that are a valid header."""
    _, _, table, version, entries, block_size, _, parent, timestamp, name = _HEADER.unpack_from(data)
    locators = []
    for index in range(_LOCATOR_COUNT):
        platform, _, length, _, offset = _LOCATOR.unpack_from(data, _HEADER.size + index * _LOCATOR.size)
        if platform != bytes(4):
            locators.append(Locator(platform, length, offset))
    text = name.decode("utf-16-be", "replace").partition("\0")[0]
    return DynamicHeader(
        table, version, entries, block_size, UUID(bytes=parent), timestamp, text, tuple(locators)
    )


def geometry_of(size: int) -> Geometry:
    """The geometry that the specification's appendix computes for a disk of ``size`` bytes.

    What it addresses is a little less than the disk; `Footer.current_size` is what counts.
    """
    sectors = size // SECTOR_SIZE
    if sectors >= 65535 * 16 * 255:
        return LARGEST_GEOMETRY
    if sectors >= 65535 * 16 * 63:
        return Geometry(sectors // 255 // 16, 16, 255)
    tracks = sectors // 17
    heads = max(4, (tracks + 1023) // 1024)
    if tracks < heads * 1024 and heads <= 16:
        return Geometry(tracks // heads, heads, 17)
    tracks = sectors // 31
    if tracks < 16 * 1024:
        return Geometry(tracks // 16, 16, 31)
    return Geometry(sectors // 63 // 16, 16, 63)


def footer_of(disk_type: int, size: int, timestamp: int, unique_id: UUID) -> Footer:
    """The footer of a new disk of ``size`` bytes, fixed or dynamic; the latter's header stands behind it.

    The creator is Windows' own name: QEMU and others take the size from the geometry, and so cut the end
    off, for every creator that they do not know.
    """
    return Footer(
        features=FEATURES,
        version=VERSION,
        header_offset=NOWHERE if disk_type == FIXED else FOOTER_SIZE,
        timestamp=timestamp,
        creator=b"win ",
        creator_version=0x000A0000,
        creator_host=b"Wi2k",
        original_size=size,
        current_size=size,
        geometry=geometry_of(size),
        disk_type=disk_type,
        unique_id=unique_id,
        saved_state=0,
    )
