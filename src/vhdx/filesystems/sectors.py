"""What a file system's first bytes say of it: its name, and whether it stores the size of sectors."""

from __future__ import annotations

from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

PROBE_LENGTH = 4096
"""Bytes from the start of a partition that are looked at."""

_BOOT_SIGNATURE = b"\x55\xaa"
_JUMPS = (0xEB, 0xE9)


class SectorUse(NamedTuple):
    """Which sectors a file system works on.

    ``unit`` is the stored sector size, or the block size where ``any_up_to_unit``.
    Some (FAT, NTFS) work only on the sectors that they were made for, others (ext4, XFS) on any that are
    no larger than their unit.
    """

    name: str
    unit: int
    any_up_to_unit: bool

    def works_on(self, sector_size: int) -> bool:
        """Whether it can be used on a disk with sectors of this size."""
        return sector_size <= self.unit if self.any_up_to_unit else sector_size == self.unit


def recognised(start: bytes) -> SectorUse | None:
    """The file system that begins with these bytes, if it is one of those that care about sectors."""
    start = start[:PROBE_LENGTH].ljust(PROBE_LENGTH, b"\0")
    for recognise in _RECOGNISERS:
        found = recognise(start)
        if found is not None:
            return found
    return None


def _sector_field(start: bytes) -> int:
    return int.from_bytes(start[11:13], "little")


def _by_name(start: bytes) -> SectorUse | None:
    """Boot sectors with a name in the field of the maker."""
    names = {b"NTFS    ": "NTFS", b"-FVE-FS-": "BitLocker"}
    name = names.get(start[3:11])
    return None if name is None else SectorUse(name, _sector_field(start), any_up_to_unit=False)


def _exfat(start: bytes) -> SectorUse | None:
    if start[3:11] != b"EXFAT   " or not 9 <= start[108] <= 12:
        return None
    return SectorUse("exFAT", 1 << start[108], any_up_to_unit=False)


def _refs(start: bytes) -> SectorUse | None:
    if start[3:11] != b"ReFS\0\0\0\0":
        return None
    return SectorUse("ReFS", int.from_bytes(start[32:36], "little"), any_up_to_unit=False)


def _fat(start: bytes) -> SectorUse | None:
    """A FAT has no signature of its own: a plausible parameter block and its name in one of two places."""
    named = start[54:57] == b"FAT" or start[82:87] == b"FAT32"
    sector, cluster, copies = _sector_field(start), start[13], start[16]
    plausible = sector in (512, 1024, 2048, 4096) and cluster and not cluster & (cluster - 1) and copies
    if start[510:512] != _BOOT_SIGNATURE or start[0] not in _JUMPS or not (named and plausible):
        return None
    return SectorUse("FAT", sector, any_up_to_unit=False)


def _ext(start: bytes) -> SectorUse | None:
    shift = int.from_bytes(start[1048:1052], "little")
    if start[1080:1082] != b"\x53\xef" or shift > 6:
        return None
    return SectorUse("ext2/3/4", 1024 << shift, any_up_to_unit=True)


def _xfs(start: bytes) -> SectorUse | None:
    if start[:4] != b"XFSB":
        return None
    return SectorUse("XFS", int.from_bytes(start[102:104], "big"), any_up_to_unit=True)


_RECOGNISERS: tuple[Callable[[bytes], SectorUse | None], ...] = (_by_name, _exfat, _refs, _fat, _ext, _xfs)
