"""XFS by libfsxfs, whose extents have the right lengths and, as the tests show, wrong places.

A log that was not written back is not replayed: who opens the volume says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.errors import FileSystemError
from vhdx.files.acl import from_xfs
from vhdx.files.posix import PosixTree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    import pyfsxfs

    from vhdx.files.base import Entry, Tell
    from vhdx.files.source import VolumeSource

_LONGEST_VALUE = 64 << 10
_LISTS = {
    "trusted.SGI_ACL_FILE": "system.posix_acl_access",
    "trusted.SGI_ACL_DEFAULT": "system.posix_acl_default",
}


class XfsTree(PosixTree["pyfsxfs.volume", "pyfsxfs.file_entry"]):
    """Files of an XFS."""

    def name_of(self, handle: pyfsxfs.file_entry, directory: Entry) -> str:
        """The name; where it is no UTF-8, which libfsxfs cannot give, one after the inode, which is told."""
        try:
            return super().name_of(handle, directory)
        except OSError:
            name = f"inode {handle.get_inode_number()}"
            self.tell(f"a name in {directory.name!r} is no UTF-8 and cannot be read: shown as {name!r}")
            return name

    def attributes(self, entry: Entry) -> Iterator[tuple[str, bytes]]:
        """The extended attributes: ``security`` by its right name, lists as Linux's."""
        with self.asking(f"the attributes of {entry.name!r}"):
            found = [_attribute(each) for each in self.handle_of(entry).extended_attributes]
        for stored, value in found:
            name = stored.replace("secure.", "security.", 1) if stored.startswith("secure.") else stored
            if name in _LISTS:
                yield _LISTS[name], from_xfs(value)
            else:
                yield name, value


def _attribute(attribute: pyfsxfs.extended_attribute) -> tuple[str, bytes]:
    size = attribute.size
    if size > _LONGEST_VALUE:
        raise FileSystemError(f"an extended attribute of {size} bytes is longer than there can be")
    return attribute.name, attribute.read_buffer_at_offset(size, 0) if size else b""


def open_tree(library: ModuleType, source: VolumeSource, tell: Tell) -> XfsTree:
    """The tree of an XFS."""
    return XfsTree(library.volume(), source, tell)
