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
    from collections.abc import Iterable, Iterator

    from vhdx.filesystems.base import Read
    from vhdx.filesystems.ext_superblock import Superblock

_HEAD = struct.Struct("<IHBB")  # inode, length of the entry, length of the name, type
_LARGEST_BLOCK = 65536
_KINDS: tuple[Kind | None, ...] = (
    None,
    Kind.FILE,
    Kind.DIRECTORY,
    Kind.CHARACTER_DEVICE,
    Kind.BLOCK_DEVICE,
    Kind.FIFO,
    Kind.SOCKET,
    Kind.SYMLINK,
    *[None] * 248,
)
_INODE = struct.Struct("<HHIiii4xHH4xI72xI8xHH4xH2xIIIiI")
_END_OF_TIMES = 24
"""Bytes behind the first 128 of an inode that hold nanoseconds and the time at which it was made."""
_ENCRYPTED = 0x800
_PLAIN = {0o100000: Kind.FILE, 0o040000: Kind.DIRECTORY}
_PAGE = 32 << 10
_MOST_PAGES = 64
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
    position, end, unpack, new = 0, len(block), _HEAD.unpack_from, tuple.__new__
    while position + 8 <= end:
        number, length, size, kind = unpack(block, position)
        if length in (0, _LARGEST_BLOCK - 1) and end == _LARGEST_BLOCK:
            length = _LARGEST_BLOCK
        if length < 8 + size or position + length > end:
            raise FileSystemError("a block of it is damaged")
        if number and size:
            name = block[position + 8 : position + 8 + size].decode("utf-8", "surrogateescape")
            if size > 2 or name not in _NOT_NAMES:
                yield new(Name, (name, number, _KINDS[kind]))
        position += length


class Inodes:
    """Inodes by number, read a page of their table at once; some pages are kept."""

    def __init__(self, read: Read, superblock: Superblock) -> None:
        self._read, self._superblock = read, superblock
        self._size = max(superblock.inode_size, _INODE.size)
        self._pages: dict[tuple[int, int], bytes] = {}

    def entries(self, names: Iterable[Name]) -> list[Entry | None]:
        """The files and directories of names, to be opened by number; None for what is not that plain.

        Raises FileSystemError, NotFreeError. Written for a hundred thousand of them.
        """
        found: list[Entry | None] = []
        unpack, size, new = _INODE.unpack_from, self._size, tuple.__new__
        page, first, end = b"", 0, 0
        for name, number, _ in names:
            if not first <= number < end:
                page, first = self._around(number)
                end = first + len(page) // size
            (
                mode, uid, length, accessed, changed, modified, gid, links, flags, high, uid_high, gid_high,
                extra, changed_more, modified_more, accessed_more, made, made_more,
            ) = unpack(page, (number - first) * size)  # fmt: skip
            kind = _PLAIN.get(mode & 0o170000)
            if kind is None or flags & _ENCRYPTED:
                found.append(None)
                continue
            if extra < _END_OF_TIMES:
                changed_more = modified_more = accessed_more = 0
            fields = (
                name,
                kind,
                length | high << 32 if kind is Kind.FILE else 0,
                number,
                links,
                mode & 0o7777,
                uid | uid_high << 16,
                gid | gid_high << 16,
                # two bits of what stands beside the seconds are further ones of them
                (modified + ((modified_more & 3) << 32)) * 1_000_000_000 + (modified_more >> 2),
                (accessed + ((accessed_more & 3) << 32)) * 1_000_000_000 + (accessed_more >> 2),
                (changed + ((changed_more & 3) << 32)) * 1_000_000_000 + (changed_more >> 2),
                None
                if extra < _END_OF_TIMES
                else (made + ((made_more & 3) << 32)) * 1_000_000_000 + (made_more >> 2),
                None,
                None,
                None,
            )
            found.append(new(Entry, fields))
        return found

    def _around(self, number: int) -> tuple[bytes, int]:
        """The page that holds an inode, and the number of the first one in it."""
        superblock = self._superblock
        if not 0 < number <= superblock.inodes:
            raise FileSystemError(f"there is no inode {number}")
        group, index = divmod(number - 1, superblock.group_inodes)
        per_page = _PAGE // superblock.inode_size
        start = index // per_page * per_page
        page = self._pages.get((group, start))
        if page is None:
            if len(self._pages) >= _MOST_PAGES:
                self._pages.clear()
            page = self._pages[group, start] = self._page(group, start)
        return page, group * superblock.group_inodes + start + 1

    def _page(self, group: int, start: int) -> bytes:
        superblock = self._superblock
        table, size = (
            inode_table(self._read, superblock, group) * superblock.block_size,
            superblock.inode_size,
        )
        length = min(_PAGE, (superblock.group_inodes - start) * size)
        page = self._read(length, table + start * size)
        if len(page) < length:
            raise FileSystemError(f"inodes of group {group} lie behind the end of the volume")
        if size == self._size:
            return page
        return b"".join(page[at : at + size].ljust(self._size, b"\0") for at in range(0, length, size))
