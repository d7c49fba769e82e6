"""exFAT as it is written to."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.exfat_root import LONGEST_DIRECTORY
from vhdx.filesystems.insert.base import ADVICE, BARRIER, FIRST_CLUSTER, SLOT, Directory, Old, Write
from vhdx.filesystems.insert.exfat_names import Upcase, name_hash, rotated_sum
from vhdx.filesystems.insert.exfat_tables import ExfatTables, runs_of
from vhdx.filesystems.insert.names import units
from vhdx.filesystems.insert.times import packed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.base import Read
    from vhdx.filesystems.exfat_boot import Boot
    from vhdx.filesystems.exfat_root import Clusters, Root
    from vhdx.filesystems.insert.base import Details, New, Place, Run, Step

_FILE, _STREAM, _NAME = 0x85, 0xC0, 0xC1
_IN_USE = 0x80
_FILE_FIELDS = struct.Struct("<BBHHHIIIBBBBB7x")
_STREAM_FIELDS = struct.Struct("<BBxBHHQIIQ")
_READ_ONLY, _DIRECTORY, _ARCHIVE = 0x01, 0x10, 0x20
_CAN_ALLOCATE, _NO_CHAIN = 1, 2
_UTC = 0x80
_IN_SLOT = 15
_FLAGS_AT, _PERCENT_AT = 106, 112
_DIRTY = 2
_UNKNOWN = 0xFF
assert _FILE_FIELDS.size == _STREAM_FIELDS.size == SLOT


class ExfatLayout:
    """An exFAT whose two passes it has passed."""

    largest_file = (1 << 63) - 1
    largest_directory = LONGEST_DIRECTORY

    def __init__(self, read: Read, boot: Boot, clusters: Clusters, root: Root) -> None:
        self._read, self._boot, self._root = read, boot, root
        self._tables = ExfatTables(read, boot, clusters, root.bitmap)
        self._upcase = Upcase(clusters.read(root.upper_case, root.upper_case.length, 0))
        self.cluster_size = boot.cluster_size

    def cluster_offset(self, cluster: int) -> int:
        """Where a cluster stands in the volume."""
        return self._boot.heap_offset + (cluster - FIRST_CLUSTER) * self.cluster_size

    def folded(self, name: str) -> str:
        """In upper case, by the volume's own table."""
        return self._upcase.folded(name)

    def slots_of(self, name: str) -> int:
        """The file, its stream, its name."""
        return 2 + -(-units(name) // _IN_SLOT)

    def slot_is_free(self, kind: int) -> bool:
        """Whether it is marked so."""
        return not kind & _IN_USE

    def main_of(self, count: int) -> int:  # noqa: ARG002  it is for FAT
        """The first one: without it the others mean nothing."""
        return 0

    def clusters_of(self, old: Old) -> list[Run]:
        """In one piece, or its chain."""
        count = -(-old.size // self.cluster_size)
        if not count:
            return []
        return [(old.first, count)] if old.in_one_piece else self._tables.chain(old.first, count)

    # Directories ---------------------------------------------------------------------------------

    def root(self) -> Directory:
        """The root, whose chain is all that tells its length."""
        return self._directory(runs_of(self._root.clusters), None, None)

    def opened(self, parent: Directory, own: Old) -> Directory:
        """A directory below."""
        if not 0 < own.size <= LONGEST_DIRECTORY:
            raise NotFreeError(f"a directory of it has {own.size} bytes, which is not written to: {ADVICE}")
        return self._directory(self.clusters_of(own), parent, own)

    def _directory(self, runs: list[Run], parent: Directory | None, own: Old | None) -> Directory:
        places = [(self.cluster_offset(first), count * self.cluster_size) for first, count in runs]
        slots = b"".join(self._read(length, offset) for offset, length in places)
        directory = Directory(slots, runs=runs, places=places, parent=parent, own=own)
        for name, old in _sets(slots):
            directory.old.setdefault(self.folded(name), old)
        return directory

    def beginning(self, directory: Directory) -> bytes:  # noqa: ARG002  it is for FAT
        """Nothing."""
        return b""

    def packed(self, directory: Directory, new: New) -> bytes:  # noqa: ARG002  it is for FAT
        """The whole set."""
        folder = new.directory
        attributes = _DIRECTORY if folder is not None else _ARCHIVE
        size = new.size if folder is None else sum(count for _, count in new.runs) * self.cluster_size
        if new.details.is_read_only and folder is None:
            attributes |= _READ_ONLY
        file = _file_slot(attributes, new.details)
        stream = _STREAM_FIELDS.pack(
            _STREAM,
            _flags(new.runs),
            units(new.name),
            name_hash(self.folded(new.name)),
            0,
            size,
            0,
            new.first,
            size,
        )
        return _summed(file + stream + _name_slots(new.name))

    def changed(self, directory: Directory, old: Old, place: Place, details: Details | None) -> bytes:
        """Its set, with another place and length, other times where there are any, and the right sum."""
        at = old.slot * SLOT
        slots = bytearray(directory.slots[at : at + old.length * SLOT])
        if details is not None:
            attributes = int.from_bytes(slots[4:6], "little") & ~_READ_ONLY | _ARCHIVE
            attributes |= _READ_ONLY if details.is_read_only else 0
            fresh = _file_slot(attributes, details)
            slots[4:6], slots[12:20] = fresh[4:6], fresh[12:20]
            slots[21:22], slots[23:25] = fresh[21:22], fresh[23:25]
        slots[SLOT + 1] = _flags(place.runs)
        struct.pack_into("<Q", slots, SLOT + 8, place.size)
        struct.pack_into("<IQ", slots, SLOT + 20, place.first, place.size)
        return _summed(bytes(slots))

    def changes(self, old: Old) -> tuple[int, int]:
        """The first two, the sum of all stands in the first one."""
        return old.slot, old.slot + 2

    def freed(self, kind: int) -> int:
        """The same kind, not in use."""
        return kind & ~_IN_USE

    # Steps ---------------------------------------------------------------------------------------

    def clean(self, *, is_clean: bool) -> Iterator[Step]:
        """The flag VolumeDirty, which the checksum of the boot region leaves out."""
        flags = int.from_bytes(self._read(2, _FLAGS_AT), "little")
        flags = flags & ~_DIRTY if is_clean else flags | _DIRTY
        yield Write(_FLAGS_AT, flags.to_bytes(2, "little"))

    def chained(self, runs: list[Run]) -> Iterator[Step]:
        """A chain, unless the clusters are in one piece, and the bits of the bitmap."""
        if len(runs) > 1:
            yield from self._tables.chained(runs)
        yield from self._tables.marked(runs, in_use=True)

    def fits_behind(self, directory: Directory, cluster: int) -> bool:  # noqa: ARG002  the other one needs them
        """Always."""
        return True

    def linked(self, directory: Directory, runs: list[Run]) -> Iterator[Step]:
        """One chain of all its clusters; how long it is its parent says later, unless it is the root."""
        own = directory.own
        if own is not None and own.in_one_piece:  # its chain means nothing yet
            yield from self._tables.chained([*directory.runs, *runs])
            return
        yield from self._tables.chained(runs)
        yield BARRIER
        first, count = directory.runs[-1]
        yield self._tables.linked(first + count - 1, runs[0][0])

    def length_in_parent(self, directory: Directory) -> int | None:
        """What its parent says of its length."""
        return None if directory.own is None else directory.own.size

    def released(self, old: Old) -> Iterator[Step]:
        """Bits of the bitmap; what its chain says means nothing from now on."""
        return self._tables.marked(self.clusters_of(old), in_use=False)

    def counted(self, free_clusters: int) -> Iterator[Step]:
        """How many per cent are in use, where that is kept."""
        if self._read(1, _PERCENT_AT)[0] != _UNKNOWN:
            used = self._boot.clusters - free_clusters
            yield Write(_PERCENT_AT, bytes([used * 100 // self._boot.clusters]))
            yield BARRIER


def _sets(slots: bytes) -> Iterator[tuple[str, Old]]:
    """Every whole set of a directory, and its name. Raises NotFreeError for one that is wrong."""
    index, count = 0, len(slots) // SLOT
    while index < count and slots[index * SLOT]:
        at = index * SLOT
        if slots[at] != _FILE:
            index += 1
            continue
        length = 1 + slots[at + 1]
        whole = slots[at : at + length * SLOT]
        if len(whole) != length * SLOT or length < 3 or _summed(whole) != whole:
            raise NotFreeError(f"a file of it has a set of entries that is torn: {ADVICE}")
        yield _named(whole, index)
        index += length


def _named(whole: bytes, index: int) -> tuple[str, Old]:
    kind, flags, name_length, _, _, _, _, first, size = _STREAM_FIELDS.unpack_from(whole, SLOT)
    pieces = [whole[at : at + SLOT] for at in range(2 * SLOT, len(whole), SLOT)]
    if kind != _STREAM or (size and not flags & _CAN_ALLOCATE):
        raise NotFreeError(f"a file of it has no entry that says where it is: {ADVICE}")
    raw = b"".join(piece[2:] for piece in pieces if piece[0] == _NAME)[: 2 * name_length]
    is_directory = bool(whole[4] & _DIRECTORY)
    old = Old(index, len(whole) // SLOT, index, is_directory, first, size, bool(size and flags & _NO_CHAIN))
    return raw.decode("utf-16-le", "surrogatepass"), old


def _flags(runs: list[Run]) -> int:
    return _CAN_ALLOCATE | (_NO_CHAIN if len(runs) == 1 else 0)


def _file_slot(attributes: int, details: Details) -> bytes:
    """The first slot of a set, without its sum and how many follow."""
    modified, accessed = packed(details.modified), packed(details.accessed)
    stamps = (modified.stamp, modified.stamp, accessed.stamp, modified.tens, modified.tens)
    return _FILE_FIELDS.pack(_FILE, 0, 0, attributes, 0, *stamps, _UTC, _UTC, _UTC)


def _name_slots(name: str) -> bytes:
    raw = name.encode("utf-16-le")
    pieces = [raw[at : at + 2 * _IN_SLOT] for at in range(0, len(raw), 2 * _IN_SLOT)]
    return b"".join(bytes((_NAME, 0)) + piece.ljust(2 * _IN_SLOT, b"\0") for piece in pieces)


def _summed(slots: bytes) -> bytes:
    """A set with how many slots follow the first one, and the sum of all without that of itself."""
    counted = slots[:1] + bytes([len(slots) // SLOT - 1]) + slots[2:]
    total = rotated_sum(counted[4:], rotated_sum(counted[:2]))
    return counted[:2] + total.to_bytes(2, "little") + counted[4:]
