"""Inodes of XFS by number: what they say of a file, and their forks."""

from __future__ import annotations

import struct
from functools import cached_property

from vhdx.errors import FileSystemError
from vhdx.files.xfs_fork import DEVICE, LOCAL, Fork
from vhdx.filesystems.area import big_number
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.files.source import Read
    from vhdx.files.xfs_fork import Extent, Geometry

_CORE = struct.Struct(">2sHBBHIII12xQQQQ18xBB6xH")
_CORE_LENGTH, _OLD_CORE_LENGTH = 176, 100
_MADE_AT, _NUMBER_AT, _FLAGS2_AT = 144, 152, 120
_BIG_TIMES, _BIG_COUNTS = 8, 16
_COUNTS = {False: (slice(76, 80), slice(80, 82)), True: (slice(24, 32), slice(76, 80))}
"""Where the numbers of pieces of both forks stand, by whether these may be big."""
_BIG_EPOCH = 1 << 31
"""Seconds by which times that count nanoseconds begin earlier."""
_ON_REALTIME_DEVICE = 1
_MINOR_BITS = 18


class Inode:
    """An inode. Raises FileSystemError where there is none of this number."""

    def __init__(self, read: Read, geometry: Geometry, number: int) -> None:
        self.number = number
        self._read, self._geometry = read, geometry
        block, index = number >> geometry.inodes_shift, number & ((1 << geometry.inodes_shift) - 1)
        size = geometry.inode_size
        self._raw = raw = read(size, geometry.offset_of(block) + index * size)
        if len(raw) < size or raw[:2] != b"IN":
            raise FileSystemError(f"there is no inode {number}")
        (_, self.mode, version, self._form, old_links, self.uid, self.gid, links, accessed, modified, changed,
         length, self._fork, self._attributes_form, self._flags) = _CORE.unpack_from(raw)  # fmt: skip
        self.size: int = length
        self.links: int = links if version > 1 else old_links
        self._is_new = version == 3
        if self._is_new and big_number(raw, _NUMBER_AT, 8) != number:
            raise FileSystemError(f"the inode at the place of {number} is another one")
        self._flags2 = big_number(raw, _FLAGS2_AT, 8) if self._is_new else 0
        self.accessed, self.modified, self.changed = (
            self._time(accessed), self._time(modified), self._time(changed)
        )  # fmt: skip
        self._start = _CORE_LENGTH if self._is_new else _OLD_CORE_LENGTH
        self._end = self._start + self._fork * 8 if self._fork else size

    @cached_property
    def data(self) -> Fork:
        """Its contents."""
        return Fork(
            self._read, self._geometry, self._form, self._raw[self._start : self._end], self._count(0)
        )

    @cached_property
    def attributes(self) -> Fork | None:
        """Its extended attributes."""
        if not self._fork:
            return None
        return Fork(self._read, self._geometry, self._attributes_form, self._raw[self._end :], self._count(1))

    def _count(self, fork: int) -> int:
        """In how many pieces a fork stands."""
        return int.from_bytes(self._raw[_COUNTS[bool(self._flags2 & _BIG_COUNTS)][fork]], "big")

    @property
    def created(self) -> int | None:
        """When it was made, which only newer ones say."""
        return self._time(big_number(self._raw, _MADE_AT, 8)) if self._is_new else None

    @property
    def device(self) -> tuple[int, int] | None:
        """Major and minor number of a device."""
        if self.data.form != DEVICE:
            return None
        number = big_number(self.data.raw, 0, 4)
        return number >> _MINOR_BITS, number & (1 << _MINOR_BITS) - 1

    @property
    def held(self) -> bytes | None:
        """Contents that stand in the inode itself."""
        return self.data.raw[: self.size] if self.data.form == LOCAL else None

    @property
    def extents(self) -> list[Extent]:
        """Where its contents stand."""
        if self._flags & _ON_REALTIME_DEVICE:
            raise FileSystemError("its contents are on the realtime device, which is another one")
        return self.data.extents

    def _time(self, stored: int) -> int:
        if self._flags2 & _BIG_TIMES:
            return stored - _BIG_EPOCH * 10**9
        seconds = stored >> 32
        return (seconds - (seconds >> 31 << 32)) * 10**9 + (stored & 0xFFFFFFFF)
