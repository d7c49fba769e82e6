r"""NTFS by libfsntfs: sparse, compressed and WOF-compressed files, alternate streams, links.

What a reparse point is, libfsntfs does not say of all of them: `filesystems/ntfs_volume` reads their tags.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from vhdx.errors import FileSystemError
from vhdx.files.base import Entry, Kind
from vhdx.files.libyal import LibyalTree
from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.ntfs_boot import BOOT_LENGTH, parsed
from vhdx.filesystems.ntfs_record import DATA, attributes
from vhdx.filesystems.ntfs_volume import Value, Volume

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.files.base import Tell
    from vhdx.files.libyal import LibyalContent
    from vhdx.files.placed import Place
    from vhdx.files.source import VolumeSource

_EPOCH = 11644473600 * 10**9
"""From 1601 to 1970, in nanoseconds."""
_NUMBER = (1 << 48) - 1
_FIRST_OF_USERS = 24
"""Records below are NTFS's own, except the root."""
_ROOT = 5
_READ_ONLY, _REPARSE, _COMPRESSED, _ENCRYPTED = 0x1, 0x400, 0x800, 0x4000
_REPARSE_ATTRIBUTE = 0xC0
_MOUNT_POINT, _SYMLINK, _WOF, _LX_SYMLINK = 0xA0000003, 0xA000000C, 0x80000017, 0xA000001D
_NAMES = struct.Struct("<HHHH")  # offset and length of the substitute and of the printed name
_NAMES_AT = {_MOUNT_POINT: 8, _SYMLINK: 12}
"""Links by names, and how far behind the header these stand."""
_HEADER = 8
_LONGEST_REPARSE = 16 << 10
_FILE_NAME, _SPACE_AT, _DOS = 0x30, 65, b"\2"
_LONGEST_VALUE = 64 << 10
_WORTH_A_LOOK = 1 << 20


