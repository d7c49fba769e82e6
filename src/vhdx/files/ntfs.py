r"""NTFS by libfsntfs: sparse, compressed and WOF-compressed files, alternate streams, links.

What a reparse point is, libfsntfs does not say of all of them: `filesystems/ntfs_volume` reads their tags.
"""

from __future__ import annotations

from functools import cached_property

from vhdx.errors import FileSystemError
from vhdx.files.base import Entry, Kind
from vhdx.files.lzx import LZX
from vhdx.files.named import NamedTree
from vhdx.files.ntfs_records import (
    DOS,
    FILE_NAME,
    READ_ONLY,
    REPARSE,
    REPARSE_POINT,
    SPACE_AT,
    Kept,
    Records,
    nanoseconds,
)
from vhdx.files.ntfs_reparse import NONE, WOF, WOF_LZX, device_of, parsed
from vhdx.files.wof import WofContent
from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.ntfs_boot import BOOT_LENGTH
from vhdx.filesystems.ntfs_boot import parsed as boot_of
from vhdx.filesystems.ntfs_index import names as names_in
from vhdx.filesystems.ntfs_record import DATA, attributes
from vhdx.filesystems.ntfs_volume import Value, Volume
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType
    from typing import Any

    import pyfsntfs

    from vhdx.files.base import Content, Tell
    from vhdx.files.handles import Readable
    from vhdx.files.libyal import LibyalContent
    from vhdx.files.placed import Place
    from vhdx.files.source import VolumeSource
    from vhdx.filesystems.ntfs_index import Name

_NUMBER = (1 << 48) - 1
_FIRST_OF_USERS = 24
"""Records below are NTFS's own, except the root."""
_ROOT = 5
_COMPRESSED, _ENCRYPTED = 0x800, 0x4000
_MAY_BE_DIRECTORY = 0x10000000 | REPARSE
"""The flag of directories is in an index only."""
_NOT_HERE = 0x1000 | 0x40000 | 0x400000
"""Offline; recalled when it is opened, when its contents are read."""
_EXTENDED_ATTRIBUTES = 0xE0
_LONGEST_SMALL = 64 << 10
_COMPRESSED_BY_WOF = "WofCompressedData"
_LONGEST_VALUE = 64 << 10
_WORTH_A_LOOK = 1 << 20


