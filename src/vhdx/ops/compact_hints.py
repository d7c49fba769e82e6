"""What a compaction can say, for little, of space that it did not give back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.build.build import file_size
from vhdx.build.plan import ImagePlan
from vhdx.disk.free_space import SWAP
from vhdx.disk.volumes import volumes
from vhdx.errors import VhdxError
from vhdx.image.states import is_present
from vhdx.units import MIB

if TYPE_CHECKING:
    from vhdx.disk.chain import VhdxDisk
    from vhdx.disk.volumes import Volume
    from vhdx.image.image import Image


def still_free_size(disk: VhdxDisk) -> int | None:
    """Bytes in the file that the disk's file systems call free, at least; None for less than a block.

    By their own counters, after a look at a few sectors. None also for children, whose file systems stand in
    their parents, and where that look fails: it is not worth the failure of what is done already.
    """
    leaf = disk.layers[0]
    if leaf.metadata.has_parent:
        return None
    try:
        at_least = sum(_still_free_in(leaf, volume) for volume in volumes(disk, agree=False))
    except (VhdxError, OSError):
        return None
    return at_least if at_least >= leaf.geometry.block_size else None


def _still_free_in(leaf: Image, volume: Volume) -> int:
    """What the file has of a volume, without as much as the volume says that it uses."""
    found = volume.file_system
    if found.used is None or found.reasons or found.kind == SWAP:
        return 0
    runs = volume.map.runs(0, min(found.size, volume.map.size))
    return max(0, sum(_present_in(leaf, offset, length) for offset, length in runs) - found.used)


def converted_size(disk: VhdxDisk, needed_mibs: int, size: int) -> int | None:
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
    return _present_in(leaf, 0, leaf.geometry.disk_size)


def _present_in(leaf: Image, offset: int, length: int) -> int:
    """The same of a range of the disk."""
    shift, end, total = leaf.geometry.block_shift, offset + length, 0
    first = offset >> shift
    for run in leaf.bat.runs(first, -(-end >> shift) - first):
        if is_present(run.entry):
            behind = run.first_block + run.block_count << shift
            total += min(behind, end) - max(run.first_block << shift, offset)
    return total
