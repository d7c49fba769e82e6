"""The contents of files of a btrfs against their checksums, which its reader does not look at.

Nor is it asked for the tree that holds them: it finds keys and what follows them, but not what precedes them.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from vhdx.errors import FileSystemError
from vhdx.files.btrfs_copies import other_copies
from vhdx.filesystems.area import number
from vhdx.filesystems.btrfs_tree import CHECKSUMS

if TYPE_CHECKING:
    from dissect.btrfs.btrfs import Btrfs

_TREE = 7
_XXH64_LENGTH = 8
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
        self._width = len(compute(b"")) if compute else _XXH64_LENGTH
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
        for at, checksum in zip(range(0, len(data), self._sector), self._checksums(data), strict=True):
            if checksum != self._of(start + at):
                data = data[:at] + self._sound_copy(start + at) + data[at + self._sector :]
        self._position += length
        return data[inner : inner + length]

    def _checksums(self, data: bytes) -> list[bytes]:
        """Of each sector."""
        size = self._sector
        if self._compute is not None:
            return [self._compute(data[at : at + size]) for at in range(0, len(data), size)]
        from vhdx.files.xxh64 import xxh64  # noqa: PLC0415  rare, and numpy is long to import

        return xxh64(data, size)

    def _sound_copy(self, address: int) -> bytes:
        """A sector as another copy has it."""
        for copy in other_copies(self._opened, address, self._sector):
            if self._checksums(copy) == [self._of(address)]:
                return copy
        raise FileSystemError(f"the checksum of what stands at logical address {address} is wrong")

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
            index = _last(node, _POINTER_LENGTH, wanted)
            if index < 0:  # what stands there is no pointer, and may lead back to where it stands
                return _Sums(address, address, b"")
            place = _ITEMS_AT + _POINTER_LENGTH * index
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

    most = (len(node) - _ITEMS_AT) // length
    return bisect_right(range(min(number(node, _COUNT_AT, 4), most)), wanted, key=key) - 1
