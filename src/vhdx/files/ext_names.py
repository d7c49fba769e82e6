"""What stands in the blocks of a directory of ext2, ext3 and ext4, and the inodes behind it, many at once.

libfsext opens each entry for itself, which takes several times as long; it gets what is not plain here.
"""

from __future__ import annotations

import struct

from vhdx.errors import FileSystemError
from vhdx.files.base import Entry, Kind
from vhdx.filesystems.ext_groups import inode_table
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.base import Read
    from vhdx.filesystems.ext_superblock import Superblock

_HEAD = struct.Struct("<IHBB")  # inode, length of the entry, length of the name, type
_LARGEST_BLOCK = 65536
_KINDS = (
    None,
    Kind.FILE,
    Kind.DIRECTORY,
    Kind.CHARACTER_DEVICE,
    Kind.BLOCK_DEVICE,
    Kind.FIFO,
    Kind.SOCKET,
    Kind.SYMLINK,
)
_INODE = struct.Struct("<HHIiii4xHH4xI72xI8xHH4xH")
_MORE = struct.Struct("<IIIiI")  # of the times of change, contents, access; when it was made
_MORE_AT = 0x84
_SHORT_INODE = 128
_END_OF_TIMES = 24
"""Bytes behind the first 128 of an inode that hold nanoseconds and the time at which it was made."""
_ENCRYPTED = 0x800
_PLAIN = {0o100000: Kind.FILE, 0o040000: Kind.DIRECTORY}
_PAGE = 32 << 10
_NOT_NAMES = (".", "..")
"""A sound file system has them as links, not as entries."""


class Name(NamedTuple):
    """A name in a directory; ``kind`` is None where only the inode says it."""

    text: str
    inode: int
    kind: Kind | None


def names_in(block: bytes) -> Iterator[Name]:
    """What stands in a block of a directory; those of an index look like one that is empty.

    Raises FileSystemError at the first entry that leaves it.
    """
    position, end, unpack = 0, len(block), _HEAD.unpack_from
    while position + 8 <= end:
        number, length, size, kind = unpack(block, position)
        if length in (0, _LARGEST_BLOCK - 1) and end == _LARGEST_BLOCK:
            length = _LARGEST_BLOCK
        if length < 8 + size or position + length > end:
            raise FileSystemError("a block of it is damaged")
        if number and size:
            name = block[position + 8 : position + 8 + size].decode("utf-8", "surrogateescape")
            if name not in _NOT_NAMES:
                yield Name(name, number, _KINDS[kind] if kind < len(_KINDS) else None)
        position += length


class Inodes:
    """Inodes by number, read a page of their table at once."""

    def __init__(self, read: Read, superblock: Superblock) -> None:
        self._read, self._superblock = read, superblock
        self._group = self._first = self._base = -1
        self._table = 0
        self._page = b""

    def entry(self, name: str, number: int) -> Entry | None:
        """A file or directory as an entry, to be opened by its number; None for what is not that plain.

        Raises FileSystemError, NotFreeError.
        """
        raw, at = self._found(number)
        mode, uid, size, *times, gid, links, flags, high, uid_high, gid_high, extra = _INODE.unpack_from(
            raw, at
        )
        kind = _PLAIN.get(mode & 0o170000)
        if kind is None or flags & _ENCRYPTED:
            return None
        accessed, changed, modified = times
        created, changed_more, modified_more, accessed_more = None, 0, 0, 0
        if extra >= _END_OF_TIMES:
            changed_more, modified_more, accessed_more, made, made_more = _MORE.unpack_from(
                raw, at + _MORE_AT
            )
            created = _time(made, made_more)
        return Entry(
            name,
            kind,
            size | high << 32 if kind is Kind.FILE else 0,
            number,
            links,
            mode & 0o7777,
            uid | uid_high << 16,
            gid | gid_high << 16,
            _time(modified, modified_more),
            _time(accessed, accessed_more),
            _time(changed, changed_more),
            created,
        )

    def _found(self, number: int) -> tuple[bytes, int]:
        """What holds an inode, and where in it."""
        superblock = self._superblock
        if not 0 < number <= superblock.inodes:
            raise FileSystemError(f"there is no inode {number}")
        size = superblock.inode_size
        group, index = divmod(number - 1, superblock.group_inodes)
        first, inner = divmod(index * size, _PAGE)
        if (group, first) != (self._group, self._first):
            if group != self._group:
                self._table = inode_table(self._read, superblock, group) * superblock.block_size
            length = min(_PAGE, superblock.group_inodes * size - first * _PAGE)
            self._page = self._read(length, self._table + first * _PAGE)
            if len(self._page) < length:
                raise FileSystemError(f"inode {number} lies behind the end of the volume")
            self._group, self._first = group, first
        if size > _SHORT_INODE:
            return self._page, inner
        return self._page[inner : inner + size] + bytes(_INODE.size - size), 0  # as if nothing more were kept


def _time(seconds: int, more: int) -> int:
    """Nanoseconds since 1970: two bits of what stands beside them are further ones of the seconds."""
    return (seconds + ((more & 3) << 32)) * 10**9 + (more >> 2)
