"""Partition tables built and read without any code of the library."""

import struct
import uuid
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
DISK = uuid.UUID("11111111-2222-3333-4444-555555555555")
Place = tuple[int, int]
"""First and last sector."""


def mbr_record(entries: Mapping[int, tuple[int, int, int]], disk_id: int = 0x1234ABCD) -> bytes:
    """A record with (type, first sector, sectors) in some of its four entries."""
    record = bytearray(512)
    struct.pack_into("<I", record, 440, disk_id)
    for index, (kind, first, count) in entries.items():
        struct.pack_into("<BxxxBxxxII", record, 446 + 16 * index, 0, kind, first, count)
    record[510:] = b"\x55\xaa"
    return bytes(record)


def protective(sectors: int) -> bytes:
    """The MBR before a GPT."""
    return mbr_record({0: (0xEE, 1, min(sectors - 1, 0xFFFFFFFF))}, 0)


def gpt_entries(places: Sequence[Place], count: int = 128) -> bytes:
    """An array of entries, one for each partition."""
    packed = b""
    for number, (first, last) in enumerate(places, 1):
        unique = uuid.UUID(int=number)
        name = f"part {number}".encode("utf-16-le")
        packed += struct.pack("<16s16sQQQ72s", LINUX.bytes_le, unique.bytes_le, first, last, 0, name)
    return packed.ljust(count * 128, b"\0")


def gpt_header(
    entries: bytes, own: int, other: int, usable: Place, *, entries_sector: int, unit: int, **fields: int
) -> bytes:
    """The sector of a header."""
    count, size = fields.get("count", len(entries) // 128), fields.get("size", 128)
    parts = (b"EFI PART", 0x10000, 92, 0, 0, own, other, *usable, DISK.bytes_le, entries_sector)
    packed = struct.pack("<8sIIIIQQQQ16sQIII", *parts, count, size, zlib.crc32(entries))
    return (packed[:16] + struct.pack("<I", zlib.crc32(packed)) + packed[20:]).ljust(unit, b"\0")


def gpt_disk(size: int, places: Sequence[Place], unit: int = 512, count: int = 128) -> bytearray:
    """A disk with a GPT."""
    disk = bytearray(size)
    sectors = size // unit
    entries = gpt_entries(places, count)
    taken = -(-len(entries) // unit)
    usable = (2 + taken, sectors - taken - 2)
    disk[:512] = protective(sectors)
    disk[unit : 2 * unit] = gpt_header(entries, 1, sectors - 1, usable, entries_sector=2, unit=unit)
    disk[2 * unit : 2 * unit + len(entries)] = entries
    backup = sectors - 1 - taken
    disk[backup * unit : backup * unit + len(entries)] = entries
    disk[(sectors - 1) * unit :] = gpt_header(
        entries, sectors - 1, 1, usable, entries_sector=backup, unit=unit
    )
    return disk


class Found(NamedTuple):
    """A sound copy as the independent reader sees it."""

    other_sector: int
    last_usable: int
    places: tuple[tuple[uuid.UUID, int, int], ...]


def sound_copy(disk: bytes | bytearray, sector: int, unit: int) -> Found | None:
    """What the copy with its header in a sector says, None unless both checksums are right."""
    data = bytes(disk[sector * unit : (sector + 1) * unit])
    fields = struct.unpack_from("<8sIIIIQQQQ16sQIII", data.ljust(92, b"\0"))
    if fields[0] != b"EFI PART" or fields[5] != sector:
        return None
    if zlib.crc32(data[:16] + bytes(4) + data[20:92]) != fields[3]:
        return None
    start, count, size = fields[10] * unit, fields[11], fields[12]
    entries = bytes(disk[start : start + count * size])
    if len(entries) != count * size or zlib.crc32(entries) != fields[13]:
        return None
    places = []
    for at in range(0, len(entries), size):
        kind, unique, first, last = struct.unpack_from("<16s16sQQ", entries, at)
        if any(kind):
            places.append((uuid.UUID(bytes_le=unique), first, last))
    return Found(fields[6], fields[8], tuple(places))
