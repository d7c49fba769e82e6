"""The last partition of a disk made longer: what to write, so that at every instant one table is sound.

Knows nothing of resizing. A GPT gets its primary first, then its backup; the record of an MBR is one sector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from vhdx.partitions import gpt, mbr
from vhdx.partitions.relocate import Step, copy_steps, free_behind

if TYPE_CHECKING:
    from vhdx.partitions.table import Partition, PartitionTable

_ALIGNMENT = 4096
"""Bytes by which a partition grows at least: file systems have no use for less."""
_DYNAMIC_DISK = frozenset({"0x42", "af9b60a0-1431-4f62-bc68-3311714a69ad"})


class Growth(NamedTuple):
    """A partition as it is to be, and the steps to it: none where there is no space behind it."""

    partition: Partition
    steps: tuple[Step, ...]


def grown(table: PartitionTable, number: int, record: bytes, disk_size: int) -> Growth:
    """The steps that give a partition all the space behind it on a disk of ``disk_size`` bytes.

    ``record`` is the disk's first 512 bytes. Both copies of a GPT have to be sound, and the backup at the
    end. Raises ValueError, in words, for a partition that cannot grow.
    """
    partition = growable(table, number)
    unit = table.sector_size
    reach = partition.end + free_behind(table, disk_size)
    end = max(partition.end, reach // _ALIGNMENT * _ALIGNMENT)
    if end == partition.end:
        return Growth(partition, ())
    wanted = partition._replace(length=end - partition.offset)
    if table.gpt is not None:
        _expect_sound_copies(table.gpt, disk_size)
        return Growth(wanted, tuple(_gpt_steps(table.gpt, number, wanted)))
    written = mbr.with_length(record, number - 1, wanted.length // unit)
    return Growth(wanted, (Step("MBR", 0, written, flush_after=True),))


def growable(table: PartitionTable, number: int) -> Partition:
    """The partition, if it is one that may grow. Raises ValueError, in words, if not."""
    partition = table.partition(number)
    reason = _reason_against(table, partition)
    if reason is not None:
        raise ValueError(f"partition {number} cannot grow: {reason}")
    return partition


def _reason_against(table: PartitionTable, partition: Partition) -> str | None:
    if table.kind == "hybrid":
        return "the table is a hybrid one, and its MBR may say otherwise; gdisk makes a plain one of it"
    if table.kind == "mbr" and partition.number > mbr.ENTRY_COUNT:
        return "it is a logical one; growpart and fdisk make it and the extended one around it longer"
    if partition.type in {f"0x{kind:02x}" for kind in mbr.EXTENDED_TYPES}:
        return "it is an extended one; growpart and fdisk make it longer"
    if partition.type in _DYNAMIC_DISK:
        return "it belongs to a dynamic disk of Windows, which keeps what it knows of it behind it"
    for other in table.partitions:
        if other.number != partition.number and other.end > partition.end:
            return f"it is not the last one, partition {other.number} ends behind it"
    for other in table.partitions:
        if other.number != partition.number and other.end > partition.offset:
            return f"partition {other.number} overlaps it"
    return None


def _expect_sound_copies(found: gpt.Gpt, disk_size: int) -> None:
    """Raise ValueError unless a copy is left at every instant while the other one is written."""
    at_end = found.backup_sector == disk_size // found.sector_size - 1
    if found.primary_damage is not None or found.backup_damage is not None or not at_end:
        raise ValueError("both copies of the GPT have to be sound before a partition can grow")


def _gpt_steps(found: gpt.Gpt, number: int, wanted: Partition) -> list[Step]:
    unit, header = found.sector_size, found.header
    place = (wanted.offset // unit, wanted.end // unit - 1)
    entries = gpt.with_places(found.entries, header.entry_size, {number: place})
    changed = found._replace(entries=entries)
    primary = header._replace(entries_checksum=crc32(entries))
    backup = primary._replace(
        own_sector=header.other_sector,
        other_sector=header.own_sector,
        entries_sector=header.other_sector - found.entries_sectors,
    )
    return [*copy_steps("primary", changed, primary), *copy_steps("backup", changed, backup)]
