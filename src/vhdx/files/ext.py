"""ext2, ext3 and ext4 by libfsext, through the replay of their journal where that is needed.

Where libfsext is wrong, as the tests show, it is not asked: it has no names that are no UTF-8, gives extended
attributes once only and their long values as zeros, and reads contents that stand in the inode wrong. Inodes
that it does not open, encrypted ones and some that are full of contents, are told and left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vhdx.errors import FileSystemError
from vhdx.files.acl import from_ext
from vhdx.files.ext_inode import INLINE_DATA, INLINE_FLAG, Inode, inode
from vhdx.files.libyal import HeldContent
from vhdx.files.posix import PosixTree
from vhdx.filesystems import ext
from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.ext_superblock import Superblock, read_superblock, require_understood

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.files.base import Content, Entry, Tell
    from vhdx.files.source import Read, VolumeSource

_INLINE_FEATURE = 0x8000
_LISTS = frozenset({"system.posix_acl_access", "system.posix_acl_default"})
_LONGEST_DIRECTORY = 256 << 20


class ExtTree(PosixTree):
    """Files of an ext2, ext3 or ext4."""

    reads_by_extents = True

    def __init__(self, library: Any, source: VolumeSource, tell: Tell) -> None:
        superblock = _superblock(source.pread, source.get_size())
        self._superblock = superblock
        super().__init__(library, source, tell)

    def name_of(self, handle: Any, directory: Entry) -> str:
        """The name, also where libfsext cannot give it."""
        try:
            return super().name_of(handle, directory)
        except OSError:
            number = handle.get_inode_number()
            for raw, place in self._raw_names(directory.handle):
                if place == number and not _is_utf8(raw):
                    return raw.decode("utf-8", "surrogateescape")
            raise

    def content(self, entry: Entry, stream: str | None = None) -> Content:
        """The bytes of a file."""
        if self._superblock.incompat & _INLINE_FEATURE and stream is None:
            found = self._inode(entry.identity)
            if found.flags & INLINE_FLAG:
                return self._inline_content(entry, found)
        return super().content(entry, stream)

    def attributes(self, entry: Entry) -> Iterator[tuple[str, bytes]]:
        """The extended attributes, lists in Linux's form, without what only is stored as one."""
        with self.asking(f"the attributes of {entry.name!r}"):
            found = [
                (each.name, each.value if each.value is not None else self._value(each.holder, each.size))
                for each in self._inode(entry.identity).attributes()
                if each.name != INLINE_DATA
            ]
        for name, value in found:
            yield name, from_ext(value) if name in _LISTS else value

    def _inline_content(self, entry: Entry, found: Inode) -> Content:
        with self.asking(f"the file {entry.name!r}"):
            data = found.inline_data
        if len(data) < entry.size:
            raise FileSystemError(f"the file {entry.name!r} ends at {len(data)}, before its size")
        return HeldContent(data[: entry.size])

    def _inode(self, number: int) -> Inode:
        with self.asking(f"inode {number}"):
            return inode(self.source.pread, self._superblock, number)

    def _value(self, holder: int, size: int) -> bytes:
        """A value that has an inode of its own."""
        found: bytes = self.volume.get_file_entry_by_inode(holder).read_buffer_at_offset(size, 0)
        return found

    def _raw_names(self, handle: Any) -> Iterator[tuple[bytes, int]]:
        """Name and inode of what stands in a directory's blocks; index blocks look like unused entries."""
        left = _LONGEST_DIRECTORY
        for index in range(handle.get_number_of_extents()):
            offset, length, _ = handle.get_extent(index)
            left -= length
            if left < 0:
                return
            yield from _names_in(self.source.pread(length, offset))


def _names_in(blocks: bytes) -> Iterator[tuple[bytes, int]]:
    position = 0
    while position + 8 <= len(blocks):
        number = int.from_bytes(blocks[position : position + 4], "little")
        length = int.from_bytes(blocks[position + 4 : position + 6], "little")
        if length < 8:
            return
        if number:
            yield blocks[position + 8 : position + 8 + blocks[position + 6]], number
        position += length


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _superblock(read: Read, size: int) -> Superblock:
    """The superblock, understood. Raises FileSystemError."""
    superblock = read_superblock(read, size)
    if superblock is None:
        raise FileSystemError("its superblock makes no sense")
    try:
        require_understood(superblock)
    except NotFreeError as error:
        raise FileSystemError(f"{superblock.kind}: {error.reason}") from error
    return superblock


def prepared(read: Read, size: int, tell: Tell) -> Read:
    """The volume as it is once its journal is replayed; as it stands, and told, where that cannot be."""
    superblock = _superblock(read, size)
    try:
        return ext.RecognisedExt(read, superblock).trusted().read
    except NotFreeError as error:
        tell(f"{superblock.kind}: {error.reason}; its files are shown as they stand on the disk")
        return read


def open_tree(library: Any, source: VolumeSource, tell: Tell) -> ExtTree:
    """The tree of an ext2, ext3 or ext4."""
    return ExtTree(library, source, tell)
