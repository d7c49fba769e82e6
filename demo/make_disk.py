"""Make a raw disk: a partition table, one FAT16 partition, a few files in it. Needs nothing but Python.

Usage: make_disk.py DISK. The disk is 64 MiB and mostly empty, as disks are.
"""

from __future__ import annotations

import struct
import sys

SECTOR = 512
DISK_SECTORS = 64 * 1024 * 1024 // SECTOR
FIRST = 2048
SECTORS = DISK_SECTORS - FIRST
PER_CLUSTER = 4
RESERVED = 4
ROOT_ENTRIES = 512
FAT_SECTORS = 128
FILES = {
    "HELLO   TXT": b"Hello from inside a virtual disk.\r\n",
    "COUNT   TXT": b"".join(b"%d\r\n" % number for number in range(20000)),
}


def partition_table() -> bytes:
    """The master boot record with one partition of type 0x06 (FAT16)."""
    entry = struct.pack("<B3sB3sII", 0, b"\xfe\xff\xff", 0x06, b"\xfe\xff\xff", FIRST, SECTORS)
    return (bytes(440) + struct.pack("<I", 0x56484458) + bytes(2) + entry).ljust(510, b"\0") + b"\x55\xaa"


def boot_sector() -> bytes:
    """The FAT16 boot sector."""
    fields = struct.pack(
        "<3s8sHBHBHHBHHHIIBBBI11s8s",
        *(b"\xeb\x3c\x90", b"VHDXDEMO", SECTOR, PER_CLUSTER, RESERVED, 2, ROOT_ENTRIES, 0, 0xF8, FAT_SECTORS),
        *(63, 255, FIRST, SECTORS, 0x80, 0, 0x29, 0x56484458, b"NO NAME    ", b"FAT16   "),
    )
    return fields.ljust(510, b"\0") + b"\x55\xaa"


def file_system() -> tuple[bytes, bytes, bytes]:
    """The allocation table, the root directory and the clusters of FILES."""
    table, root, clusters = [0xFFF8, 0xFFFF], b"", b""
    size = PER_CLUSTER * SECTOR
    for name, content in FILES.items():
        first, count = len(table), -(-len(content) // size)
        table += [*range(first + 1, first + count), 0xFFFF]
        root += struct.pack("<11sB10xHHHI", name.encode(), 0x20, 0, 0x5A21, first, len(content))
        clusters += content.ljust(count * size, b"\0")
    return struct.pack(f"<{len(table)}H", *table), root, clusters


def main() -> None:
    """Write the disk."""
    table, root, clusters = file_system()
    partition = FIRST * SECTOR
    fats = partition + RESERVED * SECTOR
    with open(sys.argv[1], "wb") as disk:
        pieces = [(0, partition_table()), (partition, boot_sector())]
        pieces += [(fats + copy * FAT_SECTORS * SECTOR, table) for copy in range(2)]
        root_offset = fats + 2 * FAT_SECTORS * SECTOR
        pieces += [(root_offset, root), (root_offset + ROOT_ENTRIES * 32, clusters)]
        for offset, piece in pieces:
            disk.seek(offset)
            disk.write(piece)
        disk.truncate(DISK_SECTORS * SECTOR)


if __name__ == "__main__":
    main()
