"""Where a file system of each kind has something at any time: copies of its first sector, its tables.

Only what its making writes, and nothing ever takes away: zeros there say that a place has lost its contents.
"""

from __future__ import annotations

import struct

from vhdx.filesystems import exfat_boot, ext_groups, ext_superblock, fat_boot, ntfs_boot, xfs
from vhdx.filesystems.area import Area
from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.detect import detect
from vhdx.filesystems.reading import within
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdx.filesystems.base import Read

    Places = Callable[[Area], list[int]]

_MOST = 1 << 16
"""Places that are told: more tell no more."""
_SECTOR = 4096
_BTRFS_COPIES = (64 << 20, 256 << 30)
_EXFAT_BACKUP = 12
"""The sector of the copy of the boot region."""
_NTFS_TABLES = struct.Struct("<QQ")  # at 48: clusters of $MFT and $MFTMirr


def anchors(read: Read, size: int) -> list[int]:
    """Offsets in a volume of ``size`` bytes, inside of it; none where nothing is recognised or understood."""
    found = detect(read, size)
    places = None if found is None else _PLACES.get(found.recognised.identity.kind)
    if places is None:
        return []
    try:
        offsets = places(Area(read, size))
    except NotFreeError:
        return []
    return [offset for offset in offsets[:_MOST] if 0 <= offset < size]


def _ext(area: Area) -> list[int]:
    """Copies of the superblock, descriptors, and the bitmaps of groups in which something is used."""
    superblock = ext_superblock.read_superblock(area.read, area.size)
    if superblock is None:
        return []
    ext_superblock.require_understood(superblock)
    copies = ext_groups.superblock_copies(superblock).tolist()
    blocks = [*copies, *ext_groups.descriptor_blocks(superblock).tolist()]
    try:
        groups = ext_groups.read_groups(within(area.read, area.size), superblock)
    except NotFreeError:  # its descriptors may be what is lost
        pass
    else:
        is_used = ~groups.uninitialised & (groups.free_clusters < superblock.group_clusters)
        blocks += groups.bitmaps[is_used].tolist()
    return [block * superblock.block_size for block in blocks]


def _xfs(area: Area) -> list[int]:
    """The superblock of each group."""
    found = xfs.Superblock(area.peek(0, _SECTOR))
    step = found.group_blocks * found.block_size
    return [group * step for group in range(min(found.groups, _MOST))]


def _ntfs(area: Area) -> list[int]:
    """The table of files and the beginning of its copy."""
    start = area.peek(0, _SECTOR)
    boot = ntfs_boot.parsed(start)
    if boot is None:
        return []
    return [cluster * boot.cluster_size for cluster in _NTFS_TABLES.unpack_from(start, 48)]


def _fat(area: Area) -> list[int]:
    """Each FAT."""
    boot = fat_boot.parsed(area.peek(0, _SECTOR))
    if isinstance(boot, str):
        return []
    return [boot.fat_offset + copy * boot.fat_length for copy in boot.copies]


def _exfat(area: Area) -> list[int]:
    """The copy of the boot region, and the FAT."""
    boot = exfat_boot.parsed(area.peek(0, _SECTOR))
    return [] if boot is None else [_EXFAT_BACKUP * boot.sector_size, boot.fat_offset]


def _btrfs(area: Area) -> list[int]:
    """Copies of the superblock, where the device is so large."""
    return [place for place in _BTRFS_COPIES if place + _SECTOR <= area.size]


_PLACES: dict[str, Places] = {
    **dict.fromkeys(("ext2", "ext3", "ext4"), _ext),
    **dict.fromkeys(("FAT12", "FAT16", "FAT32"), _fat),
    "XFS": _xfs,
    "NTFS": _ntfs,
    "exFAT": _exfat,
    "btrfs": _btrfs,
}
