"""A new table with one partition, which takes all of the disk but what the table needs, aligned to 1 MiB."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from vhdx.partitions import mbr
from vhdx.partitions.gpt import PRIMARY_SECTOR, GptHeader, pack_entry
from vhdx.partitions.resector import Patch

if TYPE_CHECKING:
    from uuid import UUID

_ALIGNMENT = 1 << 20
_ENTRIES, _ENTRY_SIZE = 128, 128


class Made(NamedTuple):
    """What to write on a disk of zeros, and where the partition is, in bytes."""

    patches: tuple[Patch, ...]
    offset: int
    length: int


def gpt_with_one(size: int, unit: int, kind: UUID, name: str, *, disk_id: UUID, unique_id: UUID) -> Made:
    """A GPT on a disk of ``size`` bytes with sectors of ``unit``. Raises ValueError where it is too small."""
    sectors = size // unit
    entries_sectors = -(-_ENTRIES * _ENTRY_SIZE // unit)
    last_usable = sectors - entries_sectors - 2
    first, last = _between(
        _ALIGNMENT // unit, (last_usable + 1) * unit // _ALIGNMENT * _ALIGNMENT // unit, size
    )
    entries = pack_entry(kind, unique_id, first, last, name).ljust(_ENTRIES * _ENTRY_SIZE, b"\0")
    header = GptHeader(
        PRIMARY_SECTOR,
        sectors - 1,
        PRIMARY_SECTOR + 1 + entries_sectors,
        last_usable,
        disk_id,
        PRIMARY_SECTOR + 1,
        _ENTRIES,
        _ENTRY_SIZE,
        crc32(entries),
    )
    backup_entries = sectors - 1 - entries_sectors
    backup = header._replace(
        own_sector=sectors - 1, other_sector=PRIMARY_SECTOR, entries_sector=backup_entries
    )
    protective = mbr.MbrEntry(0, mbr.PROTECTIVE_TYPE, 1, min(sectors - 1, mbr.MAXIMUM_SECTORS))
    patches = (
        Patch(0, mbr.with_entries(bytes(mbr.RECORD_SIZE), (protective, *_UNUSED))),
        Patch(header.own_sector * unit, header.pack(unit)),
        Patch(header.entries_sector * unit, entries),
        Patch(backup_entries * unit, entries),
        Patch(backup.own_sector * unit, backup.pack(unit)),
    )
    return Made(patches, first * unit, (last + 1 - first) * unit)


def mbr_with_one(size: int, unit: int, kind: int, *, disk_id: int) -> Made:
    """An MBR. Raises ValueError where the disk is too small, or larger than an MBR can tell."""
    if size // unit - 1 > mbr.MAXIMUM_SECTORS:
        raise ValueError(f"an MBR can tell of {mbr.MAXIMUM_SECTORS} sectors of {unit} bytes: take a GPT")
    first, last = _between(_ALIGNMENT // unit, size // _ALIGNMENT * _ALIGNMENT // unit, size)
    entry = mbr.MbrEntry(0, kind, first, last + 1 - first)
    return Made(
        (Patch(0, mbr.new_record(disk_id, (entry, *_UNUSED))),), first * unit, (last + 1 - first) * unit
    )


def _between(first: int, end: int, size: int) -> tuple[int, int]:
    if end <= first:
        raise ValueError(
            f"a disk of {size} bytes has no room for a partition: it begins at 1 MiB and has whole MiB"
        )
    return first, end - 1


_UNUSED = (mbr.MbrEntry(0, 0, 0, 0),) * 3
