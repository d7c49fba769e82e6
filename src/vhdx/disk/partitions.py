"""The partition table of a virtual disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.disk.slice import SliceDisk
from vhdx.partitions.read import read_table

if TYPE_CHECKING:
    from vhdx.disk.base import VirtualDisk
    from vhdx.partitions.table import PartitionTable


def partition_table(disk: VirtualDisk) -> PartitionTable:
    """The partition table of a disk: kind, partitions, findings. Reads a few sectors at both ends."""
    return read_table(disk.pread, disk.size, disk.logical_sector_size)


def one_partition(disk: VirtualDisk, number: int) -> SliceDisk:
    """A partition as a disk of its own. Raises ValueError unless it is there and wholly inside the disk."""
    found = partition_table(disk).partition(number)
    if found.end > disk.size:
        raise ValueError(f"partition {number} reaches behind the end of the disk")
    return SliceDisk(disk, found.offset, found.length)
