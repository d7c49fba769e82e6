"""Inodes of XFS by number: what they say of a file, and where its bytes stand, in however many pieces."""

from __future__ import annotations

import struct
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from vhdx.errors import FileSystemError
from vhdx.filesystems.area import big_number
from vhdx.filesystems.reading import power_of_two

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.files.source import Read
    from vhdx.filesystems.xfs import Superblock

_CORE = struct.Struct(">2sHBBHIII12xQQQQ18xB7xH")
_CORE_LENGTH, _OLD_CORE_LENGTH = 176, 100
_MADE_AT, _NUMBER_AT, _FLAGS2_AT = 144, 152, 120
_BIG_TIMES, _BIG_COUNTS = 8, 16
_COUNT_AT, _BIG_COUNT_AT = 76, 24
_MOST_EXTENTS = 1 << 22
_BIG_EPOCH = 1 << 31
"""Seconds by which times that count nanoseconds begin earlier."""
_ON_REALTIME_DEVICE = 1
_DEVICE, _LOCAL, _EXTENTS, _TREE = 0, 1, 2, 3
_EXTENT = struct.Struct(">QQ")
_UNWRITTEN = 1 << 63
_TYPES_FLAG_AT = {4: (200, 0x200), 5: (216, 1)}
"""Where a superblock of each version says whether names have types."""
_NODES = {b"BMAP": 24, b"BMA3": 72}
"""Nodes of the tree of extents, and how long their headers are."""
_DEEPEST = 10
_MINOR_BITS = 18


class Extent(NamedTuple):
    """A piece of a file: its first block, how many, where they stand in the volume; None for zeros."""

    first: int
    blocks: int
    offset: int | None


class Geometry(NamedTuple):
    """What of a superblock one needs to find inodes and blocks."""

    superblock: Superblock
    inode_size: int
    inodes_shift: int
    root: int
    directory_block: int
    has_types: bool

    @classmethod
    def of(cls, superblock: Superblock) -> Geometry:
        """Read from a superblock. Raises FileSystemError where it makes no sense."""
        data, block = superblock.data, superblock.block_size
        inode_size, shift = big_number(data, 104, 2), data[123]
        directory_block = block << min(data[192], 16)
        if not power_of_two(inode_size, 256, 2048) or inode_size << shift != block or directory_block > 65536:
            raise FileSystemError("its superblock makes no sense")
        place, flag = _TYPES_FLAG_AT[superblock.version]
        has_types = bool(big_number(data, place, 4) & flag)
        return cls(superblock, inode_size, shift, big_number(data, 56, 8), directory_block, has_types)

    def offset_of(self, block: int, count: int = 1) -> int:
        """Where blocks stand in the volume. Raises FileSystemError for none that there are."""
        found = self.superblock
        group, inner = found.place(block)
        if inner + count > found.group_blocks or group * found.group_blocks + inner + count > found.blocks:
            raise FileSystemError(f"block {block} is none that there is")
        return (group * found.group_blocks + inner) * found.block_size


class Inode:
    """An inode. Raises FileSystemError where there is none of this number."""

    def __init__(self, read: Read, geometry: Geometry, number: int) -> None:
        self._read, self._geometry, self.number = read, geometry, number
        block, index = number >> geometry.inodes_shift, number & ((1 << geometry.inodes_shift) - 1)
        size = geometry.inode_size
        self._raw = read(size, geometry.offset_of(block) + index * size)
        if len(self._raw) < size or self._raw[:2] != b"IN":
            raise FileSystemError(f"there is no inode {number}")
        (
            _,
            self.mode,
            version,
            self._format,
            old_links,
            self.uid,
            self.gid,
            links,
            *times,
            size,
            fork,
            flags,
        ) = _CORE.unpack_from(self._raw)
        self.size: int = size
        self._flags: int = flags
        self.links: int = links if version > 1 else old_links
        self._is_new = version == 3
        if self._is_new and big_number(self._raw, _NUMBER_AT, 8) != number:
            raise FileSystemError(f"the inode at the place of {number} is another one")
        self.accessed, self.modified, self.changed = map(self._time, times)
        start = _CORE_LENGTH if self._is_new else _OLD_CORE_LENGTH
        self._fork = self._raw[start : start + fork * 8] if fork else self._raw[start:]

    @property
    def created(self) -> int | None:
        """When it was made, which only newer ones say."""
        return self._time(big_number(self._raw, _MADE_AT, 8)) if self._is_new else None

    @property
    def device(self) -> tuple[int, int] | None:
        """Major and minor number of a device."""
        if self._format != _DEVICE:
            return None
        number = big_number(self._fork, 0, 4)
        return number >> _MINOR_BITS, number & (1 << _MINOR_BITS) - 1

    @property
    def held(self) -> bytes | None:
        """Contents that stand in the inode itself."""
        return self._fork[: self.size] if self._format == _LOCAL else None

    @cached_property
    def extents(self) -> list[Extent]:
        """All pieces that are stored, ascending."""
        if self._flags & _ON_REALTIME_DEVICE:
            raise FileSystemError("its contents are on the realtime device, which is another one")
        if self._format == _EXTENTS:
            if self._pieces > len(self._fork) // 16:
                raise _damaged()
            records = _EXTENT.iter_unpack(self._fork[: 16 * self._pieces])
        elif self._format == _TREE:
            level, count = big_number(self._fork, 0, 2), big_number(self._fork, 2, 2)
            records = self._below(_pointers(self._fork, 4, count), level)
        else:
            return []
        return list(self._checked(records))

    def _checked(self, records: Iterator[tuple[int, int]]) -> Iterator[Extent]:
        """Extents as they rise, so that no circle is gone round."""
        if self._pieces > _MOST_EXTENTS:
            raise FileSystemError(f"its contents stand in {self._pieces} pieces, more than are followed")
        end = 0
        for high, low in islice(records, _MOST_EXTENTS):
            first, count = (high & ~_UNWRITTEN) >> 9, low & 0x1FFFFF
            if not count or first < end:
                raise _damaged()
            end = first + count
            place = self._geometry.offset_of((high & 0x1FF) << 43 | low >> 21, count)
            yield Extent(first, count, None if high & _UNWRITTEN else place)

    @property
    def _pieces(self) -> int:
        if self._is_new and big_number(self._raw, _FLAGS2_AT, 8) & _BIG_COUNTS:
            return big_number(self._raw, _BIG_COUNT_AT, 8)
        return big_number(self._raw, _COUNT_AT, 4)

    def _below(self, blocks: list[int], level: int) -> Iterator[tuple[int, int]]:
        """The records of leaves below a node of this level; empty nodes would let a circle go on for ever."""
        if not 0 < level < _DEEPEST or not blocks:
            raise _damaged()
        size = self._geometry.superblock.block_size
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

    def _time(self, stored: int) -> int:
        if self._is_new and big_number(self._raw, _FLAGS2_AT, 8) & _BIG_TIMES:
            return stored - _BIG_EPOCH * 10**9
        seconds = stored >> 32
        return (seconds - (seconds >> 31 << 32)) * 10**9 + (stored & 0xFFFFFFFF)


def _pointers(node: bytes, start: int, count: int) -> list[int]:
    """The blocks below a node, which stand behind the room for as many keys as pointers."""
    most = (len(node) - start) // 16
    if count > most:
        raise _damaged()
    first = start + 8 * most
    return [big_number(node, first + 8 * index, 8) for index in range(count)]


def _damaged() -> FileSystemError:
    return FileSystemError("what says where its contents stand is damaged")
