"""The boot region of an exFAT: its geometry and its checksum."""

from __future__ import annotations

import struct

from vhdx.typed import NamedTuple

BOOT_LENGTH = 512
NAME = b"EXFAT   "
FIRST_CLUSTER = 2
SECTOR_SHIFTS = range(9, 13)
_FIELDS = struct.Struct("<QIIIIIIHHBBB")  # at 72
_LARGEST_CLUSTER_SHIFT = 25
_MOST_CLUSTERS = 0xFFFFFFF5
_SUMMED_SECTORS = 11
_NOT_SUMMED = (106, 107, 112)
"""Flags and per cent in use, which change without a new checksum."""


class Boot(NamedTuple):
    """Sizes and offsets in bytes."""

    size: int
    sector_size: int
    cluster_size: int
    clusters: int
    fat_offset: int
    heap_offset: int
    root_cluster: int
    serial: int
    flags: int
    fats: int


def parsed(start: bytes) -> Boot | None:
    """What a boot sector says; None where it contradicts itself or is of an unknown revision."""
    (
        sectors, fat_offset, fat_length, heap, clusters, root, serial, revision, flags, sector, cluster, fats,
    ) = _FIELDS.unpack_from(start, 72)  # fmt: skip
    understood = (
        revision >> 8 == 1
        and sector in SECTOR_SHIFTS
        and sector + cluster <= _LARGEST_CLUSTER_SHIFT
        and sectors < 1 << 63 - sector
        and 0 < clusters <= _MOST_CLUSTERS
        and FIRST_CLUSTER <= root < clusters + FIRST_CLUSTER
        and fat_length << sector >= (clusters + FIRST_CLUSTER) * 4
        and 24 <= fat_offset <= fat_offset + fat_length * fats <= heap
        and heap + (clusters << cluster) <= sectors
        and start[510:512] == b"\x55\xaa"
    )
    if not understood:
        return None
    return Boot(
        size=sectors << sector,
        sector_size=1 << sector,
        cluster_size=1 << sector + cluster,
        clusters=clusters,
        fat_offset=fat_offset << sector,
        heap_offset=heap << sector,
        root_cluster=root,
        serial=serial,
        flags=flags,
        fats=fats,
    )


def is_sound(region: bytes, sector_size: int) -> bool:
    """Whether the first twelve sectors end with the checksum of the others."""
    total = 0
    for position, byte in enumerate(region[: _SUMMED_SECTORS * sector_size]):
        if position not in _NOT_SUMMED:
            total = ((total << 31 | total >> 1) + byte) & 0xFFFFFFFF
    return region[_SUMMED_SECTORS * sector_size :] == struct.pack("<I", total) * (sector_size // 4)