class NtfsTree(NamedTree["pyfsntfs.volume", "pyfsntfs.file_entry", "Name"]):
    """Files of an NTFS; its own, whose names begin with ``$``, are left out."""

    is_windows = True

    def __init__(self, volume: pyfsntfs.volume, source: VolumeSource, tell: Tell) -> None:
        boot = boot_of(source.pread(BOOT_LENGTH, 0))
        if boot is None:
            raise FileSystemError("its boot sector makes no sense")
        self._boot = boot
        super().__init__(volume, source, tell)

    def names_in(self, directory: Entry) -> Iterator[list[Name]]:
        """What stands in a directory, without the file system's own files."""
        what = f"the directory {directory.name!r}"

        def partly(error: NotFreeError) -> None:
            self.tell(f"{what}, part of it: {error.reason}")

        with self.asking(what):
            nodes = names_in(self.records, directory.identity, partly)
        while True:
            with self.asking(what):
                names = next(nodes, None)
            if names is None:
                return
            if directory.identity == _ROOT:
                names = [name for name in names if name.number >= _FIRST_OF_USERS]
            yield names

    def text_of(self, name: Name) -> tuple[str, bool]:
        """A name as text, and whether it may be one of a directory."""
        return name.text, name.flags & _MAY_BE_DIRECTORY != 0

    def plain(self, names: Sequence[Name]) -> list[Entry | None]:
        """The entries of names; None for what wants a look of its own."""
        return self._many.entries(names)

    def opened(self, name: Name) -> Entry:
        """The entry of a name by libfsntfs. A record that is another file's by now is none."""
        self.records.record(name.number, name.reference >> 48 or None)
        return self.entry(self.volume.get_file_entry(name.number), name.text)

    def entry(self, handle: pyfsntfs.file_entry, name: str) -> Entry:
        """A file record as an entry."""
        flags = handle.get_file_attribute_flags()
        number = handle.get_file_reference() & _NUMBER
        is_directory = handle.has_directory_entries_index()
        reparse = parsed(self._small(number, REPARSE_POINT)) if flags & REPARSE else NONE
        kind = reparse.kind or (Kind.DIRECTORY if is_directory else Kind.FILE)
        is_device = kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)
        is_file = kind is Kind.FILE
        return Entry(
            name,
            kind,
            handle.get_size() if is_file else 0,
            number,
            self._links(handle, number) if is_file else 1,
            0o444 if flags & READ_ONLY and is_file else None,
            modified=nanoseconds(handle.get_modification_time_as_integer()),
            accessed=nanoseconds(handle.get_access_time_as_integer()),
            changed=nanoseconds(handle.get_entry_modification_time_as_integer()),
            created=nanoseconds(handle.get_creation_time_as_integer()),
            target=reparse.target,
            device=device_of(self._small(number, _EXTENDED_ATTRIBUTES)) if is_device else None,
            handle=Kept(handle, flags, reparse, may_have_streams=True),
        )

    def handle_of(self, entry: Entry) -> pyfsntfs.file_entry:
        """The object of libfsntfs, made when it is needed."""
        kept: Kept = entry.handle
        return kept.record or self.volume.get_file_entry(entry.identity)

    def has_holes(self, entry: Entry) -> bool:
        """Not where units are compressed: what their extents leave out is the part that was saved."""
        return not entry.handle.flags & _COMPRESSED and entry.handle.reparse.tag != WOF

    def content_handle(self, entry: Entry, stream: str | None) -> Readable:
        """The file or one of its streams. Refuses what is encrypted, or kept elsewhere."""
        kept: Kept = entry.handle
        if kept.flags & _ENCRYPTED:
            raise FileSystemError(f"{entry.name!r} is encrypted (EFS), which is not read")
        record = self.handle_of(entry)
        if stream is not None:
            found = [each for each in record.alternate_data_streams if each.get_name() == stream]
            if not found:
                raise FileNotFoundError(f"{entry.name} has no stream {stream!r}")
            return found[0]
        reparse = kept.reparse
        if reparse.elsewhere is not None and not (reparse.is_cloud and self._is_here(entry)):
            raise FileSystemError(
                f"the contents of {entry.name!r} are {reparse.elsewhere}; its reparse point: {reparse.tag:#x}"
            )
        if reparse.tag == WOF and not record.has_alternate_data_stream_by_name(_COMPRESSED_BY_WOF):
            raise FileSystemError(f"the compressed contents of {entry.name!r} are missing")
        return record

    def content(self, entry: Entry, stream: str | None = None) -> Content:
        """The bytes of a file or of a stream."""
        found = super().content(entry, stream)
        reparse = entry.handle.reparse
        if stream is not None or reparse.tag != WOF or reparse.algorithm != WOF_LZX:
            return found
        with self.asking(f"the file {entry.name!r}"):
            stored = self.records.stream(entry.identity, DATA, _COMPRESSED_BY_WOF)
        return WofContent(self, entry.name, found.size, stored, LZX)

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
        with self.lock:
            try:
                stream = self.records.stream(entry.identity, DATA)
            except NotFreeError:  # libfsntfs says what it is
                return None
            if isinstance(stream, Value) or not stream.is_as_stored or stream.length != content.size:
                return None
            return list(stream.places())

    def streams(self, entry: Entry) -> tuple[str, ...]:
        """The names of its alternate streams, without the one that is its compressed contents."""
        if not entry.handle.may_have_streams:
            return ()
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
        count = sum(1 for each in kinds if each.get_attribute_type() == FILE_NAME)
        if count < 2:
            return 1
        try:
            record = self.records.record(number)
            names = [each.value for each in attributes(record, "") if each.type == FILE_NAME and each.value]
        except NotFreeError:
            return count
        return count - sum(1 for name in names if len(name) > SPACE_AT and name[SPACE_AT] == DOS)

    @cached_property
    def records(self) -> Volume:
        """File records, read without libfsntfs."""
        return Volume(self.source.pread, self._boot)

    @cached_property
    def _many(self) -> Records:
        return Records(self.records)

    def _small(self, number: int, kind: int) -> bytes:
        """The value of an attribute that is never long; nothing where there is none."""
        try:
            stream = self.records.stream(number, kind)
            return stream.read(min(stream.length, _LONGEST_SMALL), 0)
        except NotFreeError as error:
            raise FileSystemError(error.reason) from error


def open_tree(library: ModuleType, source: VolumeSource, tell: Tell) -> NtfsTree:
    """The tree of an NTFS."""
    return NtfsTree(library.volume(), source, tell)
