"""A small HFS+ made by hand, as no program of Linux makes what macOS does: hard links, compression, forks."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

BLOCK, NODE, BLOCKS = 4096, 16384, 512
ROOT, FIRST_OF_USERS = 2, 16
WHEN = 2_082_844_800 + 10**9
PRIVATE, PRIVATE_DIRECTORIES = "\0\0\0\0HFS+ Private Data", ".HFS+ Private Directory Data\r"
CHUNK = 64 << 10
COMPRESSED_FLAG = 0x20
FOOTER = bytes(24) + bytes.fromhex("001c00320000") + b"cmpf" + bytes.fromhex("0000000a0001ffff") + bytes(8)
LZVN_END = b"\x06" + bytes(7)
THREAD, HAS_ATTRIBUTES, LINK_CHAIN = 0x2, 0x4, 0x20


class Fork(NamedTuple):
    size: int
    first: int

    @property
    def blocks(self) -> int:
        return -(-self.size // BLOCK)

    @property
    def raw(self) -> bytes:
        return struct.pack(">QIIII56x", self.size, 0, self.blocks, self.first, self.blocks)


NO_FORK = Fork(0, 0)


class Making:
    """Files and directories are added, then `image` has all of it."""

    def __init__(self) -> None:
        self._data = bytearray(BLOCK * BLOCKS)
        self._next_block = 1
        self._next_id = FIRST_OF_USERS
        self._catalogue: dict[tuple[int, str], bytes] = {}
        self._attributes: dict[tuple[int, str], bytes] = {}
        self._valence: dict[int, int] = {}
        self._folder_record(1, "disk", ROOT)

    def directory(self, name: str, parent: int = ROOT) -> int:
        number = self._taken()
        self._folder_record(parent, name, number)
        return number

    def file(
        self,
        name: str,
        data: bytes = b"",
        *,
        parent: int = ROOT,
        resources: bytes = b"",
        finder: bytes = bytes(8),
        special: int = 0,
        flags: int = 0,
        mode: int = 0o100644,
        number: int | None = None,
    ) -> int:
        number = number or self._taken()
        chained = LINK_CHAIN if (special and finder != bytes(8)) or name.startswith("iNode") else 0
        record = struct.pack(">HHII5I", 2, THREAD | chained, 0, number, *[WHEN] * 4, 0)
        record += struct.pack(">IIBBHI", 501, 20, 0, flags, mode, special)
        record += finder.ljust(16, b"\0") + bytes(16) + bytes(8)
        record += self._stored(data).raw + self._stored(resources).raw
        self._add(parent, name, number, record, 4)
        return number

    def hard_link(self, name: str, target: int, parent: int = ROOT) -> int:
        return self.file(name, parent=parent, finder=b"hlnkhfs+", special=target, mode=0o100444)

    def directory_link(self, name: str, target: int, parent: int = ROOT) -> int:
        return self.file(name, parent=parent, finder=b"fdrpMACS", special=target, mode=0o100444)

    def hidden_file(self, parent: int, data: bytes, links: int) -> int:
        number = self._taken()
        return self.file(f"iNode{number}", data, parent=parent, special=links, number=number)

    def hidden_directory(self, parent: int) -> int:
        number = self._taken()
        self._folder_record(parent, f"dir_{number}", number)
        return number

    def attribute(self, number: int, name: str, value: bytes, *, in_fork: bool = False) -> None:
        record = struct.pack(">IIII", 0x10, 0, 0, len(value)) + value
        if in_fork:
            record = struct.pack(">II", 0x20, 0) + self._stored(value).raw
        self._attributes[number, name] = record
        for key, row in self._catalogue.items():
            if row[:2] in (b"\0\1", b"\0\2") and int.from_bytes(row[8:12], "big") == number:
                self._catalogue[key] = row[:3] + bytes([row[3] | HAS_ATTRIBUTES]) + row[4:]

    def compressed(self, name: str, kind: int, size: int, inline: bytes, resources: bytes = b"") -> int:
        number = self.file(name, resources=resources, flags=COMPRESSED_FLAG)
        self.attribute(number, "com.apple.decmpfs", struct.pack("<4sIQ", b"fpmc", kind, size) + inline)
        return number

    def image(self) -> bytes:
        for number, count in self._valence.items():
            for key, record in self._catalogue.items():
                if record[:2] == b"\0\1" and int.from_bytes(record[8:12], "big") == number:
                    self._catalogue[key] = record[:4] + count.to_bytes(4, "big") + record[8:]
        rows = sorted(self._catalogue.items(), key=lambda row: (row[0][0], _folded(row[0][1])))
        leaf = [_key(parent, name) + record for (parent, name), record in rows]
        catalogue = self._stored(_tree(leaf, 516, 0xCF))
        rows = sorted(self._attributes.items())
        leaf = [_attribute_key(number, name) + record for (number, name), record in rows]
        attributes = self._stored(_tree(leaf, 266, 0))
        extents = self._stored(_tree([], 10, 0))
        bitmap = self._stored(bytes(BLOCK))
        used = (1 << self._next_block) - 1 << BLOCK * 8 - self._next_block
        self._data[bitmap.first * BLOCK : (bitmap.first + 1) * BLOCK] = used.to_bytes(BLOCK, "big")
        header = struct.pack(">2sHI4sI", b"H+", 4, 1 << 8, b"10.0", 0)
        header += struct.pack(">4I", *[WHEN] * 4) + struct.pack(">II", self._count(2), self._count(1) - 1)
        header += struct.pack(">IIII", BLOCK, BLOCKS, BLOCKS - self._next_block, self._next_block)
        header += struct.pack(">IIIIQ32x", 65536, 65536, self._next_id, 1, 1)
        header += bitmap.raw + extents.raw + catalogue.raw + attributes.raw + NO_FORK.raw
        for place in (1024, len(self._data) - 1024):
            self._data[place : place + len(header)] = header
        return bytes(self._data)

    def _count(self, kind: int) -> int:
        return sum(record[1] == kind for record in self._catalogue.values())

    def _folder_record(self, parent: int, name: str, number: int) -> None:
        record = struct.pack(">HHII5I", 1, 0, 0, number, *[WHEN] * 4, 0)
        record += struct.pack(">IIBBHI", 501, 20, 0, 0, 0o40755, 1) + bytes(32) + bytes(8)
        self._add(parent, name, number, record, 3)

    def _add(self, parent: int, name: str, number: int, record: bytes, thread: int) -> None:
        self._catalogue[parent, name] = record
        self._valence[parent] = self._valence.get(parent, 0) + 1
        self._catalogue[number, ""] = struct.pack(">HHI", thread, 0, parent) + _text(name)

    def _taken(self) -> int:
        self._next_id += 1
        return self._next_id

    def _stored(self, data: bytes) -> Fork:
        if not data:
            return NO_FORK
        fork = Fork(len(data), self._next_block)
        self._data[fork.first * BLOCK : fork.first * BLOCK + len(data)] = data
        self._next_block += fork.blocks
        return fork


def _folded(name: str) -> str:
    return name.lower().replace("\0", "\uffff")


def _text(name: str) -> bytes:
    return struct.pack(">H", len(name)) + name.encode("utf-16-be")


def _key(parent: int, name: str) -> bytes:
    rest = struct.pack(">I", parent) + _text(name)
    return struct.pack(">H", len(rest)) + rest


def _attribute_key(number: int, name: str) -> bytes:
    rest = struct.pack(">HII", 0, number, 0) + _text(name)
    return struct.pack(">H", len(rest)) + rest


def _node(kind: int, height: int, records: list[bytes]) -> bytes:
    data = struct.pack(">IIBBHH", 0, 0, kind & 0xFF, height, len(records), 0)
    offsets = []
    for record in records:
        offsets.append(len(data))
        data += record + bytes(len(record) % 2)
    offsets.append(len(data))
    end = b"".join(offset.to_bytes(2, "big") for offset in reversed(offsets))
    assert len(data) + len(end) <= NODE
    return data.ljust(NODE - len(end), b"\0") + end


def _tree(records: list[bytes], longest_key: int, compare: int) -> bytes:
    """A header node and, where there are records, one leaf."""
    has = int(bool(records))
    header = struct.pack(">HIIII", has, has, len(records), has, has)
    header += struct.pack(">HHIIHIBBI64x", NODE, longest_key, 1 + has, 0, 0, 2 * NODE, 0, compare, 6)
    bitmap_length = NODE - 14 - 106 - 128 - 8
    bitmap = (0xC0 if has else 0x80).to_bytes(1, "big").ljust(bitmap_length, b"\0")
    nodes = _node(1, 0, [header, bytes(128), bitmap])
    return nodes + (_node(-1, 1, records) if has else b"")


def zlib_resources(data: bytes) -> bytes:
    """What stands in the resource fork of a file of type 4."""
    chunks = [zlib.compress(data[start : start + CHUNK]) for start in range(0, len(data), CHUNK)]
    place = 4 + 8 * len(chunks)
    table = struct.pack("<I", len(chunks))
    for chunk in chunks:
        table += struct.pack("<II", place, len(chunk))
        place += len(chunk)
    body = table + b"".join(chunks)
    start = struct.pack(">IIII", 256, 260 + len(body), 4 + len(body), 50).ljust(256, b"\0")
    return start + len(body).to_bytes(4, "big") + body + FOOTER


def lzvn_resources(chunks: list[bytes]) -> bytes:
    """What stands in the resource fork of a file of type 8."""
    place = 4 * (len(chunks) + 1)
    table = struct.pack("<I", place)
    for chunk in chunks:
        place += len(chunk)
        table += struct.pack("<I", place)
    return table + b"".join(chunks)


def lzvn_literals(data: bytes) -> bytes:
    """Data in LZVN that saves nothing: runs of literals, and the end."""
    runs = [data[start : start + 256] for start in range(0, len(data), 256)]
    heads = (bytes([0xE0, len(run) - 16]) if len(run) >= 16 else bytes([0xE0 + len(run)]) for run in runs)
    return b"".join(head + run for head, run in zip(heads, runs, strict=True)) + LZVN_END


def lzvn_repeated(period: bytes, length: int) -> bytes:
    """A run of literals again and again: a match of three bytes at its distance, then more of the same."""
    left = length - len(period) - 3
    many, rest = divmod(left, 271)
    tail = b"\xf0" + bytes([rest - 16]) if rest >= 16 else bytes([0xF0 + rest] if rest else [])
    match = b"\x07" + len(period).to_bytes(2, "little") + b"\xf0\xff" * many + tail
    return lzvn_literals(period).removesuffix(LZVN_END) + match + LZVN_END
