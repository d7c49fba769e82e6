"""Where volumes may stand on a disk: all of it or its partitions; why one of them is not to be believed."""

from __future__ import annotations

from vhdx.disk.partitions import partition_table
from vhdx.disk.volume_map import VolumeMap
from vhdx.filesystems.detect import detect
from vhdx.partitions.mbr import EXTENDED_TYPES
from vhdx.partitions.read import read_table
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vhdx.disk.base import VirtualDisk
    from vhdx.partitions.table import Partition, PartitionTable

WHOLE_DISK = "whole disk"
_EXTENDED = frozenset(f"0x{kind:02x}" for kind in EXTENDED_TYPES)
_FIRST_LOGICAL = 5
_DYNAMIC = "its partition is of a dynamic disk, whose volumes may be in pieces"
_POOL = "its partition is a member of a pool of disks"
_MANAGED = {
    "0x42": _DYNAMIC,
    "af9b60a0-1431-4f62-bc68-3311714a69ad": _DYNAMIC,
    "e75caf8f-f680-4cee-afa3-b001e56efc2d": _POOL,
    "6a898cc3-1dd2-11b2-99a6-080020736631": _POOL,
    "516e7cba-6ecf-11d6-8ff8-00022d09712b": _POOL,
    "52414944-0000-11aa-aa11-00306543ecac": _POOL,
    "53746f72-6167-11aa-aa11-00306543ecac": _POOL,
    "4fbd7e29-9d25-41b8-afd0-062c0ceff05d": _POOL,
    "aa31e02a-400f-11db-9590-000c2911d1b8": _POOL,
}
"""Types of partitions in which a manager of volumes puts what it likes, where it likes: dynamic disks,
Storage Spaces, ZFS, Apple's RAID and Core Storage, Ceph, VMFS. What looks like a file system there may be a
piece of one, or a remnant."""


class Place(NamedTuple):
    """Where a volume stands, before anybody looked into it, and why nothing of it may be called free."""

    partition: int | None
    name: str
    map: VolumeMap
    reason: str | None = None


def places_of(disk: VirtualDisk) -> Iterator[Place]:
    """The disk as a whole where it has no table of partitions, else the partitions."""
    table = partition_table(disk)
    whole = VolumeMap(disk, ((0, disk.size),))
    if table.kind == "none":
        yield Place(None, WHOLE_DISK, whole, table.findings[0] if table.findings else None)
        return
    reason = _reason_against_all(table, whole)
    overlapping = _overlapping(table.partitions)
    for partition in table.partitions:
        length = min(partition.end, disk.size) - partition.offset
        if length > 0 and partition.type not in _EXTENDED:
            own = _MANAGED.get(partition.type) or _outside(partition, table)
            if partition.number in overlapping:
                own = "its partition overlaps with another one"
            name = f"partition {partition.number}"
            yield Place(partition.number, name, VolumeMap(disk, ((partition.offset, length),)), own or reason)


def reason_within(place: Place) -> str | None:
    """Why a partition or logical volume is not believed that is a disk itself, of a machine in the machine.

    A remnant of the file system that was there before may stand between its table and its first partition.
    """
    if place.name == WHOLE_DISK:
        return None
    found = read_table(place.map.read, place.map.size, place.map.sector_size)
    return "it has a table of partitions of its own, too" if found.partitions else None


def _reason_against_all(table: PartitionTable, whole: VolumeMap) -> str | None:
    """Why no partition of a table can be believed in."""
    if table.kind == "hybrid":
        return "the disk has a hybrid table of partitions, whose halves may not agree"
    found = detect(whole.read, whole.size)
    if found is not None:
        return f"the disk as a whole has the signature of {found.recognised.identity.kind}, too"
    return None


def _outside(partition: Partition, table: PartitionTable) -> str | None:
    """Why a partition is not believed that stands where the table itself does."""
    first, end = 1, None
    if table.gpt is not None:
        first, end = table.gpt.header.first_usable, table.gpt.header.last_usable + 1
    unit = table.sector_size
    if partition.offset < first * unit or (end is not None and partition.end > end * unit):
        return "its partition overlaps with the table of partitions"
    return None


def _overlapping(partitions: Iterable[Partition]) -> set[int]:
    """The numbers of the partitions that share bytes with another one.

    An extended partition holds the logical ones and the records of these: other ones must keep out of it.
    """
    primary = [one for one in partitions if one.number < _FIRST_LOGICAL]
    return _sharing(primary) | _sharing(one for one in partitions if one.type not in _EXTENDED)


def _sharing(partitions: Iterable[Partition]) -> set[int]:
    found: set[int] = set()
    before: Partition | None = None
    for partition in sorted(partitions, key=lambda partition: partition.offset):
        if before is not None and partition.offset < before.end:
            found |= {before.number, partition.number}
        if before is None or partition.end > before.end:
            before = partition
    return found