class NtfsTree(LibyalTree):
    """Files of an NTFS; its own, whose names begin with ``$``, are left out."""

    is_windows = True

    def __init__(self, library: Any, source: VolumeSource, tell: Tell) -> None:
        boot = parsed(source.pread(BOOT_LENGTH, 0))
        if boot is None:
            raise FileSystemError("its boot sector makes no sense")
        self._boot = boot
        self._records: Volume | None = None
        super().__init__(library, source, tell)

    def entries(self, directory: Entry) -> Iterator[Entry]:
        """What is in a directory, without the file system's own files."""
        for entry in super().entries(directory):
            if entry.identity >= _FIRST_OF_USERS or directory.identity != _ROOT:
                yield entry

    def entry(self, handle: Any, name: str) -> Entry:
        """A file record as an entry."""
        flags = handle.get_file_attribute_flags()
        number = handle.get_file_reference() & _NUMBER
        is_directory = handle.has_directory_entries_index()
        reparse = self._reparse(number) if flags & _REPARSE else _NONE
        kind = Kind.DIRECTORY if is_directory else Kind.FILE
        if reparse.target is not None:
            kind = Kind.SYMLINK
        is_file = kind is Kind.FILE
        return Entry(
            name,
            kind,
            handle.get_size() if is_file else 0,
            number,
            self._links(handle, number) if is_file else 1,
            0o444 if flags & _READ_ONLY and is_file else None,
            modified=_nanoseconds(handle.get_modification_time_as_integer()),
            accessed=_nanoseconds(handle.get_access_time_as_integer()),
            changed=_nanoseconds(handle.get_entry_modification_time_as_integer()),
            created=_nanoseconds(handle.get_creation_time_as_integer()),
            target=reparse.target,
            handle=_Kept(handle, flags, reparse.tag),
        )

    def handle_of(self, entry: Entry) -> Any:
        """The object of libfsntfs."""
        return entry.handle.record

    def has_holes(self, entry: Entry) -> bool:
        """Not where units are compressed: what their extents leave out is the part that was saved."""
        return not entry.handle.flags & _COMPRESSED and entry.handle.tag != _WOF

    def content_handle(self, entry: Entry, stream: str | None) -> Any:
        """The file or one of its streams. Refuses what is encrypted, or kept elsewhere."""
        kept: _Kept = entry.handle
        if kept.flags & _ENCRYPTED:
            raise FileSystemError(f"{entry.name!r} is encrypted (EFS), which is not read")
        if stream is not None:
            found = [each for each in kept.record.alternate_data_streams if each.get_name() == stream]
            if not found:
                raise FileNotFoundError(f"{entry.name} has no stream {stream!r}")
            return found[0]
        if kept.tag not in (0, _WOF):
            raise FileSystemError(
                f"the contents of {entry.name!r} are kept elsewhere (reparse point {kept.tag:#x})"
            )
        return kept.record

    def places(self, content: LibyalContent) -> list[Place] | None:
        """Where the clusters of a file stand, if they hold its bytes as they are: that is read at once.

        libfsntfs reads all in pieces through a cache of its own. Small files are not worth another look.
        """
        entry: Entry = content.entry
        if content.size < _WORTH_A_LOOK or content.stream is not None or entry.handle.tag:
            return None
        try:
            stream = self.records.stream(entry.identity, DATA)
        except NotFreeError:  # libfsntfs says what it is
            return None
        if isinstance(stream, Value) or not stream.is_as_stored or stream.length != content.size:
            return None
        return list(stream.places())

    def streams(self, entry: Entry) -> tuple[str, ...]:
        """The names of its alternate streams."""
        with self.asking(f"the streams of {entry.name!r}"):
            return tuple(each.get_name() for each in entry.handle.record.alternate_data_streams)

    def attributes(self, entry: Entry) -> Iterator[tuple[str, bytes]]:
        """Alternate streams, as ntfs-3g shows them: ``user.NAME``; too long ones are told."""
        for name in self.streams(entry):
            content = self.content(entry, name)
            if content.size > _LONGEST_VALUE:
                self.tell(
                    f"stream {name!r} of {entry.name!r} has {content.size} bytes, too many for an attribute"
                )
            else:
                yield f"user.{name}", content.pread(content.size, 0)

    def _links(self, handle: Any, number: int) -> int:
        """How many names it has; those that are only for DOS, which libfsntfs does not tell, do not count."""
        kinds = (handle.get_attribute(index) for index in range(handle.get_number_of_attributes()))
        count = sum(1 for each in kinds if each.get_attribute_type() == _FILE_NAME)
        if count < 2:
            return 1
        try:
            record = self.records.record(number)
            names = [each.value for each in attributes(record, "") if each.type == _FILE_NAME and each.value]
        except NotFreeError:
            return count
        return count - sum(1 for name in names if name[_SPACE_AT : _SPACE_AT + 1] == _DOS)

    @property
    def records(self) -> Volume:
        """File records, read without libfsntfs."""
        if self._records is None:
            self._records = Volume(self.source.pread, self._boot)
        return self._records

    def _reparse(self, number: int) -> _Reparse:
        """The reparse point of a record."""
        try:
            stream = self.records.stream(number, _REPARSE_ATTRIBUTE)
            value = stream.read(min(stream.length, _LONGEST_REPARSE), 0)
        except NotFreeError as error:
            raise FileSystemError(error.reason) from error
        if len(value) < _HEADER:
            raise FileSystemError(f"the reparse point of file record {number} is cut off")
        tag = int.from_bytes(value[:4], "little")
        return _Reparse(tag, _target(tag, value))


class _Kept(NamedTuple):
    """What an entry keeps: libfsntfs's object, the file's flags, the tag of its reparse point or 0."""

    record: Any
    flags: int
    tag: int


class _Reparse(NamedTuple):
    """A reparse point; ``target`` is that of links."""

    tag: int
    target: str | None


_NONE = _Reparse(0, None)


def _target(tag: int, value: bytes) -> str | None:
    """Where a link leads, parted by slashes; None for what is no link."""
    if tag == _LX_SYMLINK:
        return value[_HEADER + 4 :].decode("utf-8", "surrogateescape")
    if tag not in _NAMES_AT or len(value) < _HEADER + _NAMES.size:
        return None
    offset, length, printed_offset, printed_length = _NAMES.unpack_from(value, _HEADER)
    names = value[_HEADER + _NAMES_AT[tag] :]
    printed = names[printed_offset : printed_offset + printed_length]
    name = (printed or names[offset : offset + length]).decode("utf-16-le", "replace")
    return name.removeprefix("\\??\\").replace("\\", "/")


def _nanoseconds(stamp: int | None) -> int | None:
    return None if not stamp else stamp * 100 - _EPOCH


def open_tree(library: Any, source: VolumeSource, tell: Tell) -> NtfsTree:
    """The tree of an NTFS."""
    return NtfsTree(library, source, tell)
