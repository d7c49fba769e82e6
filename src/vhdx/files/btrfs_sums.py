"""The contents of files of a btrfs against their checksums, which its reader does not look at.

Nor is it asked for the tree that holds them: it finds keys and what follows them, but not what precedes them.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from vhdx.errors import FileSystemError
from vhdx.filesystems.area import number
from vhdx.filesystems.btrfs_tree import CHECKSUMS

if TYPE_CHECKING:
    from dissect.btrfs.btrfs import Btrfs

_TREE = 7
_OBJECT, _TYPE = (1 << 64) - 10, 128
_COUNT_AT, _LEVEL_AT, _ITEMS_AT = 0x60, 0x64, 101
_KEY = struct.Struct("<QBQ")  # object, type, offset
_ITEM_LENGTH, _POINTER_LENGTH = 25, 33
_Key = tuple[int, int, int]


class _Sums(NamedTuple):
    """Checksums of sectors in a row, the first of which stands at a logical address."""

    start: int
    end: int
    packed: bytes


class CheckedSpace:
    """The logical space of a btrfs, to be read from like a file: no sector that has another checksum."""

    def __init__(self, opened: Btrfs) -> None:
        self._opened = opened
        self._sector = opened.sector_size
        compute = CHECKSUMS[opened.sb.csum_type]
        self._compute = compute
        self._width = len(compute(b"")) if compute else 0
        self._root = opened._open_tree(_TREE).root_offset  # noqa: SLF001  nothing public tells
        self._sums = _Sums(0, 0, b"")
        self._position = 0

    def seek(self, position: int) -> int:
        """Where the next read begins."""
        self._position = position
        return position

    def read(self, length: int) -> bytes:
        """Bytes from there on. Raises FileSystemError where they are not those that were written."""
        inner = self._position % self._sector
        start = self._position - inner
        count = -(-(inner + length) // self._sector)
        space = self._opened._logical_fh  # noqa: SLF001  as above
        space.seek(start)
        data = space.read(count * self._sector)
        if self._compute is not None:
            for at in range(0, len(data), self._sector):
                if self._compute(data[at : at + self._sector]) != self._of(start + at):
                    raise FileSystemError(
                        f"the checksum of what stands at logical address {start + at} is wrong"
                    )
        self._position += length
        return data[inner : inner + length]

    def _of(self, address: int) -> bytes | None:
        """The checksum of a sector; None for one that has none."""
        if not self._sums.start <= address < self._sums.end:
            self._sums = self._found(address)
        at = (address - self._sums.start) // self._sector * self._width
        return self._sums.packed[at : at + self._width] if address < self._sums.end else None

    def _found(self, address: int) -> _Sums:
        """The checksums that begin last before a sector, or with it."""
        node = self._opened._read_node(self._root)  # noqa: SLF001  as above
        wanted = (_OBJECT, _TYPE, address)
        while node[_LEVEL_AT]:
            place = _ITEMS_AT + _POINTER_LENGTH * max(0, _last(node, _POINTER_LENGTH, wanted))
            node = self._opened._read_node(number(node, place + _KEY.size, 8))  # noqa: SLF001
        index = _last(node, _ITEM_LENGTH, wanted)
        if index < 0:
            return _Sums(address, address, b"")
        place = _ITEMS_AT + _ITEM_LENGTH * index
        object_, type_, start = _KEY.unpack_from(node, place)
        if (object_, type_) != (_OBJECT, _TYPE):
            return _Sums(address, address, b"")
        offset, length = struct.unpack_from("<II", node, place + _KEY.size)
        packed = node[_ITEMS_AT + offset :][:length]
        return _Sums(start, start + len(packed) // self._width * self._sector, packed)


def _last(node: bytes, length: int, wanted: _Key) -> int:
    """Which of the keys of a node is the last that is no larger; -1 for none. Its items are so long."""

    def key(index: int) -> _Key:
        found: _Key = _KEY.unpack_from(node, _ITEMS_AT + length * index)
        return found

    return bisect_right(range(number(node, _COUNT_AT, 4)), wanted, key=key) - 1
