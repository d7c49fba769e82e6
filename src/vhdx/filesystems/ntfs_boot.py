"""The boot sector of an NTFS: its geometry, and where the table of files begins."""

from __future__ import annotations

import struct

from vhdx.filesystems.reading import power_of_two
from vhdx.typed import NamedTuple

NAME = b"NTFS    "
BOOT_LENGTH = 512
LARGEST_CLUSTER = 2 << 20
_FIELDS = struct.Struct("<HB")  # at 11: bytes per sector, sectors per cluster
_LAYOUT = struct.Struct("<QQQb3xb3xQ")  # at 40: sectors, $MFT, $MFTMirr, record, index block, serial number
_UNUSED = slice(14, 21)  # reserved sectors, FATs, root entries and sectors of a FAT: zero here


class Boot(NamedTuple):
    """Sizes in bytes; ``clusters`` are counted without the sector behind them, the copy of this one."""

    sector_size: int
    cluster_size: int
    clusters: int
    record_size: int
    mft_cluster: int
    serial: int
    size: int


def parsed(boot: bytes) -> Boot | None:
    """What a boot sector says; None where it is none of an NTFS as this program knows it."""
    sector_size, per_cluster = _FIELDS.unpack_from(boot, 11)
    sectors, mft_cluster, _, record, _, serial = _LAYOUT.unpack_from(boot, 40)
    sectors_per_cluster = per_cluster if per_cluster <= 128 else 1 << 256 - per_cluster
    cluster_size = sector_size * sectors_per_cluster
    record_size = cluster_size * record if record > 0 else 1 << -record
    clusters = sectors // sectors_per_cluster if sectors_per_cluster else 0
    understood = (
        power_of_two(sector_size, 512, 4096)
        and power_of_two(cluster_size, sector_size, LARGEST_CLUSTER)
        and power_of_two(record_size, 512, 65536)
        and not any(boot[_UNUSED])
        and sectors < 1 << 63 - 12
        and 0 < mft_cluster < clusters
    )
    size = sectors * sector_size
    return (
        Boot(sector_size, cluster_size, clusters, record_size, mft_cluster, serial, size)
        if understood
        else None
    )
