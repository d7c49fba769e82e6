"""The GUID partition table [UEFI 5.3]: a header and an array of entries, twice, at both ends of the disk."""

from __future__ import annotations

import struct
from uuid import UUID
from zlib import crc32

from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE = b"EFI PART"
REVISION = 0x00010000
HEADER_SIZE = 92
PRIMARY_SECTOR = 1
MAXIMUM_ENTRIES_LENGTH = 1024 * 1024
"""Bytes of entries that are looked at, 8192 usual ones. Everybody has 128 entries, 16 KiB."""
MINIMUM_ENTRY_SIZE = 128

_HEADER = struct.Struct("<8sIII4xQQQQ16sQIII")
_CHECKSUM_OFFSET = 16
_ENTRY = struct.Struct("<16s16sQQQ72s")
_LEGACY_BOOTABLE = 1 << 2
_NO_TYPE = UUID(int=0)
assert _HEADER.size == 8 + 4 + 4 + 4 + 4 + 4 * 8 + 16 + 8 + 3 * 4 == HEADER_SIZE
assert _ENTRY.size == MINIMUM_ENTRY_SIZE


class GptHeader(NamedTuple):
    """A header. Sectors are logical sectors of the disk."""

    own_sector: int
    other_sector: int
    first_usable: int
    last_usable: int
    disk_id: UUID
    entries_sector: int
    entry_count: int
    entry_size: int
    entries_checksum: int

    @property
    def entries_length(self) -> int:
        """Bytes of the array of entries."""
        return self.entry_count * self.entry_size

    def pack(self, sector_size: int) -> bytes:
        """The sector of this header, checksum included."""
        fields = (SIGNATURE, REVISION, HEADER_SIZE, 0, *self[:4], self.disk_id.bytes_le, *self[5:])
        packed = _HEADER.pack(*fields)
        checksum = crc32(packed).to_bytes(4, "little")
        return (packed[:_CHECKSUM_OFFSET] + checksum + packed[_CHECKSUM_OFFSET + 4 :]).ljust(
            sector_size, b"\0"
        )


class GptEntry(NamedTuple):
    """A used entry; ``last_sector`` is the last one that belongs to the partition."""

    number: int
    type: UUID
    unique_id: UUID
    first_sector: int
    last_sector: int
    attributes: int
    name: str

    @property
    def is_bootable(self) -> bool:
        """Whether a BIOS is to boot from it."""
        return bool(self.attributes & _LEGACY_BOOTABLE)


class Gpt(NamedTuple):
    """A table of which at least one copy is sound; ``header`` and ``entries`` are that copy's.

    ``primary_damage`` and ``backup_damage`` say what is wrong with a copy, None if nothing is.
    ``backup_sector`` is where the backup was looked for.
    """

    header: GptHeader
    entries: bytes
    sector_size: int
    primary_damage: str | None
    backup_damage: str | None
    backup_sector: int

    @property
    def entries_sectors(self) -> int:
        """Sectors that an array of entries takes."""
        return -(-len(self.entries) // self.sector_size)

    @property
    def backup_length(self) -> int:
        """Bytes that the backup takes at the end of the disk."""
        return (self.entries_sectors + 1) * self.sector_size

    def used_entries(self) -> Iterator[GptEntry]:
        """The entries that name partitions."""
        return unpack_entries(self.entries, self.header.entry_size)


def damage(data: bytes, sector: int) -> str | None:
    """Why the bytes of a sector are no valid header, or None if they are one."""
    if data[:8] != SIGNATURE:
        return "its header has no signature"
    _, revision, size, stored = struct.unpack_from("<8sIII", data)
    if not HEADER_SIZE <= size <= len(data):
        return f"its header claims {size} bytes"
    packed = data[:_CHECKSUM_OFFSET] + bytes(4) + data[_CHECKSUM_OFFSET + 4 : size]
    if crc32(packed) != stored:
        return "the checksum of its header is wrong"
    if revision >> 16 != REVISION >> 16:
        return f"its revision is {revision >> 16}.{revision & 0xFFFF}"
    header = unpack(data)
    if header.own_sector != sector:
        return f"its header says that it is sector {header.own_sector}"
    return _bad_entries(header)


def _bad_entries(header: GptHeader) -> str | None:
    size = header.entry_size
    if size < MINIMUM_ENTRY_SIZE or size & (size - 1):
        return f"its entries claim {size} bytes each"
    if not 0 < header.entries_length <= MAXIMUM_ENTRIES_LENGTH:
        return f"it claims {header.entry_count} entries"
    return None


def unpack(data: bytes) -> GptHeader:
    """The fields of a valid header."""
    _, _, _, _, own, other, first, last, disk_id, entries, count, size, checksum = _HEADER.unpack_from(data)
    return GptHeader(own, other, first, last, UUID(bytes_le=disk_id), entries, count, size, checksum)


def unpack_entries(entries: bytes, entry_size: int) -> Iterator[GptEntry]:
    """The used entries of an array, numbered from 1."""
    for number, start in enumerate(range(0, len(entries), entry_size), 1):
        kind, unique, first, last, attributes, name = _ENTRY.unpack_from(entries, start)
        if kind != _NO_TYPE.bytes:
            text = name.decode("utf-16-le", "replace").partition("\0")[0]
            yield GptEntry(number, UUID(bytes_le=kind), UUID(bytes_le=unique), first, last, attributes, text)


def pack_entry(kind: UUID, unique_id: UUID, first: int, last: int, name: str) -> bytes:
    """An entry without attributes; of ``name`` as much as fits in."""
    raw = name.encode("utf-16-le")[:72]
    return _ENTRY.pack(kind.bytes_le, unique_id.bytes_le, first, last, 0, raw)


def with_places(entries: bytes, entry_size: int, places: dict[int, tuple[int, int]]) -> bytes:
    """The array with other (first, last) sectors for the entries of these numbers."""
    changed = bytearray(entries)
    for number, (first, last) in places.items():
        struct.pack_into("<QQ", changed, (number - 1) * entry_size + 32, first, last)
    return bytes(changed)
