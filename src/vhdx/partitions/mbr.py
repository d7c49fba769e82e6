"""The master boot record and the records of logical partitions: 512 bytes with four entries each.

Records count in logical sectors of the disk, whatever those have; a record itself fills the first 512 bytes
of its sector.
"""

from __future__ import annotations

import struct

from vhdx.typed import NamedTuple

RECORD_SIZE = 512
SIGNATURE = b"\x55\xaa"
EXTENDED_TYPES = frozenset((0x05, 0x0F, 0x85))
PROTECTIVE_TYPE = 0xEE
MAXIMUM_SECTORS = 0xFFFFFFFF
"""What the 32-bit fields can hold: 2 TiB in sectors of 512 bytes."""

_DISK_ID_OFFSET = 440
_ENTRIES_OFFSET = 446
_SIGNATURE_OFFSET = 510
_ENTRY = struct.Struct("<B3sB3sII")
ENTRY_COUNT = 4
_BOOT_FLAGS = frozenset((0x00, 0x80))
_HEADS, _SECTORS_PER_TRACK, _CYLINDERS = 255, 63, 1024
_CHS_BEYOND = b"\xfe\xff\xff"
assert _ENTRY.size == 1 + 3 + 1 + 3 + 4 + 4 == 16
assert _ENTRIES_OFFSET + ENTRY_COUNT * _ENTRY.size == _SIGNATURE_OFFSET


class MbrEntry(NamedTuple):
    """One entry. In a record of a logical partition ``first_sector`` counts from elsewhere."""

    boot_flag: int
    type: int
    first_sector: int
    sector_count: int

    @property
    def is_used(self) -> bool:
        """Whether the entry names a partition at all."""
        return self.type != 0 and self.sector_count != 0

    @property
    def is_extended(self) -> bool:
        """Whether it names the place of further records."""
        return self.is_used and self.type in EXTENDED_TYPES


class Mbr(NamedTuple):
    """A record: the disk's identity and the four entries."""

    disk_id: int
    entries: tuple[MbrEntry, ...]

    @property
    def is_protective(self) -> bool:
        """Whether the record announces a GPT."""
        return any(entry.type == PROTECTIVE_TYPE for entry in self.entries)

    @property
    def is_hybrid(self) -> bool:
        """Whether it announces a GPT and lists partitions of its own beside it."""
        return self.is_protective and any(e.is_used and e.type != PROTECTIVE_TYPE for e in self.entries)


def unpack(record: bytes) -> Mbr | None:
    """The entries of 512 bytes, or None if they are no record.

    Boot sectors of file systems have the signature, too; other boot flags than those that exist give
    them away.
    """
    if record[_SIGNATURE_OFFSET:RECORD_SIZE] != SIGNATURE:
        return None
    entries = []
    for index in range(ENTRY_COUNT):
        flag, _, kind, _, first, count = _ENTRY.unpack_from(record, _ENTRIES_OFFSET + index * _ENTRY.size)
        entries.append(MbrEntry(flag, kind, first, count))
    if any(entry.boot_flag not in _BOOT_FLAGS for entry in entries):
        return None
    return Mbr(int.from_bytes(record[_DISK_ID_OFFSET : _DISK_ID_OFFSET + 4], "little"), tuple(entries))


def extended_of(record: Mbr) -> MbrEntry | None:
    """The extended partition, or in a chain the next record: the first counts, as on Linux and Windows."""
    return next((entry for entry in record.entries if entry.is_extended), None)


def with_entries(
    record: bytes, entries: tuple[MbrEntry, ...], base_sectors: tuple[int, ...] = (0, 0, 0, 0)
) -> bytes:
    """The record with other entries, its boot code and identity kept.

    ``base_sectors`` are what the entries' first sectors count from, for their CHS fields.
    """
    packed = b"".join(_packed(entry, base) for entry, base in zip(entries, base_sectors, strict=True))
    return record[:_ENTRIES_OFFSET] + packed + SIGNATURE


def with_length(record: bytes, index: int, sectors: int) -> bytes:
    """The record with another number of sectors in one entry, everything else of it as it was."""
    at = _ENTRIES_OFFSET + index * _ENTRY.size
    flag, chs, kind, _, first, _ = _ENTRY.unpack_from(record, at)
    entry = _ENTRY.pack(flag, chs, kind, _chs(first + sectors - 1), first, sectors)
    return record[:at] + entry + record[at + _ENTRY.size :]


def new_record(disk_id: int, entries: tuple[MbrEntry, ...]) -> bytes:
    """A record without boot code."""
    record = bytearray(RECORD_SIZE)
    record[_DISK_ID_OFFSET : _DISK_ID_OFFSET + 4] = disk_id.to_bytes(4, "little")
    return with_entries(bytes(record), entries)


def protective_for(record: bytes, sectors: int) -> bytes | None:
    """The protective MBR for a disk of so many sectors; None where the record is to stay as it is.

    That is one which is right already, or covers all that it can, or lists partitions of its own.
    """
    found = unpack(record)
    if found is None or not found.is_protective or found.is_hybrid:
        return None
    count = min(sectors - 1, MAXIMUM_SECTORS)
    entries = tuple(
        entry._replace(sector_count=count)
        if entry.type == PROTECTIVE_TYPE and entry.sector_count != MAXIMUM_SECTORS
        else entry
        for entry in found.entries
    )
    return None if entries == found.entries else with_entries(record, entries)


def _packed(entry: MbrEntry, base_sector: int) -> bytes:
    if not entry.is_used:
        return _ENTRY.pack(entry.boot_flag, bytes(3), entry.type, bytes(3), *entry[2:])
    first = base_sector + entry.first_sector
    last = first + entry.sector_count - 1
    return _ENTRY.pack(entry.boot_flag, _chs(first), entry.type, _chs(last), *entry[2:])


def _chs(sector: int) -> bytes:
    """Cylinder, head and sector as every system since the nineties counts them; a mark where that ends."""
    track, in_track = divmod(sector, _SECTORS_PER_TRACK)
    cylinder, head = divmod(track, _HEADS)
    if cylinder >= _CYLINDERS:
        return _CHS_BEYOND
    return bytes((head, (in_track + 1) | (cylinder >> 8 << 6), cylinder & 0xFF))
