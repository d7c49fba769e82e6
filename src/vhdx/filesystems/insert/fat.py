"""FAT12, FAT16 and FAT32 as they are written to."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.fat_boot import FAT32
from vhdx.filesystems.insert.base import ADVICE, BARRIER, FIRST_CLUSTER, SLOT, Directory, Old, Write
from vhdx.filesystems.insert.fat_table import FatTable
from vhdx.filesystems.insert.names import (
    long_entries,
    long_slots,
    named_entries,
    short_name,
    shown,
)
from vhdx.filesystems.insert.times import packed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.base import Read
    from vhdx.filesystems.fat_boot import Boot
    from vhdx.filesystems.insert.base import Details, New, Place, Run, Step

_ENTRY = struct.Struct("<11sBBBHHHHHHHI")
_CLUSTER_HIGH, _CLUSTER_LOW = 20, 26
_READ_ONLY, _LABEL, _DIRECTORY, _ARCHIVE = 0x01, 0x08, 0x10, 0x20
_DELETED = 0xE5
_IN_USE = 1
_INFO_SIGNATURES = (b"RRaA", b"rrAa")
_INFO_FREE = 488
_UNKNOWN = 0xFFFFFFFF
assert _ENTRY.size == SLOT


class FatLayout:
    """A FAT whose two passes it has passed."""

    largest_file = 0xFFFFFFFF
    largest_directory = 65536 * SLOT

    def __init__(self, read: Read, boot: Boot) -> None:
        self._read, self._boot = read, boot
        self._table = FatTable(read, boot)
        self.cluster_size = boot.cluster_size

    def cluster_offset(self, cluster: int) -> int:
        """Where a cluster stands in the volume."""
        return self._boot.data_offset + (cluster - FIRST_CLUSTER) * self.cluster_size

    def folded(self, name: str) -> str:
        """Either case is the same, character by character."""
        return "".join(upper if len(upper := each.upper()) == 1 else each for each in name)

    def slots_of(self, name: str) -> int:
        """Its long name's entries, and one."""
        return long_slots(name) + 1

    def slot_is_free(self, kind: int) -> bool:
        """Whether it was deleted."""
        return kind == _DELETED

    def main_of(self, count: int) -> int:
        """The last one, which has the short name."""
        return count - 1

    def clusters_of(self, old: Old) -> list[Run]:
        """Its chain."""
        return self._table.chain(old.first, self._boot.clusters) if old.first else []

    def is_free(self, cluster: int) -> bool:
        """Whether its entry says so."""
        return not self._table.entry(cluster)

    # Directories ---------------------------------------------------------------------------------

    def root(self) -> Directory:
        """The root: a chain in FAT32, else a place of its own before the clusters."""
        if self._boot.root_cluster is not None:
            return self._directory(self._table.chain(self._boot.root_cluster, self._most), None, None)
        length = int.from_bytes(self._read(2, 17), "little") * SLOT
        sector = int.from_bytes(self._read(2, 11), "little")
        place = (self._boot.data_offset - -(-length // sector) * sector, length)
        return self._listed(Directory(self._read(length, place[0]), places=[place]))

    def opened(self, parent: Directory, own: Old) -> Directory:
        """A directory below."""
        return self._directory(self._table.chain(own.first, self._most), parent, own)

    @property
    def _most(self) -> int:
        return -(-self.largest_directory // self.cluster_size)

    def _directory(self, runs: list[Run], parent: Directory | None, own: Old | None) -> Directory:
        places = [(self.cluster_offset(first), count * self.cluster_size) for first, count in runs]
        slots = b"".join(self._read(length, offset) for offset, length in places)
        return self._listed(Directory(slots, runs=runs, places=places, parent=parent, own=own))

    def _listed(self, directory: Directory) -> Directory:
        """Under each name, short and long, what it stands for."""
        for first, last, name in named_entries(bytes(directory.slots)):
            entry = bytes(directory.slots[last * SLOT : (last + 1) * SLOT])
            if entry[11] & _LABEL or entry[:1] == b".":
                continue
            short = entry[:11]
            old = self._old(entry, first, last)
            if short in directory.shorts:
                raise NotFreeError(f"two files of a directory of it have one name: {ADVICE}")
            directory.shorts.add(short)
            for each in (shown(short), name):
                if each is not None:
                    directory.old.setdefault(self.folded(each), old)
        return directory

    def _old(self, entry: bytes, first: int, last: int) -> Old:
        high = int.from_bytes(entry[_CLUSTER_HIGH : _CLUSTER_HIGH + 2], "little")
        cluster = int.from_bytes(entry[_CLUSTER_LOW : _CLUSTER_LOW + 2], "little")
        cluster |= high << 16 if self._boot.width is FAT32 else 0
        size = int.from_bytes(entry[28:32], "little")
        is_directory = bool(entry[11] & _DIRECTORY)
        if cluster and not FIRST_CLUSTER <= cluster < self._boot.clusters + FIRST_CLUSTER:
            raise NotFreeError(f"a file of it begins at cluster {cluster}, which it does not have: {ADVICE}")
        return Old(first, last - first + 1, last, is_directory, cluster, size)

    def beginning(self, directory: Directory) -> bytes:
        """``.`` and ``..``, which leads to 0 for the root, also where that has a cluster."""
        parent = directory.parent
        assert parent is not None
        above = 0 if parent.parent is None else parent.first
        places = ((b".", directory.first), (b"..", above))
        return b"".join(
            _entry(name.ljust(11), _DIRECTORY, directory.details, cluster, 0) for name, cluster in places
        )

    def packed(self, directory: Directory, new: New) -> bytes:
        """The pieces of a long name, if it is one, and the entry."""
        short = short_name(new.name, directory.shorts)
        directory.shorts.add(short)
        attributes = _ARCHIVE if new.directory is None else _DIRECTORY
        if new.details.is_read_only and new.directory is None:
            attributes |= _READ_ONLY
        entry = _entry(short, attributes, new.details, new.first, new.size)
        return long_entries(new.name, short) + entry

    def changed(self, directory: Directory, old: Old, place: Place, details: Details | None) -> bytes:
        """Its set, with another place and size; its name and when it was made stay as they are."""
        at = old.slot * SLOT
        slots = bytes(directory.slots[at : at + old.length * SLOT])
        before = slots[-SLOT:]
        assert details is not None
        attributes = before[11] & ~_READ_ONLY | _ARCHIVE | (_READ_ONLY if details.is_read_only else 0)
        entry = _entry(before[:11], attributes, details, place.first, place.size)
        return slots[:-SLOT] + entry[:12] + before[12:18] + entry[18:]

    def changes(self, old: Old) -> tuple[int, int]:
        """The last one."""
        return old.main, old.main + 1

    def freed(self, kind: int) -> int:  # noqa: ARG002  exFAT needs it
        """Deleted."""
        return _DELETED

    def length_in_parent(self, directory: Directory) -> int | None:  # noqa: ARG002  exFAT needs it
        """It says nothing of it."""
        return None

    # Steps ---------------------------------------------------------------------------------------

    def clean(self, *, is_clean: bool) -> Iterator[Step]:
        """The byte in the boot sector that Linux looks at, the bit in the table that Windows does.

        Copies of the table, which may be torn apart, differ only while the byte says that it is in use.
        """
        place = self._boot.width.state_at
        old = self._read(1, place)[0]
        if not is_clean:
            yield Write(place, bytes([old | _IN_USE]))
            yield BARRIER
        yield from self._table.marked(is_clean=is_clean)
        if is_clean:
            yield BARRIER
            yield Write(place, bytes([old & ~_IN_USE]))

    def chained(self, runs: list[Run]) -> Iterator[Step]:
        """Entries of the table."""
        return self._table.chained(runs)

    def linked(self, directory: Directory, runs: list[Run]) -> Iterator[Step]:
        """The end of its chain leads on."""
        first, count = directory.runs[-1]
        return self._table.linked(first + count - 1, runs[0][0])

    def fits_behind(self, directory: Directory, cluster: int) -> bool:
        """See `FatTable.fits_behind`."""
        first, count = directory.runs[-1]
        return self._table.fits_behind(first + count - 1, cluster)

    def released(self, old: Old) -> Iterator[Step]:
        """Its chain becomes free."""
        return self._table.released(self.clusters_of(old))

    def counted(self, free_clusters: int) -> Iterator[Step]:
        """The count of FAT32, where there is one."""
        if self._boot.width is not FAT32:
            return
        sector_size = int.from_bytes(self._read(2, 11), "little")
        sector = int.from_bytes(self._read(2, 48), "little")
        if not 0 < sector * sector_size < self._boot.fat_offset:
            return
        info = self._read(512, sector * sector_size)
        if (info[:4], info[484:488]) != _INFO_SIGNATURES or info[_INFO_FREE:][:4] == b"\xff" * 4:
            return
        yield Write(sector * sector_size + _INFO_FREE, free_clusters.to_bytes(4, "little"))
        yield BARRIER


def _entry(short: bytes, attributes: int, details: Details, cluster: int, size: int) -> bytes:
    modified, accessed = packed(details.modified), packed(details.accessed)
    return _ENTRY.pack(
        short,
        attributes,
        0,
        modified.tens,
        modified.time,
        modified.date,
        accessed.date,
        cluster >> 16,
        modified.time,
        modified.date,
        cluster & 0xFFFF,
        size,
    )
