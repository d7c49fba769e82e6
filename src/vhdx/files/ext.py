"""ext2, ext3 and ext4 by libfsext, through the replay of their journal where that is needed.

Where libfsext is wrong, as the tests show, it is not asked: it has no names that are no UTF-8, gives extended
attributes once only and their long values as zeros, and reads contents that stand in the inode wrong. Nor is
it where it is slow: `ext_names` lists directories. Inodes that it does not open, encrypted ones, are told and
left out.
"""

from __future__ import annotations

from vhdx.errors import FileSystemError
from vhdx.files.acl import from_ext
from vhdx.files.base import Entry, Kind, kind_of_mode
from vhdx.files.ext_inode import INLINE_DATA, INLINE_FLAG, Inode, inode
from vhdx.files.ext_names import Inodes, names_in
from vhdx.files.library import HeldContent
from vhdx.files.libyal import SPARSE
from vhdx.files.named import NamedTree
from vhdx.filesystems import ext
from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.ext_superblock import Superblock, read_superblock, require_understood
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

    import pyfsext

    from vhdx.files.base import Content, Tell
    from vhdx.files.ext_names import Name
    from vhdx.files.source import Read, VolumeSource

_INLINE_FEATURE = 0x8000
_LISTS = frozenset({"system.posix_acl_access", "system.posix_acl_default"})
_LONGEST_DIRECTORY = 256 << 20


class ExtTree(NamedTree["pyfsext.volume", "pyfsext.file_entry", "Name"]):
    """Files of an ext2, ext3 or ext4."""

    reads_by_extents = True

    def __init__(self, volume: pyfsext.volume, source: VolumeSource, tell: Tell) -> None:
        superblock = _superblock(source.pread, source.get_size())
        self._superblock = superblock
        self._inodes = Inodes(source.pread, superblock)
        super().__init__(volume, source, tell)

    def entry(self, handle: pyfsext.file_entry, name: str) -> Entry:
        """An inode as libfsext tells it."""
        mode, number = handle.get_file_mode(), handle.get_inode_number()
        kind = kind_of_mode(mode)
        if kind is None:
            raise FileSystemError(f"inode {number} is of no kind that there is (mode {mode:o})")
        return Entry(
            name,
            kind,
            handle.get_size() if kind in (Kind.FILE, Kind.SYMLINK) else 0,
            number,
            handle.get_number_of_links(),
            mode & 0o7777,
            handle.get_owner_identifier(),
            handle.get_group_identifier(),
            handle.get_modification_time_as_integer(),
            handle.get_access_time_as_integer(),
            handle.get_inode_change_time_as_integer(),
            handle.get_creation_time_as_integer(),
            handle.get_symbolic_link_target() if kind is Kind.SYMLINK else None,
            handle.get_device_number() if kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE) else None,
            handle,
        )

    def handle_of(self, entry: Entry) -> pyfsext.file_entry:
        """The object of libfsext, made when it is needed."""
        return entry.handle or self.volume.get_file_entry_by_inode(entry.identity)

    def text_of(self, name: Name) -> tuple[str, bool]:
        """A name as text, and whether it may be one of a directory."""
        return name.text, name.kind is None or name.kind is Kind.DIRECTORY

    def plain(self, names: Sequence[Name]) -> list[Entry | None]:
        """The entries of names; None for what wants a look of its own."""
        return self._inodes.entries(names)

    def opened(self, name: Name) -> Entry:
        """The entry of a name by libfsext."""
        return self.entry(self.volume.get_file_entry_by_inode(name.inode), name.text)

    def names_in(self, directory: Entry) -> Iterator[list[Name]]:
        """What stands in a directory, block by block; a block that is damaged is told."""
        for block in self._blocks(directory):
            names: list[Name] = []
            try:
                names.extend(names_in(block))
            except FileSystemError as error:
                self.tell(f"the directory {directory.name!r}: {error}")
            yield names

    def _blocks(self, directory: Entry) -> Iterator[bytes]:
        """The blocks of a directory, or what of them stands in its inode."""
        what, size = f"the directory {directory.name!r}", self._superblock.block_size
        with self.asking(what):
            found = self._inode(directory.identity)
            held = found.inline_entries if found.flags & INLINE_FLAG else ()
            extents = [] if held else list(self._extents(self.handle_of(directory)))
        yield from held
        left = min(found.size, _LONGEST_DIRECTORY)
        for place, length, flags in extents:
            for inner in range(0, min(length, left), size):
                if not flags & SPARSE:
                    with self.asking(what):
                        block = self.source.pread(size, place + inner)
                    yield block
            left = max(0, left - length)

    def _extents(self, handle: pyfsext.file_entry) -> Iterator[tuple[int, int, int]]:
        return (handle.get_extent(index) for index in range(handle.get_number_of_extents()))

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
        return self.volume.get_file_entry_by_inode(holder).read_buffer_at_offset(size, 0)


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


def open_tree(library: ModuleType, source: VolumeSource, tell: Tell) -> ExtTree:
    """The tree of an ext2, ext3 or ext4."""
    return ExtTree(library.volume(), source, tell)
