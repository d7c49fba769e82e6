"""What becomes of a partition table when a disk changes its size, and what is written when."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from vhdx.disk.partitions import partition_table
from vhdx.errors import UnsupportedImageError
from vhdx.partitions import gpt
from vhdx.partitions.grow import growable, grown
from vhdx.partitions.relocate import Step, relocated

if TYPE_CHECKING:
    from vhdx.disk.chain import VhdxDisk
    from vhdx.partitions.table import PartitionTable

_RECORD_SIZE = 512


class Move(NamedTuple):
    """What moves a GPT's backup; nothing where there is no GPT, or where it stands right already.

    ``restore`` first makes both copies sound where one is damaged. ``left`` are the disk offsets of the old
    backup, which is to become free space that looks like it.
    """

    restore: tuple[Step, ...] = ()
    steps: tuple[Step, ...] = ()
    left: range = range(0)
    backup_length: int = 0
    remarks: tuple[str, ...] = ()

    def looked_at(self, new_size: int, old_size: int) -> range:
        """The disk offsets at which nothing may stand: what is cut, and where the new backup goes."""
        overwritten = new_size - self.backup_length if self.steps else new_size
        return range(min(overwritten, old_size), old_size)

    def before(self, disk: VhdxDisk, *, growing: bool) -> None:
        """What is written before the size changes: everything, unless the disk grows."""
        _take(disk, self.restore)
        if not growing:
            _take(disk, self.steps)
            _clear(disk, self.left)

    def after(self, disk: VhdxDisk, *, growing: bool) -> None:
        """What is written when a disk has grown."""
        if growing:
            _take(disk, self.steps)
            _clear(disk, self.left)


def planned(disk: VhdxDisk, table: PartitionTable, new_size: int) -> Move:
    """What moves the backup of the disk's GPT. Raises UnsupportedImageError if it would not fit."""
    if table.gpt is None:
        return Move()
    if table.sector_size != disk.logical_sector_size:
        return Move(remarks=(f"the GPT counts in sectors of {table.sector_size} bytes: it was left alone",))
    found, record = table.gpt, disk.pread(_RECORD_SIZE, 0)
    moved = found.header.last_usable != (new_size - found.backup_length) // table.sector_size - 1
    if new_size == disk.size and not moved and not table.findings:
        return Move()
    try:
        steps = relocated(found, record, new_size)
        restore = relocated(found, record, disk.size) if found.primary_damage and new_size > disk.size else ()
    except ValueError as error:
        reason = f"{error}; make the last partitions smaller first"
        raise UnsupportedImageError(reason, image=disk.chain[0], structure="GPT") from None
    old = range(0)
    if found.backup_damage is None:
        old = backup_around(disk, table, found.backup_sector * table.sector_size)
    new_start = new_size - found.backup_length
    left = old if old.start >= new_size else range(old.start, min(old.stop, new_start))
    if any(partition.offset < left.stop and left.start < partition.end for partition in table.partitions):
        left = range(0)  # a table that gives away its own backup: what stands in a partition stays
    return Move(restore, steps, left, found.backup_length)


def check_growable(disk: VhdxDisk, table: PartitionTable, number: int) -> None:
    """Raise UnsupportedImageError for a partition that cannot get the space behind it."""
    try:
        growable(table, number)
    except ValueError as error:
        raise _refused(disk, table, str(error)) from None
    if table.sector_size != disk.logical_sector_size:
        reason = f"the GPT counts in sectors of {table.sector_size} bytes, the disk has others"
        raise _refused(disk, table, f"partition {number} cannot grow: {reason}")


def grow(disk: VhdxDisk, number: int) -> bool:
    """Give a partition the space behind it; whether there was any."""
    table = partition_table(disk)
    try:
        growth = grown(table, number, disk.pread(_RECORD_SIZE, 0), disk.size)
    except ValueError as error:
        raise _refused(disk, table, str(error)) from None
    _take(disk, growth.steps)
    return bool(growth.steps)


def _refused(disk: VhdxDisk, table: PartitionTable, reason: str) -> UnsupportedImageError:
    structure = "MBR" if table.kind == "mbr" else "GPT"
    return UnsupportedImageError(reason, image=disk.chain[0], structure=structure)


def backup_around(disk: VhdxDisk, table: PartitionTable, offset: int) -> range:
    """The disk offsets of a backup of the disk's GPT in which ``offset`` lies; empty if there is none.

    A sound header of the same disk, its entries right before it, as everybody lays a backup out: those that
    it vouches for, or those of the primary, where somebody was interrupted who was writing both copies.
    """
    if table.gpt is None or table.sector_size != disk.logical_sector_size:
        return range(0)
    unit = table.sector_size
    first = offset // unit
    for sector in range(first, min(first + table.gpt.backup_length // unit, disk.size // unit)):
        data = disk.pread(unit, sector * unit)
        if gpt.damage(data, sector) is not None:
            continue
        header = gpt.unpack(data)
        start = header.entries_sector * unit
        length = sector * unit - start
        if header.disk_id != table.gpt.header.disk_id or not 0 < header.entries_length <= length:
            continue
        known = (header.entries_checksum, table.gpt.header.entries_checksum)
        if length - header.entries_length < unit and crc32(disk.pread(header.entries_length, start)) in known:
            return range(start, (sector + 1) * unit)
    return range(0)


def _take(disk: VhdxDisk, steps: tuple[Step, ...]) -> None:
    """Write the steps, each durable where the next one counts on it."""
    for step in steps:
        disk.pwrite(step.data, step.disk_offset)
        if step.flush_after:
            disk.flush()


def _clear(disk: VhdxDisk, left: range) -> None:
    if left:
        disk.zero(length=len(left), offset=left.start)
        disk.flush()
