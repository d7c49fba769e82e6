"""A GPT for a disk of another size: what to write, in an order in which a sound copy exists at every instant.

Knows nothing of resizing. Growing: change the size of the disk first, then take the steps. Shrinking: take
the steps first, then change the size.
"""

from __future__ import annotations

from zlib import crc32

from vhdx.partitions import mbr
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vhdx.partitions.gpt import Gpt, GptHeader
    from vhdx.partitions.table import PartitionTable


class Step(NamedTuple):
    """One write; what it does is to be durable before the next step if ``flush_after``."""

    what: str
    disk_offset: int
    data: bytes
    flush_after: bool


def relocated(gpt: Gpt, record: bytes, disk_size: int) -> tuple[Step, ...]:
    """The steps that move the backup to the end of a disk of ``disk_size`` bytes.

    ``record`` is the disk's first 512 bytes: a plain protective MBR follows, another one stays as it is.
    A damaged primary is restored first, because the backup may be the only sound copy and in the way.
    Raises ValueError if the disk would be too small for the partitions and the backup behind them, or if a
    partition and the primary claim the same sectors.
    """
    unit = gpt.sector_size
    if disk_size % unit:
        raise ValueError(f"{disk_size} bytes are no whole number of sectors of {unit} bytes")
    header = _header_for(gpt, disk_size // unit)
    steps: list[Step] = []
    if gpt.primary_damage is not None:
        steps += copy_steps("primary", gpt, gpt.header)
    backup_entries = header.other_sector - gpt.entries_sectors
    backup = header._replace(
        own_sector=header.other_sector, other_sector=header.own_sector, entries_sector=backup_entries
    )
    steps += copy_steps("backup", gpt, backup)
    steps.append(Step("primary header", header.own_sector * unit, header.pack(unit), flush_after=True))
    protective = mbr.protective_for(record, disk_size // unit)
    if protective is not None:
        steps.append(Step("protective MBR", 0, protective, flush_after=True))
    return tuple(steps)


def copy_steps(name: str, gpt: Gpt, header: GptHeader) -> list[Step]:
    """A whole copy: entries first, so that its header never stands before what it vouches for."""
    unit = gpt.sector_size
    entries = gpt.entries.ljust(gpt.entries_sectors * unit, b"\0")
    return [
        Step(f"{name} entries", header.entries_sector * unit, entries, flush_after=True),
        Step(f"{name} header", header.own_sector * unit, header.pack(unit), flush_after=True),
    ]


def _header_for(gpt: Gpt, sectors: int) -> GptHeader:
    """The primary header for a disk of so many sectors."""
    last_usable = sectors - gpt.backup_length // gpt.sector_size - 1
    header = gpt.header._replace(
        other_sector=sectors - 1, last_usable=last_usable, entries_checksum=crc32(gpt.entries)
    )
    if header.entries_sector + gpt.entries_sectors > header.first_usable:
        raise ValueError("the entries of the GPT stand where partitions may be: repair it with gdisk first")
    if any(entry.first_sector < header.first_usable for entry in gpt.used_entries()):
        raise ValueError("a partition begins where the GPT itself may stand: repair it with gdisk first")
    needed = _minimum_sectors(gpt)
    if sectors < needed:
        raise ValueError(
            f"the partitions and the backup GPT behind them need {needed * gpt.sector_size} bytes, "
            f"not {sectors * gpt.sector_size}"
        )
    return header


def _minimum_sectors(gpt: Gpt) -> int:
    ends = [entry.last_sector + 1 for entry in gpt.used_entries()]
    return max(gpt.header.first_usable, *ends, 0) + gpt.backup_length // gpt.sector_size


def minimum_size(table: PartitionTable) -> int:
    """The smallest size of a disk in bytes that keeps all partitions, the backup of a GPT included."""
    if table.gpt is not None:
        return _minimum_sectors(table.gpt) * table.sector_size
    return table.end_of_last


def free_behind(table: PartitionTable, disk_size: int) -> int:
    """Bytes behind the last partition that it could grow into on a disk of ``disk_size`` bytes."""
    backup = 0 if table.gpt is None else table.gpt.backup_length
    return max(0, disk_size - out_of_reach(table, disk_size) - backup - table.end_of_last)


def out_of_reach(table: PartitionTable, disk_size: int) -> int:
    """Bytes at the end of a disk of ``disk_size`` bytes that no partition of its table can have."""
    if table.kind == "none" or table.gpt is not None:
        return 0
    return max(0, disk_size - mbr.MAXIMUM_SECTORS * table.sector_size)
