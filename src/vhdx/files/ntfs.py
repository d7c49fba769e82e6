r"""NTFS by libfsntfs: sparse, compressed and WOF-compressed files, alternate streams, links.

What a reparse point is, libfsntfs does not say of all of them: `filesystems/ntfs_volume` reads their tags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from vhdx.errors import FileSystemError
from vhdx.files.base import Entry, Kind
from vhdx.files.libyal import LibyalTree
from vhdx.files.ntfs_reparse import NONE, WOF, Reparse, device_of, parsed
from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.ntfs_boot import BOOT_LENGTH
from vhdx.filesystems.ntfs_boot import parsed as boot_of
from vhdx.filesystems.ntfs_index import names as names_in
from vhdx.filesystems.ntfs_record import DATA, attributes
from vhdx.filesystems.ntfs_volume import Value, Volume

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    import pyfsntfs

    from vhdx.files.base import Tell
    from vhdx.files.handles import Readable
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
_IS_DIRECTORY = 0x10000000
"""In an index only."""
_NOT_HERE = 0x1000 | 0x40000 | 0x400000
"""Offline; recalled when it is opened, when its contents are read."""
_REPARSE_ATTRIBUTE, _EXTENDED_ATTRIBUTES = 0xC0, 0xE0
_LONGEST_SMALL = 64 << 10
_COMPRESSED_BY_WOF = "WofCompressedData"
_FILE_NAME, _SPACE_AT, _DOS = 0x30, 65, b"\2"
_LONGEST_VALUE = 64 << 10
_WORTH_A_LOOK = 1 << 20


class NtfsTree(LibyalTree["pyfsntfs.volume", "pyfsntfs.file_entry"]):
    """Files of an NTFS; its own, whose names begin with ``$``, are left out."""

    is_windows = True

    def __init__(self, volume: pyfsntfs.volume, source: VolumeSource, tell: Tell) -> None:
        boot = boot_of(source.pread(BOOT_LENGTH, 0))
        if boot is None:
            raise FileSystemError("its boot sector makes no sense")
        self._boot = boot
        self._records: Volume | None = None
        super().__init__(volume, source, tell)

    def entries(self, directory: Entry) -> Iterator[Entry]:
        """What is in a directory, without the file system's own files."""
        for entry in super().entries(directory):
            if entry.identity >= _FIRST_OF_USERS or directory.identity != _ROOT:
                yield entry

    def names(self, directory: Entry) -> Iterator[tuple[str, Entry | None]]:
        """The names in a directory by its index, from which nothing is opened but what may be a directory."""
        what, nodes = f"the directory {directory.name!r}", names_in(self.records, directory.identity)
        least = _FIRST_OF_USERS if directory.identity == _ROOT else 0
        while True:
            with self.asking(what):
                names = next(nodes, None)
            if names is None:
                return
            for text, number, flags in names:
                if not flags & (_IS_DIRECTORY | _REPARSE):
                    if number >= least:
                        yield text, None
                elif number >= least and (entry := self._opened(text, number, what)):
                    yield text, entry if entry.is_directory else None

    def _opened(self, name: str, number: int, where: str) -> Entry | None:
        """The entry of a name; None where it cannot be read, which is told."""
        try:
            with self.asking(f"entry {name!r} of {where}"):
                return self.entry(self.volume.get_file_entry(number), name)
        except FileSystemError as error:
            self.tell(str(error))
            return None

    def entry(self, handle: pyfsntfs.file_entry, name: str) -> Entry:
        """A file record as an entry."""
        flags = handle.get_file_attribute_flags()
        number = handle.get_file_reference() & _NUMBER
        is_directory = handle.has_directory_entries_index()
        reparse = parsed(self._small(number, _REPARSE_ATTRIBUTE)) if flags & _REPARSE else NONE
        kind = reparse.kind or (Kind.DIRECTORY if is_directory else Kind.FILE)
        is_device = kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)
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
            device=device_of(self._small(number, _EXTENDED_ATTRIBUTES)) if is_device else None,
            handle=_Kept(handle, flags, reparse),
        )

    def handle_of(self, entry: Entry) -> pyfsntfs.file_entry:
        """The object of libfsntfs."""
        kept: _Kept = entry.handle
        return kept.record

    def has_holes(self, entry: Entry) -> bool:
        """Not where units are compressed: what their extents leave out is the part that was saved."""
        return not entry.handle.flags & _COMPRESSED and entry.handle.reparse.tag != WOF

    def content_handle(self, entry: Entry, stream: str | None) -> Readable:
        """The file or one of its streams. Refuses what is encrypted, or kept elsewhere."""
        kept: _Kept = entry.handle
        if kept.flags & _ENCRYPTED:
            raise FileSystemError(f"{entry.name!r} is encrypted (EFS), which is not read")
        if stream is not None:
            found = [each for each in kept.record.alternate_data_streams if each.get_name() == stream]
            if not found:
                raise FileNotFoundError(f"{entry.name} has no stream {stream!r}")
            return found[0]
        reparse = kept.reparse
        if reparse.elsewhere is not None and not (reparse.is_cloud and self._is_here(entry)):
            raise FileSystemError(
                f"the contents of {entry.name!r} are {reparse.elsewhere}; its reparse point: {reparse.tag:#x}"
            )
        if reparse.tag == WOF and not kept.record.has_alternate_data_stream_by_name(_COMPRESSED_BY_WOF):
            raise FileSystemError(f"the compressed contents of {entry.name!r} are missing")
        return kept.record

    def _is_here(self, entry: Entry) -> bool:
        """Whether what the cloud has is on the disk, too: no hole in it, and no flag that says no."""
        if entry.handle.flags & (_NOT_HERE | _COMPRESSED):
            return False
        stream = self.records.stream(entry.identity, DATA)
        if isinstance(stream, Value):
            return any(stream.read(stream.length, 0)) or not stream.length
        return sum(length for place, length in stream.places() if place is not None) >= stream.length

    def places(self, content: LibyalContent[Any, Any]) -> list[Place] | None:
        """Where the clusters of a file stand, if they hold its bytes as they are: that is read at once.

        libfsntfs reads all in pieces through a cache of its own. Small files are not worth another look.
        """
        entry: Entry = content.entry
        if content.size < _WORTH_A_LOOK or content.stream is not None or entry.handle.reparse.tag == WOF:
            return None
        try:
            stream = self.records.stream(entry.identity, DATA)
        except NotFreeError:  # libfsntfs says what it is
            return None
        if isinstance(stream, Value) or not stream.is_as_stored or stream.length != content.size:
            return None
        return list(stream.places())

    def streams(self, entry: Entry) -> tuple[str, ...]:
        """The names of its alternate streams, without the one that is its compressed contents."""
        own = _COMPRESSED_BY_WOF if entry.handle.reparse.tag == WOF else None
        with self.asking(f"the streams of {entry.name!r}"):
            names = [each.get_name() for each in self.handle_of(entry).alternate_data_streams]
        return tuple(name for name in names if name != own)

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

    def _links(self, handle: pyfsntfs.file_entry, number: int) -> int:
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

    def _small(self, number: int, kind: int) -> bytes:
        """The value of an attribute that is never long; nothing where there is none."""
        try:
            stream = self.records.stream(number, kind)
            return stream.read(min(stream.length, _LONGEST_SMALL), 0)
        except NotFreeError as error:
            raise FileSystemError(error.reason) from error


class _Kept(NamedTuple):
    """What an entry keeps: libfsntfs's object, the file's flags, its reparse point."""

    record: pyfsntfs.file_entry
    flags: int
    reparse: Reparse


def _nanoseconds(stamp: int | None) -> int | None:
    return None if not stamp else stamp * 100 - _EPOCH


def open_tree(library: ModuleType, source: VolumeSource, tell: Tell) -> NtfsTree:
    """The tree of an NTFS."""
    return NtfsTree(library.volume(), source, tell)
