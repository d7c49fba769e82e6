"""Forks of inodes of XFS: what stands in the inode itself, or in which pieces it stands in the volume."""

from __future__ import annotations

import struct
from functools import cached_property
from itertools import islice

from vhdx.errors import FileSystemError
from vhdx.filesystems.area import big_number
from vhdx.filesystems.reading import power_of_two
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.files.source import Read
    from vhdx.filesystems.xfs import Superblock

DEVICE, LOCAL, EXTENTS, TREE = 0, 1, 2, 3
_TYPES_FLAG_AT = {4: (200, 0x200), 5: (216, 1)}
"""Where a superblock of each version says whether names have types."""
_EXTENT = struct.Struct(">QQ")
_UNWRITTEN = 1 << 63
_MOST_EXTENTS = 1 << 22
_NODES = {b"BMAP": 24, b"BMA3": 72}
"""Nodes of the tree of extents, and how long their headers are."""
_DEEPEST = 10


class Extent(NamedTuple):
    """A piece of a fork: its first block, how many, where they stand in the volume; None for zeros."""

    first: int
    blocks: int
    offset: int | None


class Geometry(NamedTuple):
    """What of a superblock one needs to find inodes and blocks."""

    version: int
    block_size: int
    blocks: int
    group_blocks: int
    group_shift: int
    inode_size: int
    inodes_shift: int
    root: int
    directory_block: int
    has_types: bool

    @classmethod
    def of(cls, superblock: Superblock) -> Geometry:
        """Read from a superblock. Raises FileSystemError where it makes no sense."""
        data, block, version = superblock.data, superblock.block_size, superblock.version
        inode_size, shift = big_number(data, 104, 2), data[123]
        directory_block = block << min(data[192], 16)
        if not power_of_two(inode_size, 256, 2048) or inode_size << shift != block or directory_block > 65536:
            raise FileSystemError("its superblock makes no sense")
        place, flag = _TYPES_FLAG_AT[version]
        return cls(
            version,
            block,
            superblock.blocks,
            superblock.group_blocks,
            data[124],
            inode_size,
            shift,
            big_number(data, 56, 8),
            directory_block,
            bool(big_number(data, place, 4) & flag),
        )

    def offset_of(self, block: int, count: int = 1) -> int:
        """Where blocks stand in the volume. Raises FileSystemError for none that there are."""
        group, inner = block >> self.group_shift, block & (1 << self.group_shift) - 1
        place = group * self.group_blocks + inner
        if inner + count > self.group_blocks or place + count > self.blocks:
            raise FileSystemError(f"block {block} is none that there is")
        return place * self.block_size


class Fork:
    """One of the two forks of an inode: its contents, or its extended attributes."""

    def __init__(self, read: Read, geometry: Geometry, form: int, raw: bytes, pieces: int) -> None:
        self._read, self._geometry = read, geometry
        self.form, self.raw, self.pieces = form, raw, pieces

    @cached_property
    def extents(self) -> list[Extent]:
        """All pieces that are stored, ascending. Raises FileSystemError."""
        if self.form == EXTENTS:
            if self.pieces > len(self.raw) // 16:
                raise _damaged()
            return list(self._checked(_EXTENT.iter_unpack(self.raw[: 16 * self.pieces])))
        if self.form == TREE:
            level, count = big_number(self.raw, 0, 2), big_number(self.raw, 2, 2)
            return list(self._checked(self._below(_pointers(self.raw, 4, count), level)))
        return []

    def _checked(self, records: Iterator[tuple[int, int]]) -> Iterator[Extent]:
        """Extents as they rise, so that no circle is gone round."""
        if self.pieces > _MOST_EXTENTS:
            raise FileSystemError(f"it stands in {self.pieces} pieces, more than are followed")
        end = 0
        for high, low in islice(records, _MOST_EXTENTS):
            first, count = (high & ~_UNWRITTEN) >> 9, low & 0x1FFFFF
            if not count or first < end:
                raise _damaged()
            end = first + count
            place = self._geometry.offset_of((high & 0x1FF) << 43 | low >> 21, count)
            yield Extent(first, count, None if high & _UNWRITTEN else place)

    def _below(self, blocks: list[int], level: int) -> Iterator[tuple[int, int]]:
        """The records of leaves below a node of this level; empty nodes would let a circle go on for ever."""
        if not 0 < level < _DEEPEST or not blocks:
            raise _damaged()
        size = self._geometry.block_size
        for block in blocks:
            node = self._read(size, self._geometry.offset_of(block))
            header = _NODES.get(node[:4], 0)
            below, count = big_number(node, 4, 2), big_number(node, 6, 2)
            if not header or below != level - 1 or not 0 < count <= (size - header) // 16:
                raise _damaged()
            if below:
                yield from self._below(_pointers(node, header, count), below)
            else:
                yield from _EXTENT.iter_unpack(node[header : header + 16 * count])


def _pointers(node: bytes, start: int, count: int) -> list[int]:
    """The blocks below a node, which stand behind the room for as many keys as pointers."""
    most = (len(node) - start) // 16
    if count > most:
        raise _damaged()
    first = start + 8 * most
    return [big_number(node, first + 8 * index, 8) for index in range(count)]


def _damaged() -> FileSystemError:
    return FileSystemError("what says where it stands is damaged")
