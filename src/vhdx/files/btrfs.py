"""btrfs by `dissect.btrfs`, where somebody has installed it: its licence is the AGPL, so nothing needs it.

The tree is that of the whole file system: subvolumes are directories where they stand in it, whichever of
them is mounted by default. What its log holds, which is replayed when it is mounted, is not seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vhdx.errors import FileSystemError
from vhdx.files.base import Entry, Kind, kind_of_mode
from vhdx.files.library import LibraryTree, joined

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.files.base import Content, Tell
    from vhdx.files.source import VolumeSource

_WHOLE_TREE = 5
_SUBVOLUME_SHIFT = 48
"""Inodes are numbered in each subvolume anew."""
_ATTRIBUTE_KEY = 24
_MINOR_BITS = 20


class BtrfsTree(LibraryTree):
    """Files of a btrfs."""

    failures = (Exception,)
    """Its reader is written in Python: a damaged structure may end in any error of that."""

    def __init__(self, library: Any, source: VolumeSource, tell: Tell) -> None:
        super().__init__(source, tell)
        with self.asking("the file system"):
            self._opened = library.Btrfs(source)
            self.root = self._entry("", self._opened.open_subvolume(_WHOLE_TREE).root)

    def entries(self, directory: Entry) -> Iterator[Entry]:
        """What is in a directory; what cannot be read is told and left out."""
        listed = directory.handle.iterdir()
        what = f"the directory {directory.name!r}"
        while True:
            with self.asking(what):
                name, handle = next(listed, (None, None))
            if name is None:
                return
            if name in (".", ".."):
                continue
            try:
                with self.asking(f"entry {name!r} of the directory {directory.name!r}"):
                    found = self._entry(name, handle)
            except FileSystemError as error:
                self.tell(str(error))
                continue
            yield found

    def content(self, entry: Entry, stream: str | None = None) -> Content:
        """The bytes of a file."""
        if stream is not None:
            raise FileNotFoundError(f"{entry.name} has no stream {stream!r}: only files of NTFS have any")
        with self.asking(f"the file {entry.name!r}"):
            return _BtrfsContent(self, entry)

    def attributes(self, entry: Entry) -> Iterator[tuple[str, bytes]]:
        """The extended attributes."""
        handle = entry.handle
        with self.asking(f"the attributes of {entry.name!r}"):
            cursor = handle.subvolume.tree.cursor()
            rows = cursor.iter(handle.inum, _ATTRIBUTE_KEY, 0, ignore_offset=True)
            found = [pair for _, data in rows for pair in _attributes(bytes(data))]
        yield from found

    def _entry(self, name: str, handle: Any) -> Entry:
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
        self._file = entry.handle.open()
        self.size = entry.size

    def pread(self, length: int, offset: int) -> bytes:
        """The bytes of a range, as far as the file reaches."""
        wanted = max(0, min(length, self.size - offset))
        with self._tree.asking(f"the file {self._entry.name!r}"):
            self._file.seek(offset)
            data: bytes = self._file.read(wanted)
        if len(data) != wanted:
            raise FileSystemError(
                f"the file {self._entry.name!r} ends at {offset + len(data)}, before its size"
            )
        return data

    def sent(self, output: int, length: int, offset: int) -> int:  # noqa: ARG002  as of other contents
        """None: only its reader knows where they stand."""
        return 0

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """The runs that are stored."""
        yield from joined(self._runs(), self.size)

    def _runs(self) -> Iterator[tuple[int, int]]:
        extents = getattr(self._file, "extents", None)
        if extents is None:  # in the inode's own leaf
            yield 0, self.size
            return
        position = 0
        for extent in extents:
            if extent.disk_offset:
                yield position, extent.length
            position += extent.length


def _attributes(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Several of them where the hashes of their names are the same."""
    position = 0
    while position + 30 <= len(data):
        value_length = int.from_bytes(data[position + 25 : position + 27], "little")
        name_length = int.from_bytes(data[position + 27 : position + 29], "little")
        start = position + 30
        end = start + name_length + value_length
        if end > len(data):
            raise FileSystemError("an extended attribute is cut off")
        name = data[start : start + name_length].decode("utf-8", "surrogateescape")
        yield name, data[start + name_length : end]
        position = end


def open_tree(library: Any, source: VolumeSource, tell: Tell) -> BtrfsTree:
    """The tree of a btrfs."""
    return BtrfsTree(library, source, tell)
