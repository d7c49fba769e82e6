"""What libfsext and libfsxfs tell alike: inodes of POSIX as entries."""

from __future__ import annotations

from vhdx.errors import FileSystemError
from vhdx.files.base import Entry, Kind, kind_of_mode
from vhdx.files.handles import P, V
from vhdx.files.libyal import LibyalTree

_PERMISSIONS = 0o7777


class PosixTree(LibyalTree[V, P]):
    """A tree whose objects have the fields of an inode."""

    def entry(self, handle: P, name: str) -> Entry:
        """The inode as an entry."""
        mode = handle.get_file_mode()
        kind = kind_of_mode(mode)
        number = handle.get_inode_number()
        if kind is None:
            raise FileSystemError(f"inode {number} is of no kind that there is (mode {mode:o})")
        is_link = kind is Kind.SYMLINK
        is_device = kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)
        return Entry(
            name,
            kind,
            handle.get_size() if kind is Kind.FILE or is_link else 0,
            number,
            handle.get_number_of_links(),
            mode & _PERMISSIONS,
            handle.get_owner_identifier(),
            handle.get_group_identifier(),
            handle.get_modification_time_as_integer(),
            handle.get_access_time_as_integer(),
            handle.get_inode_change_time_as_integer(),
            handle.get_creation_time_as_integer(),
            handle.get_symbolic_link_target() if is_link else None,
            handle.get_device_number() if is_device else None,
            handle,
        )
