"""VHD files built byte by byte, without any code of the library."""

import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
NONE = uuid.UUID(int=0)
OWN = uuid.UUID(int=77)


def sealed(data: bytes, at: int) -> bytes:
    """The structure with its checksum, the ones' complement of the sum of its bytes, at an offset."""
    blank = data[:at] + bytes(4) + data[at + 4 :]
    return blank[:at] + struct.pack(">I", ~sum(blank) & 0xFFFFFFFF) + blank[at + 4 :]


@dataclass
class VhdBuilder:
    """A VHD of ``size`` bytes; ``sectors`` are what is stored, by sector number.

    ``blocks`` are block numbers that are allocated although no sector of them is stored; bits outside the
    stored sectors stay clear, and what stands behind clear bits is ``junk``.
    """

    size: int
    disk_type: int = DYNAMIC
    block_size: int = 2 << 20
    sectors: Mapping[int, bytes] = field(default_factory=dict)
    blocks: tuple[int, ...] = ()
    junk: bytes = b"\xa5"
    unique_id: uuid.UUID = OWN
    creator: bytes = b"win "
    geometry: tuple[int, int, int] = (65535, 16, 255)
    timestamp: int = 0x32000000
    parent_id: uuid.UUID = NONE
    parent_timestamp: int = 0
    parent_name: str = ""
    locators: tuple[tuple[bytes, bytes], ...] = ()
    entry_count: int | None = None
    footer_changes: Mapping[int, bytes] = field(default_factory=dict)
    header_changes: Mapping[int, bytes] = field(default_factory=dict)
    table_changes: Mapping[int, int] = field(default_factory=dict)

    def footer(self) -> bytes:
        """The 512 bytes at the end."""
        cylinders, heads, tracks = self.geometry
        packed = struct.pack(
            ">8sIIQI4sI4sQQHBBII16sB427x",
            *(b"conectix", 2, 0x10000, (1 << 64) - 1 if self.disk_type == FIXED else 512),
            *(self.timestamp, self.creator, 0xA0000, b"Wi2k", self.size, self.size),
            *(cylinders, heads, tracks, self.disk_type, 0, self.unique_id.bytes, 0),
        )
        return sealed(_changed(packed, self.footer_changes), 64)

    def header(self, table_offset: int, places: list[int]) -> bytes:
        """The 1024 bytes behind the first footer."""
        count = self.block_count if self.entry_count is None else self.entry_count
        packed = struct.pack(
            ">8sQQIIII16sI4x512s",
            *(b"cxsparse", (1 << 64) - 1, table_offset, 0x10000, count, self.block_size, 0),
            *(self.parent_id.bytes, self.parent_timestamp, self.parent_name.encode("utf-16-be")),
        )
        for (platform, name), place in zip(self.locators, places, strict=True):
            packed += struct.pack(">4sIIIQ", platform, 512, len(name), 0, place)
        return sealed(_changed(packed.ljust(1024, b"\0"), self.header_changes), 36)

    @property
    def block_count(self) -> int:
        """Blocks of the disk."""
        return -(-self.size // self.block_size)

    def write(self, path: Path) -> Path:
        """The file."""
        path.write_bytes(self.fixed() if self.disk_type == FIXED else self.sparse())
        return path

    def fixed(self) -> bytes:
        """Contents and footer."""
        return self.content() + self.footer()

    def sparse(self) -> bytes:
        """Footer, header, locators, table, blocks, footer. Blocks are stored backwards, for a change."""
        places = [1536 + 512 * index for index in range(len(self.locators))]
        table_offset = 1536 + 512 * len(places)
        table_length = -(-self.block_count * 4 // 512) * 512
        per_block = self.block_size // 512
        bitmap_length = -(-per_block // 8 // 512) * 512 or 512
        stored = sorted({number // per_block for number in self.sectors} | {*self.blocks}, reverse=True)
        table, data = [0xFFFFFFFF] * (table_length // 4), b""
        for block in stored:
            table[block] = (table_offset + table_length + len(data)) // 512
            bitmap, content = (
                bytearray(bitmap_length),
                bytearray((self.junk * self.block_size)[: self.block_size]),
            )
            for index in range(per_block):
                sector = self.sectors.get(block * per_block + index)
                if sector is not None:
                    bitmap[index // 8] |= 0x80 >> index % 8
                    content[index * 512 : index * 512 + 512] = sector
            data += bytes(bitmap) + bytes(content)
        for index, entry in self.table_changes.items():
            table[index] = entry
        packed = self.footer() + self.header(table_offset, places)
        packed += b"".join(name.ljust(512, b"\0") for _, name in self.locators)
        return packed + struct.pack(f">{len(table)}I", *table) + data + self.footer()

    def content(self, below: bytes = b"") -> bytes:
        """What the disk reads as over a parent's content."""
        disk = bytearray(below[: self.size].ljust(self.size, b"\0"))
        for number, sector in self.sectors.items():
            disk[number * 512 : number * 512 + 512] = sector
        return bytes(disk)


def _changed(packed: bytes, changes: Mapping[int, bytes]) -> bytes:
    for at, data in changes.items():
        packed = packed[:at] + data + packed[at + len(data) :]
    return packed


def relative(name: str) -> tuple[bytes, bytes]:
    """A relative locator as Windows writes it."""
    return b"W2ru", f".\\{name}".encode("utf-16-le")


def absolute(path: str) -> tuple[bytes, bytes]:
    """An absolute locator as Windows writes it."""
    return b"W2ku", path.encode("utf-16-le")
