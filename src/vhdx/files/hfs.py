"""HFS+ and HFSX by libfshfs, as Linux shows them: composed names, nothing of the file system's own.

The resource fork and Finder's information are attributes, as on macOS; all are called ``user.``, as ``osx.``
is nothing that other file systems take. Names compare as they are written, also where the volume would not.
Files that macOS compressed are shown as what they were. Hard links of directories, which libfshfs takes for
empty files, are the directories: `hfs_catalogue` says which.
"""

from __future__ import annotations

import unicodedata
from functools import cached_property

from vhdx.errors import FileSystemError
from vhdx.files.base import Entry, Kind, kind_of_mode
from vhdx.files.hfs_catalogue import Catalogue
from vhdx.files.libyal import LibyalTree
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    import pyfshfs

    from vhdx.files.base import Tell
    from vhdx.files.handles import Readable
    from vhdx.files.source import VolumeSource

    _Value = pyfshfs.extended_attribute | pyfshfs.data_stream

_EPOCH = 2_082_844_800
"""Seconds from 1904 to 1970."""
_LINKED_DIRECTORIES = ".HFS+ Private Directory Data\r"
_OWN = ("\u2400\u2400\u2400\u2400HFS+ Private Data", _LINKED_DIRECTORIES)
"""Directories of the root in which it keeps what has several names, NUL as libfshfs writes it."""
_COMPRESSION = "com.apple.decmpfs"
_COMPRESSION_HEADER = 16
_IN_RESOURCES = (4, 8, 10, 12)
"""How what is compressed in the resource fork is compressed."""
_ELSEWHERE = 5
_RESOURCES = "user.com.apple.ResourceFork"
_LONGEST_VALUE = 64 << 10


class HfsTree(LibyalTree["pyfshfs.volume", "pyfshfs.file_entry"]):
    """Files of an HFS+ or HFSX."""

    def entry(self, handle: pyfshfs.file_entry, name: str) -> Entry:
        """A record of the catalogue as an entry."""
        mode = handle.get_file_mode() or 0
        kind = kind_of_mode(mode) or (Kind.DIRECTORY if _is_directory(handle) else Kind.FILE)
        is_sized = kind in (Kind.FILE, Kind.SYMLINK)
        is_device = kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)
        return Entry(
            name,
            kind,
            handle.get_size() if is_sized else 0,
            handle.get_identifier(),
            1 if kind is Kind.DIRECTORY else handle.get_number_of_links() or 1,
            mode & 0o7777 if mode else None,
            handle.get_owner_identifier() if mode else None,
            handle.get_group_identifier() if mode else None,
            _nanoseconds(handle.get_modification_time_as_integer()),
            _nanoseconds(handle.get_access_time_as_integer()),
            _nanoseconds(handle.get_entry_modification_time_as_integer()),
            _nanoseconds(handle.get_creation_time_as_integer()),
            handle.get_symbolic_link_target() if kind is Kind.SYMLINK else None,
            _parts(handle.get_device_number()) if is_device else None,
            handle,
        )

    def name_of(self, handle: pyfshfs.file_entry, directory: Entry) -> str:
        """The name with composed characters and, as POSIX sees it, a colon for each slash."""
        return unicodedata.normalize("NFC", super().name_of(handle, directory)).replace("/", ":")

    def entries(self, directory: Entry) -> Iterator[Entry]:
        """What is in a directory, without the file system's own directories."""
        is_root = directory.identity == self.root.identity
        with self.asking(f"the directory {directory.name!r}"):
            links = self._catalogue.directory_links(directory.identity) if self._catalogue else {}
        for entry in super().entries(directory):
            linked = links.get(entry.identity)
            found = entry if linked is None else self._linked(entry.name, linked)
            if found is not None and not (is_root and entry.name in _OWN):
                yield found

    @cached_property
    def _catalogue(self) -> Catalogue | None:
        """What tells hard links of directories; None where there are none."""
        linked = self.volume.get_file_entry_by_path(f"/{_LINKED_DIRECTORIES}")
        return Catalogue(self) if linked and linked.get_number_of_sub_file_entries() else None

    def _linked(self, name: str, number: int) -> Entry | None:
        """The directory that a hard link leads to; None where it cannot be had, which is told."""
        try:
            with self.asking(f"the directory {name!r}"):
                return self.entry(self.volume.get_file_entry_by_identifier(number), name)
        except FileSystemError as error:
            self.tell(str(error))
            return None

    def content_handle(self, entry: Entry, stream: str | None) -> Readable:
        """The file. Refuses what is kept elsewhere, which libfshfs takes for zeros."""
        handle = super().content_handle(entry, stream)
        if _compression(self.handle_of(entry)) == _ELSEWHERE:
            raise FileSystemError(f"the contents of {entry.name!r} are kept elsewhere by macOS (decmpfs 5)")
        return handle

    def has_holes(self, entry: Entry) -> bool:  # noqa: ARG002  as of other trees
        """Never: files are stored in full, or compressed."""
        return False

    def attributes(self, entry: Entry) -> Iterator[tuple[str, bytes]]:
        """The extended attributes and the resource fork; too long ones are told."""
        handle = self.handle_of(entry)
        with self.asking(f"the attributes of {entry.name!r}"):
            found: list[tuple[str, _Value]] = [
                (f"user.{each.name}", each)
                for each in (
                    handle.get_extended_attribute(index)
                    for index in range(handle.get_number_of_extended_attributes())
                )
                if each.name != _COMPRESSION
            ]
            if entry.kind is Kind.FILE and handle.has_resource_fork() and not _is_in_resources(handle):
                found.append((_RESOURCES, handle.get_resource_fork()))
        for name, value in found:
            with self.asking(f"the attribute {name} of {entry.name!r}"):
                size = value.get_size()
                data = value.read_buffer_at_offset(size, 0) if 0 < size <= _LONGEST_VALUE else b""
            if size > _LONGEST_VALUE:
                self.tell(f"attribute {name} of {entry.name!r} has {size} bytes, too many for an attribute")
            else:
                yield name, data


def _compression(handle: pyfshfs.file_entry) -> int:
    """How a file is compressed, 0 if it is not."""
    if not handle.has_extended_attribute_by_name(_COMPRESSION):
        return 0
    value = handle.get_extended_attribute_by_name(_COMPRESSION).read_buffer_at_offset(_COMPRESSION_HEADER, 0)
    return int.from_bytes(value[4:8], "little")


def _is_in_resources(handle: pyfshfs.file_entry) -> bool:
    """Whether the resource fork is a file's compressed contents, and none of its own."""
    return _compression(handle) in _IN_RESOURCES


def _is_directory(handle: pyfshfs.file_entry) -> bool:
    """Of what keeps no mode: directories have no data, not even none."""
    try:
        handle.get_number_of_extents()
    except OSError:
        return True
    return False


def _parts(device: int | tuple[int, int] | None) -> tuple[int, int] | None:
    return (device >> 24, device & 0xFFFFFF) if isinstance(device, int) else device


def _nanoseconds(stamp: int | None) -> int | None:
    return None if not stamp else (stamp - _EPOCH) * 10**9


def open_tree(library: ModuleType, source: VolumeSource, tell: Tell) -> HfsTree:
    """The tree of an HFS+ or HFSX. Raises FileSystemError."""
    tree = HfsTree(library.volume(), source, tell)
    if not tree.root.is_directory:
        raise FileSystemError("its root is no directory")
    return tree
