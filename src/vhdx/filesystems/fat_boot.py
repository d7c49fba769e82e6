"""The boot sector of a FAT12, FAT16 or FAT32: its geometry, and which of them it is."""

from __future__ import annotations

import struct

from vhdx.filesystems.reading import power_of_two
from vhdx.typed import NamedTuple

BOOT_LENGTH = 512
_SIGNATURE = b"\x55\xaa"
_JUMPS = (0xEB, 0xE9)
_FIELDS = struct.Struct("<HBHBHHBH")  # at 11
_LARGE = struct.Struct(
    "<IIHHI"
)  # at 32: sectors, then of FAT32: sectors of a FAT, flags, version, root cluster
_OWN_COPY = 0x80
_MOST_FATS = 4


class Width(NamedTuple):
    """``clean`` are bits of entry 1; ``bad`` marks bad clusters, what is above it ends a chain."""

    kind: str
    bits: int
    bad: int
    clean: int
    no_errors: int
    state_at: int
    serial_at: int


FAT12 = Width("FAT12", 12, 0xFF7, 0, 0, 0x25, 0x27)
FAT16 = Width("FAT16", 16, 0xFFF7, 0x8000, 0x4000, 0x25, 0x27)
FAT32 = Width("FAT32", 32, 0x0FFFFFF7, 0x08000000, 0x04000000, 0x41, 0x43)


class Boot(NamedTuple):
    """Sizes and offsets in bytes; ``copies`` are the numbers of the FATs that count."""

    width: Width
    size: int
    cluster_size: int
    clusters: int
    fat_offset: int
    fat_length: int
    copies: tuple[int, ...]
    data_offset: int
    media: int
    root_cluster: int | None
    in_use: int


def is_fat(start: bytes) -> bool:
    """A FAT has no signature of its own: a plausible parameter block, and its name in one of two places."""
    named = start[54:57] == b"FAT" or start[82:87] == b"FAT32"
    sector_size, per_cluster, _, copies, *_ = _FIELDS.unpack_from(start, 11)
    plausible = power_of_two(sector_size, 512, 4096) and power_of_two(per_cluster, 1, 128) and copies > 0
    return start[510:512] == _SIGNATURE and start[0] in _JUMPS and named and plausible


def width(start: bytes) -> Width:
    """Which FAT it is by the shape of its parameter block; two share one, and differ by their clusters."""
    sector_size, per_cluster, reserved, copies, root, sectors, _, fat = _FIELDS.unpack_from(start, 11)
    if not fat:
        return FAT32
    data = (
        (sectors or _LARGE.unpack_from(start, 32)[0]) - reserved - copies * fat - -(-root * 32 // sector_size)
    )
    return FAT12 if data // per_cluster < 4085 else FAT16


def parsed(start: bytes) -> Boot | str:
    """What a boot sector for which `is_fat` holds says, or why that is not understood."""
    sector_size, per_cluster, reserved, fats, root, sectors, media, fat = _FIELDS.unpack_from(start, 11)
    large, fat_large, flags, version, root_cluster = _LARGE.unpack_from(start, 32)
    kind = width(start)
    wide = kind is FAT32
    sectors, fat = sectors or large, fat_large if wide else fat
    data = reserved + fats * fat + -(-root * 32 // sector_size)
    clusters = max(sectors - data, 0) // per_cluster
    if (clusters >= 65525) != wide or bool(root) == wide or not 0 < clusters < kind.bad - 1 or not reserved:
        return "its number of clusters contradicts the kind of FAT that its boot sector describes"
    if fats > _MOST_FATS:
        return f"it has {fats} FATs, which nobody makes"
    if fat * sector_size * 8 < (clusters + 2) * kind.bits:
        return "its FAT is too short for its number of clusters"
    if wide and version:
        return "its version of FAT32 is not known"
    copies = (flags & 15,) if wide and flags & _OWN_COPY else tuple(range(fats))
    if copies[-1] >= fats:
        return "the FAT that counts is none of those that it has"
    return Boot(
        width=kind,
        size=sectors * sector_size,
        cluster_size=per_cluster * sector_size,
        clusters=clusters,
        fat_offset=reserved * sector_size,
        fat_length=fat * sector_size,
        copies=copies,
        data_offset=data * sector_size,
        media=media,
        root_cluster=root_cluster if wide else None,
        in_use=start[kind.state_at] & 3,
    )
