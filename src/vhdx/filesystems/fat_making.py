"""An empty FAT12, FAT16 or FAT32, as bytes for the places of a volume that is zeros everywhere else."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from vhdx.filesystems.fat_boot import FAT12, FAT16, FAT32

if TYPE_CHECKING:
    from vhdx.filesystems.fat_boot import Width

KINDS = {"fat12": FAT12, "fat16": FAT16, "fat32": FAT32}
_BEGINNING = struct.Struct("<3s8sHBHBHHBHHHII")
_ENDING = struct.Struct("<BBBI11s8s")
_WIDE = struct.Struct("<IHHIHH12x")
_HANGS = b"\xcd\x18\xeb\xfe"
"""The boot code: tells the BIOS that nothing can be booted here, and stops."""
_FATS = 2
_MEDIA = 0xF8
_HEADS, _SECTORS_PER_TRACK = 255, 63
_ROOT_ENTRIES = 512
_ALIGNED = 4096
_INFO_SECTOR, _BACKUP_SECTOR, _RESERVED = 1, 6, 32
_LIMITS = {FAT12: (1, 4084), FAT16: (4085, 65524), FAT32: (65525, 0x0FFFFFF5)}
_CLUSTERS_OF = ((260 << 20, 512), (8 << 30, 4096), (16 << 30, 8192), (32 << 30, 16384))
"""Bytes of a cluster of FAT32 on volumes up to a size, as Windows makes them; 32 KiB above."""
_LARGEST_CLUSTER = 32 << 10
_FORBIDDEN = frozenset('"*+,./:;<=>?[\\]|') | frozenset(map(chr, range(32)))


class Shape(NamedTuple):
    """Where things are, in sectors."""

    width: Width
    sector_size: int
    sectors: int
    per_cluster: int
    reserved: int
    fat_sectors: int
    clusters: int

    @property
    def root_sectors(self) -> int:
        """Sectors of a root directory that has a place of its own."""
        return 0 if self.width is FAT32 else -(-_ROOT_ENTRIES * 32 // self.sector_size)


def checked_label(label: str) -> bytes:
    """A label as it is stored. Raises ValueError for one that FAT cannot have."""
    wrong = sorted(_FORBIDDEN.intersection(label))
    if wrong or not label.isascii() or not 0 < len(label.rstrip()) <= 11 or label.startswith(" "):
        raise ValueError(f"{label!r} is no label for a FAT: that is 1 to 11 letters, digits and some signs")
    return label.upper().encode("ascii").ljust(11)


def shape(kind: str, size: int, sector_size: int) -> Shape:
    """How a volume of this size is divided. Raises ValueError where its kind cannot have this size."""
    width = KINDS[kind]
    sectors = size // sector_size
    if sectors > 0xFFFFFFFF:
        raise ValueError(f"{size} bytes are more sectors than a FAT can count")
    found = [
        each
        for per_cluster in (1, 2, 4, 8, 16, 32, 64, 128)
        if per_cluster * sector_size <= _LARGEST_CLUSTER
        if (each := _divided(width, sectors, per_cluster, sector_size)) is not None
    ]
    if not found:
        least, most = _LIMITS[width]
        raise ValueError(
            f"{size} bytes cannot be a {width.kind}, which has {least} to {most} clusters of {sector_size} "
            f"to {_LARGEST_CLUSTER} bytes"
        )
    usual = next((cluster for most, cluster in _CLUSTERS_OF if size <= most), _LARGEST_CLUSTER)
    large = [each for each in found if each.per_cluster * sector_size >= usual] if width is FAT32 else found
    return large[0] if large else found[-1]


def _divided(width: Width, sectors: int, per_cluster: int, sector_size: int) -> Shape | None:
    """The shape with clusters of so many sectors, data aligned to 4 KiB; None where there is none such."""
    tried = Shape(width, sector_size, sectors, per_cluster, _RESERVED if width is FAT32 else 1, 0, 0)
    data = sectors - tried.reserved - tried.root_sectors
    if data <= 0:
        return None
    fat_sectors = -(-(data // per_cluster + 2) * width.bits // (8 * sector_size))
    unit = max(1, _ALIGNED // sector_size)
    reserved = tried.reserved + -(tried.reserved + _FATS * fat_sectors + tried.root_sectors) % unit
    clusters = (sectors - reserved - _FATS * fat_sectors - tried.root_sectors) // per_cluster
    least, most = _LIMITS[width]
    if not least <= clusters <= most:
        return None
    return tried._replace(reserved=reserved, fat_sectors=fat_sectors, clusters=clusters)


def made(found: Shape, *, label: str | None, serial: int, hidden: int) -> list[tuple[int, bytes]]:
    """(offset, bytes) of everything that is not zeros; ``hidden`` sectors stand before the volume."""
    unit = found.sector_size
    name = b"NO NAME    " if label is None else checked_label(label)
    boot = _boot(found, name, serial, hidden)
    pieces = [(0, boot)]
    if found.width is FAT32:
        info = _info(found)
        pieces += [
            (sector * unit, data)
            for sector, data in (
                (_INFO_SECTOR, info),
                (_BACKUP_SECTOR, boot),
                (_BACKUP_SECTOR + _INFO_SECTOR, info),
            )
        ]
    table = _table(found.width)
    pieces += [((found.reserved + number * found.fat_sectors) * unit, table) for number in range(_FATS)]
    if label is not None:
        root = (found.reserved + _FATS * found.fat_sectors) * unit
        pieces.append((root, name + b"\x08" + bytes(10) + b"\x00\x00\x21\x00" + bytes(6)))
    return pieces


def _boot(found: Shape, label: bytes, serial: int, hidden: int) -> bytes:
    is_wide = found.width is FAT32
    few = found.sectors if found.sectors < 1 << 16 and not is_wide else 0
    beginning = _BEGINNING.pack(
        b"\xeb\x58\x90" if is_wide else b"\xeb\x3c\x90",
        b"MSWIN4.1",  # some systems look for it
        found.sector_size,
        found.per_cluster,
        found.reserved,
        _FATS,
        0 if is_wide else _ROOT_ENTRIES,
        few,
        _MEDIA,
        0 if is_wide else found.fat_sectors,
        _SECTORS_PER_TRACK,
        _HEADS,
        hidden if hidden < 1 << 32 else 0,
        0 if few else found.sectors,
    )
    wide = _WIDE.pack(found.fat_sectors, 0, 0, 2, _INFO_SECTOR, _BACKUP_SECTOR) if is_wide else b""
    ending = _ENDING.pack(0x80, 0, 0x29, serial, label, found.width.kind.encode("ascii").ljust(8))
    return (beginning + wide + ending + _HANGS).ljust(510, b"\0") + b"\x55\xaa"


def _info(found: Shape) -> bytes:
    """How much is free: all but the cluster of the root directory."""
    counts = struct.pack("<II", found.clusters - 1, 3)
    return b"RRaA" + bytes(480) + b"rrAa" + counts + bytes(14) + b"\x55\xaa"


def _table(width: Width) -> bytes:
    if width is FAT32:
        return struct.pack("<III", 0x0FFFFF00 | _MEDIA, 0x0FFFFFFF, 0x0FFFFFFF)
    return bytes([_MEDIA]) + b"\xff" * (2 if width is FAT12 else 3)
