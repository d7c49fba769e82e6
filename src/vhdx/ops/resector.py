"""A disk that is converted gets a partition table for the sectors of its target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.disk.partitions import partition_table
from vhdx.ops.source import DiskSource
from vhdx.partitions.resector import rewritten

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdx.disk.base import VirtualDisk
    from vhdx.ops.source import Source

FROM_A_PIPE = "what comes out of a pipe keeps its partition table, for whatever sectors that is made"


def with_sectors_of(
    source: Source, sector_size: int | None, disk_size: int | None
) -> tuple[Source, tuple[str, ...]]:
    """The source with a table for sectors of ``sector_size`` bytes, and remarks on what that means.

    The same source where nothing is to be done: where the target is raw (None), where the source has such
    sectors, or its table is made for them. The table of a pipe has gone by before it could be understood.
    """
    disk = source.disk
    if sector_size is None:
        return source, ()
    if disk is None or disk_size is None:
        return source, (FROM_A_PIPE,) if sector_size != 512 else ()
    if source.format != "raw" and disk.logical_sector_size == sector_size:
        return source, ()
    table = partition_table(disk)
    if table.sector_size == sector_size:
        return source, ()
    found = rewritten(_padded(disk), table, disk_size, sector_size)
    if not found.patches:
        return source, found.remarks
    return DiskSource(disk, source.format, found.patches, disk_size), found.remarks


def _padded(disk: VirtualDisk) -> Callable[[int, int], bytes]:
    """Reads the disk, and zeros behind its end."""

    def read(length: int, offset: int) -> bytes:
        there = max(0, min(length, disk.size - offset))
        return (disk.pread(there, offset) if there else b"").ljust(length, b"\0")

    return read
