"""The partition table of a virtual disk."""

from __future__ import annotations

from vhdx.partitions.read import read_table
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.disk.base import VirtualDisk
    from vhdx.partitions.table import PartitionTable


def partition_table(disk: VirtualDisk) -> PartitionTable:
    """The partition table of a disk: kind, partitions, findings. Reads a few sectors at both ends."""
    return read_table(disk.pread, disk.size, disk.logical_sector_size)
