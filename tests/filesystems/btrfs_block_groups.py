"""A btrfs with a block-group tree, which Debian's mkfs does not make: a fresh one rewritten by hand.

The items of block groups move from the extent tree into a tree of their own, as later versions of btrfstune
do it. All trees are single leaves after mkfs; one new leaf is taken from free space, and counted everywhere.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from vhdx.format.checksum import crc32c

if TYPE_CHECKING:
    from pathlib import Path

_SUPERBLOCK, _SUPERBLOCK_LENGTH = 65536, 4096
_BYTES_USED, _ROOT, _COMPAT_RO, _SYSTEM_CHUNKS = 0x78, 0x50, 0xB4, 0x32B
_HEADER, _ITEM = 101, 25
_EXTENT_TREE, _FREE_SPACE_TREE, _BLOCK_GROUP_TREE = 2, 10, 11
_ROOT_ITEM, _METADATA_ITEM, _BLOCK_GROUP_ITEM, _FREE_SPACE_EXTENT, _CHUNK_ITEM = 132, 169, 192, 199, 228
_TREE_BLOCK, _TREE_BLOCK_REF = 2, 176
_FEATURE = 8

Key = tuple[int, int, int]


class Leaf(NamedTuple):
    """A leaf: its first 101 bytes, and its items."""

    header: bytes
    items: dict[Key, bytes]

    def pack(self, size: int) -> bytes:
        """The node, its checksum included."""
        rows, data, end = b"", b"", size - _HEADER
        for key, item in sorted(self.items.items()):
            end -= len(item)
            rows += struct.pack("<QBQII", *key, end, len(item))
            data = item + data
        body = self.header[32:0x60] + struct.pack("<IB", len(self.items), 0) + rows
        node = body + bytes(size - 32 - len(body) - len(data)) + data
        return crc32c(node).to_bytes(4, "little").ljust(32, b"\0") + node


def unpacked(node: bytes) -> Leaf:
    """The items of a leaf."""
    (count, level) = struct.unpack_from("<IB", node, 0x60)
    assert level == 0, "trees are leaves after mkfs"
    items = {}
    for index in range(count):
        *key, at, length = struct.unpack_from("<QBQII", node, _HEADER + _ITEM * index)
        items[key[0], key[1], key[2]] = node[_HEADER + at : _HEADER + at + length]
    return Leaf(node[:_HEADER], items)


class _Image:
    """The bytes of a file system in which each chunk has one copy."""

    def __init__(self, data: bytearray) -> None:
        self.data = data
        self.node_size = self.number(0x94, 4)
        self.chunks = [self._chunk(_SUPERBLOCK + _SYSTEM_CHUNKS)]
        for (_, kind, logical), item in self.leaf(self.number(0x58)).items.items():
            if kind == _CHUNK_ITEM:
                self.chunks.append((logical, *self._stripe(item)))

    def number(self, place: int, length: int = 8) -> int:
        return int.from_bytes(self.data[_SUPERBLOCK + place : _SUPERBLOCK + place + length], "little")

    def set(self, place: int, value: int) -> None:
        self.data[_SUPERBLOCK + place : _SUPERBLOCK + place + 8] = value.to_bytes(8, "little")

    def _chunk(self, at: int) -> tuple[int, int, int]:
        _, _, logical = struct.unpack_from("<QBQ", self.data, at)
        return (logical, *self._stripe(bytes(self.data[at + 17 : at + 17 + 80])))

    @staticmethod
    def _stripe(item: bytes) -> tuple[int, int]:
        (stripes,) = struct.unpack_from("<H", item, 44)
        assert stripes == 1
        return int.from_bytes(item[:8], "little"), int.from_bytes(item[56:64], "little")

    def place(self, logical: int) -> int:
        return next(
            at + logical - start for start, length, at in self.chunks if start <= logical < start + length
        )

    def leaf(self, logical: int) -> Leaf:
        place = self.place(logical)
        return unpacked(bytes(self.data[place : place + self.node_size]))

    def write(self, logical: int, leaf: Leaf) -> None:
        place = self.place(logical)
        self.data[place : place + self.node_size] = leaf.pack(self.node_size)


def add_block_group_tree(path: Path) -> None:
    """Give a fresh file system of chunks with one copy the tree of its block groups."""
    image = _Image(bytearray(path.read_bytes()))
    size, root = image.node_size, image.leaf(image.number(_ROOT))
    roots = {key[0]: key for key in root.items if key[1] == _ROOT_ITEM}
    extent_at, free_at = (_node_of(root.items[roots[tree]]) for tree in (_EXTENT_TREE, _FREE_SPACE_TREE))
    extents, free = image.leaf(extent_at), image.leaf(free_at)
    groups = {key: item for key, item in extents.items.items() if key[1] == _BLOCK_GROUP_ITEM}
    for key in groups:
        del extents.items[key]
    group = _group_for_trees(groups)
    taken = next(key for key in free.items if key[1] == _FREE_SPACE_EXTENT and _inside(key, group))
    start, kind, length = taken
    del free.items[taken]
    free.items[start + size, kind, length - size] = b""
    used = int.from_bytes(groups[group][:8], "little") + size
    groups[group] = used.to_bytes(8, "little") + groups[group][8:]
    generation = int.from_bytes(extents.header[0x50:0x58], "little")
    extents.items[start, _METADATA_ITEM, 0] = struct.pack(
        "<QQQBQ", 1, generation, _TREE_BLOCK, _TREE_BLOCK_REF, _BLOCK_GROUP_TREE
    )
    item = bytearray(root.items[roots[_EXTENT_TREE]])
    item[176:184] = start.to_bytes(8, "little")
    root.items[_BLOCK_GROUP_TREE, _ROOT_ITEM, 0] = bytes(item)
    header = bytearray(extents.header)
    header[0x30:0x38], header[0x58:0x60] = (n.to_bytes(8, "little") for n in (start, _BLOCK_GROUP_TREE))
    for place, leaf in (
        (start, Leaf(bytes(header), groups)),
        (extent_at, extents),
        (free_at, free),
        (image.number(_ROOT), root),
    ):
        image.write(place, leaf)
    image.set(_BYTES_USED, image.number(_BYTES_USED) + size)
    image.set(_COMPAT_RO, image.number(_COMPAT_RO) | _FEATURE)
    sealed = bytes(image.data[_SUPERBLOCK + 32 : _SUPERBLOCK + _SUPERBLOCK_LENGTH])
    image.data[_SUPERBLOCK : _SUPERBLOCK + 4] = crc32c(sealed).to_bytes(4, "little")
    path.write_bytes(image.data)


def _node_of(item: bytes) -> int:
    return int.from_bytes(item[176:184], "little")


def _group_for_trees(groups: dict[Key, bytes]) -> Key:
    """A block group of metadata."""
    return next(key for key, item in groups.items() if int.from_bytes(item[16:24], "little") & 4)


def _inside(key: Key, group: Key) -> bool:
    return group[0] <= key[0] and key[0] + key[2] <= group[0] + group[2]
