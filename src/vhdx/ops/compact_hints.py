"""What a compaction can say, for little, of space that it did not give back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.build.build import ImagePlan, file_size
from vhdx.errors import VhdxError
from vhdx.image.states import is_present
from vhdx.units import MIB

if TYPE_CHECKING:
    from vhdx.disk.chain import Disk
    from vhdx.image.image import Image


def still_free_size(disk: Disk) -> int | None:
    """Bytes in the file that the disk's file systems call free, at least; None for less than a block.

    By their own counters, after a look at a few sectors. None also for children, whose file systems stand in
    their parents, and where that look fails: it is not worth the failure of what is done already.
    """
    leaf = disk.layers[0]
    if leaf.metadata.has_parent:
        return None
    try:
        found = disk.filesystems(quick=True)
    except (VhdxError, OSError):
        return None
    free = sum(one.free for one in found if one.free is not None and not one.reasons and one.kind != "swap")
    at_least = present_size(leaf) - (disk.size - free)
    return at_least if at_least >= leaf.geometry.block_size else None


def converted_size(disk: Disk, needed_mibs: int, size: int) -> int | None:
    """The length of a conversion that keeps so many blocks of 1 MiB, if that is at most half of ``size``."""
    if len(disk.layers) > 1 or disk.disk_type == "fixed":
        return None
    plan = ImagePlan(
        fixed=False,
        block_size=MIB,
        log_length=MIB,
        logical_sector_size=disk.logical_sector_size,
        physical_sector_size=disk.physical_sector_size,
        disk_id=disk.disk_id,
    )
    converted = file_size(plan, disk.size, needed_mibs)
    return converted if 2 * converted <= size else None


def present_size(leaf: Image) -> int:
    """Bytes of the disk that lie in blocks of the file."""
    geometry = leaf.geometry
    return sum(
        min(
            run.block_count << geometry.block_shift,
            geometry.disk_size - (run.first_block << geometry.block_shift),
        )
        for run in leaf.bat.runs(0, geometry.block_count)
        if is_present(run.entry)
    )
