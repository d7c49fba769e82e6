"""XFS, read here: libfsxfs has no names that are no UTF-8 and leaves out files in very many pieces.

It gives extents wrong places, too, and no long values of attributes. A log that was not written back is not
replayed: who opens the volume says so.
"""

from __future__ import annotations

from vhdx.errors import FileSystemError
from vhdx.files.acl import from_xfs
from vhdx.files.base import Entry, Kind, kind_of_mode
from vhdx.files.library import LibraryTree
from vhdx.files.placed import PlacedContent
from vhdx.files.xfs_attributes import attributes
from vhdx.files.xfs_fork import Geometry
from vhdx.files.xfs_inode import Inode
from vhdx.files.xfs_names import Name, names_in
from vhdx.filesystems.xfs import recognise
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from vhdx.files.base import Content, Tell
    from vhdx.files.placed import Place
    from vhdx.files.source import VolumeSource

_LONGEST_LINK = 1024
_LINK_HEADER, _LINK_MAGIC = 56, b"XSLM"
_LISTS = {
    "trusted.SGI_ACL_FILE": "system.posix_acl_access",
    "trusted.SGI_ACL_DEFAULT": "system.posix_acl_default",
}


class XfsTree(LibraryTree):
    """Files of an XFS."""

    def __init__(self, source: VolumeSource, tell: Tell) -> None:
        super().__init__(source, tell)
        found = recognise(source.pread, source.get_size())
        if found is None:
            raise FileSystemError("its superblock makes no sense")
        with self.asking("the file system"):
            self._geometry = Geometry.of(found.superblock)
            self.root = self._entry("", self._geometry.root)

    def entries(self, directory: Entry) -> Iterator[Entry]:
        """What is in a directory; what cannot be read is told and left out."""
        for name in self._names(directory):
            found = self._opened(name, directory)
            if found is not None:
                yield found

    def names(self, directory: Entry) -> Iterator[tuple[str, Entry | None]]:
        """The names in a directory, each with its entry where that is a directory itself."""
        for name in self._names(directory):
            if name.kind is not None and name.kind is not Kind.DIRECTORY:
                yield name.text, None
                continue
            found = self._opened(name, directory)
            if found is not None:
                yield name.text, found if found.is_directory else None

    def content(self, entry: Entry, stream: str | None = None) -> Content:
        """The bytes of a file."""
        if stream is not None:
            raise FileNotFoundError(f"{entry.name} has no stream {stream!r}: only files of NTFS have any")
        with self.asking(f"the file {entry.name!r}"):
            places = list(self._places(self._inode(entry.identity)))
        return PlacedContent(self, entry.name, entry.size, places)

    def attributes(self, entry: Entry) -> Iterator[tuple[str, bytes]]:
        """The extended attributes, lists as Linux's."""
        with self.asking(f"the attributes of {entry.name!r}"):
            fork = self._inode(entry.identity).attributes
            found = list(attributes(self.source.pread, self._geometry, fork))
        for name, value in found:
            yield (_LISTS[name], from_xfs(value)) if name in _LISTS else (name, value)

    def _names(self, directory: Entry) -> Iterator[Name]:
        """What stands in a directory, up to where it is damaged, which is told."""
        what = f"the directory {directory.name!r}"
        with self.asking(what):
            blocks = names_in(self.source.pread, self._geometry, self._inode(directory.identity))
        while True:
            try:
                with self.asking(what):
                    names = next(blocks, None)
            except FileSystemError as error:
                self.tell(str(error))
                return
            if names is None:
                return
            yield from names

    def _opened(self, name: Name, directory: Entry) -> Entry | None:
        try:
            with self.asking(f"entry {name.text!r} of the directory {directory.name!r}"):
                return self._entry(name.text, name.inode)
        except FileSystemError as error:
            self.tell(str(error))
            return None

    def _inode(self, number: int) -> Inode:
        return Inode(self.source.pread, self._geometry, number)

    def _entry(self, name: str, number: int) -> Entry:
        found = self._inode(number)
        kind = kind_of_mode(found.mode)
        if kind is None:
            raise FileSystemError(f"inode {number} is of no kind that there is (mode {found.mode:o})")
        return Entry(
            name,
            kind,
            found.size if kind in (Kind.FILE, Kind.SYMLINK) else 0,
            number,
            found.links,
            found.mode & 0o7777,
            found.uid,
            found.gid,
            found.modified,
            found.accessed,
            found.changed,
            found.created,
            self._target(found) if kind is Kind.SYMLINK else None,
            found.device if kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE) else None,
        )

    def _target(self, link: Inode) -> str:
        """Where a symbolic link leads; longer ones stand in blocks, which may have headers."""
        if not 0 < link.size <= _LONGEST_LINK:
            raise FileSystemError(f"a symbolic link of {link.size} bytes is none that there can be")
        stored = link.held
        if stored is None:
            size = self._geometry.block_size
            blocks = [
                self.source.pread(size, extent.offset + index * size)
                for extent in link.extents
                for index in range(min(extent.blocks, _LONGEST_LINK))
                if extent.offset is not None
            ]
            stored = b"".join(block[_LINK_HEADER:] if block[:4] == _LINK_MAGIC else block for block in blocks)
        if len(stored) < link.size:
            raise FileSystemError("a symbolic link is cut off")
        return stored[: link.size].decode("utf-8", "surrogateescape")

    def _places(self, file: Inode) -> Iterator[Place]:
        """All of a file, what was never written as zeros."""
        size, position = self._geometry.block_size, 0
        for first, blocks, offset in file.extents:
            if first * size > position:
                yield None, first * size - position
            yield offset, blocks * size
            position = (first + blocks) * size
        if position < file.size:
            yield None, file.size - position


def open_tree(_library: Any, source: VolumeSource, tell: Tell) -> XfsTree:
    """The tree of an XFS."""
    return XfsTree(source, tell)
