"""A disk that is converted gets a partition table for the sectors of its target."""

from __future__ import annotations

from functools import partial

from vhdx.disk.base import padded_read
from vhdx.disk.partitions import partition_table
from vhdx.filesystems import sectors
from vhdx.ops.make.source import DiskSource
from vhdx.partitions import mbr
from vhdx.partitions.read import read_table
from vhdx.partitions.relocate import relocated
from vhdx.partitions.resector import Patch, rewritten, without_old_backup
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdx.disk.opened import Disk
    from vhdx.ops.make.source import Source
    from vhdx.partitions.table import PartitionTable

    Read = Callable[[int, int], bytes]

_USUAL = 512
SECTORS_UNTOLD = (
    "a raw file does not say that this disk has sectors of 4096 bytes: tell whoever uses it "
    "(losetup --sector-size 4096), or convert to VHDX with --logical-sector-size 512 first"
)
FROM_A_PIPE = "what comes out of a pipe keeps its partition table, for whatever sectors that is made"
BACKUP_MOVED = "the backup of the GPT was moved to the end of the disk, which became larger"
TAKEN_FOR_512 = (
    "an MBR does not tell for which sectors it is made, and nothing in its partitions does: "
    "it was taken for one of sectors of 512 bytes"
)


def with_sectors_of(
    source: Source, sector_size: int | None, disk_size: int | None
) -> tuple[Source, tuple[str, ...]]:
    """The source with a table for sectors of ``sector_size`` bytes, and remarks on what that means.

    The same source where nothing is to be done: where the target is raw (None), which keeps every byte, where
    the source has such sectors, or its table is made for them. But where the disk becomes larger the backup
    of a GPT follows its end. The table of a pipe has gone by before it could be understood.
    """
    disk = source.disk
    if sector_size is None:
        tells = disk is not None and source.format != "raw" and disk.logical_sector_size != _USUAL
        told = (SECTORS_UNTOLD,) if tells else ()
        if disk is None or disk_size is None or disk_size <= disk.size:
            return source, told
        moved, remarks = _with_backup_at_end(source, disk, partition_table(disk), disk_size)
        return moved, (*told, *remarks)
    if disk is None or disk_size is None:
        return source, (FROM_A_PIPE,) if sector_size != _USUAL else ()
    has_sectors = source.format != "raw" and disk.logical_sector_size == sector_size
    if has_sectors and disk_size == disk.size:
        return source, ()
    read = partial(padded_read, disk)
    table = partition_table(disk)
    is_guess = source.format == "raw" and table.kind == "mbr" and not _leads_to_file_systems(read, table)
    if is_guess and _leads_to_file_systems(read, other := read_table(disk.pread, disk.size, 4096)):
        table, is_guess = other, False
    if table.sector_size == sector_size:
        return _with_backup_at_end(source, disk, table, disk_size)
    if has_sectors:
        return source, ()
    found = rewritten(read, table, disk_size, sector_size)
    if not found.patches:
        return source, found.remarks
    remarks = (*found.remarks, TAKEN_FOR_512) if is_guess else found.remarks
    return DiskSource(
        disk, source.format, found.patches, disk_size, free=source.free, waits=source.waits
    ), remarks


def _with_backup_at_end(
    source: Source, disk: Disk, table: PartitionTable, disk_size: int
) -> tuple[Source, tuple[str, ...]]:
    """The source with the backup of its GPT at the end of a disk that was rounded up."""
    if table.gpt is None or disk_size == disk.size:
        return source, ()
    try:
        steps = relocated(table.gpt, disk.pread(mbr.RECORD_SIZE, 0), disk_size)
    except ValueError as error:
        return source, (f"the backup of the GPT stays where the disk ended before: {error}",)
    patches = (*without_old_backup(table.gpt, table.end_of_last), *(Patch(*step[1:3]) for step in steps))
    return DiskSource(disk, source.format, patches, disk_size, free=source.free, waits=source.waits), (
        BACKUP_MOVED,
    )


def _leads_to_file_systems(read: Read, table: PartitionTable) -> bool:
    """Whether a file system begins where a partition is said to: then its sectors are the right ones."""
    starts = (read(sectors.PROBE_LENGTH, partition.offset) for partition in table.partitions)
    return any(sectors.recognised(start) is not None for start in starts)
