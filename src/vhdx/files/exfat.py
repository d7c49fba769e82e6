"""exFAT, read here, as libfsfat knows neither long names nor all of a directory that is in one piece.

Nor does it know that the end of a file may never have been written, which reads as zeros. Times that say no
zone are taken for UTC.
"""

from __future__ import annotations

import struct
from itertools import islice

from vhdx.errors import FileSystemError
from vhdx.files.base import Entry, Kind
from vhdx.files.fat import exfat_times
from vhdx.files.library import HeldContent, LibraryTree
from vhdx.files.placed import PlacedContent
from vhdx.filesystems.exfat_boot import BOOT_LENGTH, FIRST_CLUSTER, parsed
from vhdx.filesystems.exfat_root import LONGEST_DIRECTORY, Clusters
from vhdx.filesystems.reading import within
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from vhdx.files.base import Content, Tell
    from vhdx.files.placed import Place
    from vhdx.files.source import VolumeSource

_SLOT = 32
_END, _FILE, _STREAM, _NAME = 0x00, 0x85, 0xC0, 0xC1
_STREAM_FIELDS = struct.Struct(
    "<xB x B 4x Q 4x I Q".replace(" ", "")
)  # flags, name length, valid, first, size
_ALLOCATED, _IN_ONE_PIECE = 1, 2
_READ_ONLY, _DIRECTORY = 0x01, 0x10
_UNITS_IN_SLOT = 15
_MOST_SECONDARY = 18
_PIECE = 32 << 10


class _Stored(NamedTuple):
    """Where the bytes of an entry stand; of ``size`` only the first ``written`` were ever written."""

    first: int
    size: int
    written: int
    in_one_piece: bool


class ExfatTree(LibraryTree):
    """Files of an exFAT."""

    is_windows = True

    def __init__(self, source: VolumeSource, tell: Tell) -> None:
        super().__init__(source, tell)
        boot = parsed(source.pread(BOOT_LENGTH, 0))
        if boot is None:
            raise FileSystemError("its boot sector makes no sense")
        self._boot = boot
        self._clusters = Clusters(within(source.pread, source.get_size()), boot)
        handle = _Stored(boot.root_cluster, LONGEST_DIRECTORY, LONGEST_DIRECTORY, in_one_piece=False)
        self.root = Entry("", Kind.DIRECTORY, 0, 0, handle=handle)

    def entries(self, directory: Entry) -> Iterator[Entry]:
        """What is in a directory; what cannot be read is told and left out."""
        waiting: list[tuple[int, bytes]] = []
        for place, slot in self._slots(directory):
            if waiting and (slot[0] < _STREAM or slot[0] == _FILE):
                self.tell(f"an entry of the directory {directory.name!r} is cut off")
                waiting = []
            if slot[0] == _FILE or waiting:
                waiting.append((place, slot))
            if waiting and len(waiting) > waiting[0][1][1]:
                found = self._entry(waiting, directory)
                waiting = []
                if found is not None:
                    yield found

    def content(self, entry: Entry, stream: str | None = None) -> Content:
        """The bytes of a file."""
        if stream is not None:
            raise FileNotFoundError(f"{entry.name} has no stream {stream!r}: only files of NTFS have any")
        stored: _Stored = entry.handle
        if not stored.size:
            return HeldContent(b"")
        with self.asking(f"the file {entry.name!r}"):
            places = list(_written(self._places(stored), stored.written))
        return PlacedContent(self, entry.name, stored.size, places)

    def _slots(self, directory: Entry) -> Iterator[tuple[int, bytes]]:
        """The entries of a directory of 32 bytes each, and where they stand in the volume."""
        places = self._places(directory.handle)
        what = f"the directory {directory.name!r}"
        while True:
            with self.asking(what):
                place, length = next(places, (0, 0))
            if not length:
                return
            for start in range(place, place + length, _PIECE):
                with self.asking(what):
                    data = self.source.pread(min(_PIECE, place + length - start), start)
                for position in range(0, len(data), _SLOT):
                    if data[position] == _END:
                        return
                    yield start + position, data[position : position + _SLOT]

    def _entry(self, slots: list[tuple[int, bytes]], directory: Entry) -> Entry | None:
        """What a set of slots says; None, and told, where it makes no sense."""
        place, file = slots[0]
        if len(slots) < 3 or len(slots) > 1 + _MOST_SECONDARY or slots[1][1][0] != _STREAM:
            self.tell(f"an entry of the directory {directory.name!r} is damaged")
            return None
        flags, units, written, first, size = _STREAM_FIELDS.unpack_from(slots[1][1])
        raw = b"".join(slot[2:] for _, slot in slots[2:] if slot[0] == _NAME)
        if not units or len(raw) < 2 * units:
            self.tell(f"a name in the directory {directory.name!r} is cut off")
            return None
        name = raw[: 2 * units].decode("utf-16-le", "surrogatepass")
        times = exfat_times(file)
        attributes = file[4]
        kind = Kind.DIRECTORY if attributes & _DIRECTORY else Kind.FILE
        return Entry(
            name,
            kind,
            size if kind is Kind.FILE else 0,
            place,
            mode=0o444 if attributes & _READ_ONLY and kind is Kind.FILE else None,
            modified=times.modified,
            accessed=times.accessed,
            created=times.created,
            handle=_Stored(first, size if flags & _ALLOCATED else 0, written, bool(flags & _IN_ONE_PIECE)),
        )

    def _places(self, stored: _Stored) -> Iterator[tuple[int, int]]:
        """The clusters of an entry as places in the volume; a chain at most as long as it needs to be."""
        boot = self._boot
        count = -(-stored.size // boot.cluster_size)
        if not count:
            return
        if stored.in_one_piece:
            if not FIRST_CLUSTER <= stored.first <= boot.clusters + FIRST_CLUSTER - count:
                raise ValueError("its clusters are not all there")
            yield self._offset(stored.first), count * boot.cluster_size
            return
        start = length = 0
        for cluster in islice(self._clusters.chain(stored.first), min(count, boot.clusters)):
            place = self._offset(cluster)
            if length and place == start + length:
                length += boot.cluster_size
                continue
            if length:
                yield start, length
            start, length = place, boot.cluster_size
        yield start, length

    def _offset(self, cluster: int) -> int:
        return self._boot.heap_offset + (cluster - FIRST_CLUSTER) * self._boot.cluster_size


def _written(places: Iterator[tuple[int, int]], written: int) -> Iterator[Place]:
    """Places cut where what was never written begins, which reads as zeros."""
    for place, length in places:
        stored = max(0, min(length, written))
        if stored:
            yield place, stored
        if stored < length:
            yield None, length - stored
        written -= stored


def open_tree(_library: Any, source: VolumeSource, tell: Tell) -> ExfatTree:
    """The tree of an exFAT."""
    return ExfatTree(source, tell)
