"""btrfs by `dissect.btrfs`, where somebody has installed it: its licence is the AGPL, so nothing needs it.

The tree is that of the whole file system: subvolumes are directories where they stand in it, whichever of
them is mounted by default; in snapshots, which do not hold them, they are empty directories, as Linux shows
them. What its log holds, which is replayed when it is mounted, is not seen.
"""

from __future__ import annotations

import struct
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from vhdx.errors import FileSystemError
from vhdx.files.base import Entry, Kind, kind_of_mode
from vhdx.files.btrfs_sums import CheckedSpace
from vhdx.files.library import LibraryTree, joined
from vhdx.filesystems.area import number
from vhdx.filesystems.btrfs_tree import checksum_fits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import Any, BinaryIO

    from dissect.btrfs.btrfs import Btrfs, INode
    from dissect.btrfs.stream import Extent

    from vhdx.files.base import Content, Tell
    from vhdx.files.source import VolumeSource

_WHOLE_TREE = 5
_SUBVOLUME_SHIFT = 48
"""Inodes are numbered in each subvolume anew."""
_ELSEWHERE = 1 << 47
"""Marks the numbers of empty directories that stand for subvolumes."""
_INODE_KEY, _ATTRIBUTE_KEY, _INDEX_KEY, _ROOT_KEY, _ROOT_REF_KEY = 1, 24, 96, 132, 156
_HEAD = struct.Struct("<QB8x8xHHx")  # what it is the name of: object, type; lengths of value and name
_COUNT_AT, _LEVEL_AT, _POINTERS_AT, _POINTER = 0x60, 0x64, 101 + 17, 33
"""Where a node has these numbers; the pointers of one above the leaves stand in its items."""
_MINOR_BITS = 20
_UNCHECKED = 1
"""The flag of files whose contents have no checksums."""


class BtrfsTree(LibraryTree):
    """Files of a btrfs."""

    failures = (Exception,)
    """Its reader is written in Python: a damaged structure may end in any error of that."""

    def __init__(self, library: ModuleType, source: VolumeSource, tell: Tell) -> None:
        super().__init__(source, tell)
        with self.asking("the file system"):
            self._opened = _checking(library.Btrfs)(source)
            self.root = self._entry("", self._opened.open_subvolume(_WHOLE_TREE).root)

    @cached_property
    def space(self) -> CheckedSpace:
        """What the extents of files are read from."""
        return CheckedSpace(self._opened)

    def entries(self, directory: Entry) -> Iterator[Entry]:
        """What is in a directory; what cannot be read is told and left out."""
        handle: INode | None = directory.handle
        if handle is None:
            return
        what = f"the directory {directory.name!r}"
        with self.asking(what):
            rows = handle.subvolume.tree.cursor().iter(handle.inum, _INDEX_KEY, 0, ignore_offset=True)
        while True:
            with self.asking(what):
                _, data = next(rows, (None, b""))
            if not data:
                return
            try:
                with self.asking(f"an entry of the directory {directory.name!r}"):
                    found = [self._listed(handle, item) for item in _items(bytes(data))]
            except FileSystemError as error:
                self.tell(str(error))
                continue
            yield from found

    def _listed(self, handle: INode, item: _Item) -> Entry:
        """What an entry of a directory stands for."""
        name = item.name.decode("utf-8", "surrogateescape")
        if item.type == _INODE_KEY:
            return self._entry(name, handle.subvolume.inode(item.object))
        if item.type != _ROOT_KEY:
            raise FileSystemError(f"entry {name!r} is of no kind that there is")
        if self._is_at_home(handle, item):
            return self._entry(name, self._opened.open_subvolume(item.object).root)
        number = handle.subvolume.objectid << _SUBVOLUME_SHIFT | _ELSEWHERE | item.object
        return Entry(name, Kind.DIRECTORY, 0, number, 1, 0o755, 0, 0)

    def _is_at_home(self, handle: INode, item: _Item) -> bool:
        """Whether a subvolume knows of this entry; those in snapshots and of what is deleted it does not."""
        try:
            _, data = self._opened._root_tree.find(  # noqa: SLF001  nothing public tells
                handle.subvolume.objectid, _ROOT_REF_KEY, item.object
            )
        except KeyError:
            return False
        return bytes(data[:8]) == handle.inum.to_bytes(8, "little") and bytes(data[18:]) == item.name

    def content(self, entry: Entry, stream: str | None = None) -> Content:
        """The bytes of a file."""
        if stream is not None:
            raise FileNotFoundError(f"{entry.name} has no stream {stream!r}: only files of NTFS have any")
        with self.asking(f"the file {entry.name!r}"):
            return _BtrfsContent(self, entry)

    def attributes(self, entry: Entry) -> Iterator[tuple[str, bytes]]:
        """The extended attributes."""
        handle: INode | None = entry.handle
        if handle is None:
            return
        with self.asking(f"the attributes of {entry.name!r}"):
            cursor = handle.subvolume.tree.cursor()
            rows = cursor.iter(handle.inum, _ATTRIBUTE_KEY, 0, ignore_offset=True)
            found = [
                (item.name.decode("utf-8", "surrogateescape"), item.value)
                for _, data in rows
                for item in _items(bytes(data))
            ]
        yield from found

    def _entry(self, name: str, handle: INode) -> Entry:
        inode = handle.inode
        kind = kind_of_mode(inode.mode)
        if kind is None:
            raise FileSystemError(f"inode {handle.inum} is of no kind that there is (mode {inode.mode:o})")
        is_device = kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)
        return Entry(
            name,
            kind,
            handle.size if kind in (Kind.FILE, Kind.SYMLINK) else 0,
            handle.subvolume.objectid << _SUBVOLUME_SHIFT | handle.inum,
            inode.nlink,
            inode.mode & 0o7777,
            handle.uid,
            handle.gid,
            handle.mtime_ns,
            handle.atime_ns,
            handle.ctime_ns,
            handle.otime_ns or None,
            handle.link if kind is Kind.SYMLINK else None,
            (inode.rdev >> _MINOR_BITS, inode.rdev & (1 << _MINOR_BITS) - 1) if is_device else None,
            handle,
        )


class _BtrfsContent:
    """The bytes of a file, wherever they stand and however they are compressed."""

    def __init__(self, tree: BtrfsTree, entry: Entry) -> None:
        self._tree, self._entry = tree, entry
        handle: INode = entry.handle
        file: Any = handle.open()
        if not handle.inode.flags & _UNCHECKED and hasattr(file, "extents"):
            file._fh = tree.space  # noqa: SLF001  what it reads extents from
        self._file: BinaryIO = file
        self.size = entry.size

    def pread(self, length: int, offset: int) -> bytes:
        """The bytes of a range, as far as the file reaches."""
        wanted = max(0, min(length, self.size - offset))
        with self._tree.asking(f"the file {self._entry.name!r}"):
            self._file.seek(offset)
            data = self._read(wanted)
        if len(data) != wanted:
            raise FileSystemError(
                f"the file {self._entry.name!r} ends at {offset + len(data)}, before its size"
            )
        return data

    def _read(self, length: int) -> bytes:
        """The next bytes. What unpacks LZO ends in a panic of Rust, which is no Exception, at damage."""
        try:
            return self._file.read(length)
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            raise FileSystemError(f"what is compressed in {self._entry.name!r} is damaged") from error

    def sent(self, output: int, length: int, offset: int) -> int:  # noqa: ARG002  as of other contents
        """None: only its reader knows where they stand."""
        return 0

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """The runs that are stored."""
        yield from joined(self._runs(), self.size)

    def _runs(self) -> Iterator[tuple[int, int]]:
        extents: list[Extent] | None = getattr(self._file, "extents", None)
        if extents is None:  # in the inode's own leaf
            yield 0, self.size
            return
        position = 0
        for extent in extents:
            if extent.disk_offset:
                yield position, extent.length
            position += extent.length


class _Item(NamedTuple):
    """An entry of a directory, with what it is the name of, or an extended attribute, with its value."""

    name: bytes
    value: bytes
    type: int
    object: int


def _items(data: bytes) -> Iterator[_Item]:
    """Several of them where the hashes of their names are the same."""
    position = 0
    while position + _HEAD.size <= len(data):
        object_, type_, value_length, name_length = _HEAD.unpack_from(data, position)
        start = position + _HEAD.size
        position = start + name_length + value_length
        if position > len(data):
            raise FileSystemError("it is cut off")
        yield _Item(data[start : start + name_length], data[start + name_length : position], type_, object_)


def _checking(base: type[Btrfs]) -> type[Btrfs]:
    """The library's class, that believes no node whose checksum or level is wrong.

    It checks neither itself: it would go round for ever in a tree that leads back into itself.
    """

    class Checking(base):  # type: ignore[misc, valid-type]  # which is known when it is there
        def _read_node(self, address: int) -> bytes:
            node: bytes = super()._read_node(address)
            if len(node) != self.node_size or not checksum_fits(node, self.sb.csum_type):
                raise FileSystemError(f"the checksum of the node at logical address {address} is wrong")
            levels: dict[int, int] = self.__dict__.setdefault("_levels", {})
            level, count = node[_LEVEL_AT], number(node, _COUNT_AT, 4)
            below = [
                number(node, place, 8) for place in range(_POINTERS_AT, len(node) - 16, _POINTER)[:count]
            ]
            for place, said in ((address, level), *((each, level - 1) for each in below if level)):
                if levels.setdefault(place, said) != said:
                    raise FileSystemError(f"the node at logical address {place} is on no level of its own")
            return node

    return Checking


def open_tree(library: ModuleType, source: VolumeSource, tell: Tell) -> BtrfsTree:
    """The tree of a btrfs."""
    return BtrfsTree(library, source, tell)
