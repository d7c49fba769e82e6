"""A partition table for another sector size: the same partitions at the same bytes, counted in other sectors.

Either the whole table is rewritten or nothing of it: where a border is no multiple of the new sectors, or
there is no room for the new table, it stays as it is and the reason is said.
"""

from __future__ import annotations

from zlib import crc32

from vhdx.filesystems import sectors
from vhdx.partitions import gpt, logical, mbr
from vhdx.partitions.gpt import PRIMARY_SECTOR
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdx.partitions.gpt import Gpt
    from vhdx.partitions.mbr import MbrEntry
    from vhdx.partitions.table import PartitionTable

    Read = Callable[[int, int], bytes]


_BOOT_CODE_LENGTH = 440


class Patch(NamedTuple):
    """Bytes that stand at an offset of the new disk instead of the old ones; later patches count."""

    disk_offset: int
    data: bytes


class Rewritten(NamedTuple):
    """The patches, none if the table stays, and sentences on what was done and what is to be known."""

    patches: tuple[Patch, ...]
    remarks: tuple[str, ...]


class _StaysError(Exception):
    """The table cannot be rewritten; the message says why."""


def rewritten(read: Read, table: PartitionTable, disk_size: int, sector_size: int) -> Rewritten:
    """The table of a disk for sectors of ``sector_size`` bytes, of which ``disk_size`` is a multiple.

    ``read(length, offset)`` gives bytes of the old disk, zeros behind its end.
    """
    patches: tuple[Patch, ...] = ()
    said = f"the partition table was rewritten for sectors of {sector_size} bytes"
    try:
        patches = tuple(_PATCHES_OF[table.kind](read, table, disk_size, sector_size))
    except _StaysError as error:
        said = (
            f"the partition table stays as it is, for sectors of {table.sector_size} bytes, and systems "
            f"will not find the partitions: {error}"
        )
    remarks = () if table.kind == "none" else (said,)
    return Rewritten(patches, (*remarks, *_misfits(read, table, sector_size)))


def _misfits(read: Read, table: PartitionTable, sector_size: int) -> Iterator[str]:
    """A sentence for each thing found that the new sectors are wrong for."""
    if table.kind == "mbr" and any(read(_BOOT_CODE_LENGTH, 0)):
        yield f"the boot code in the first sector may count in sectors of {table.sector_size} bytes"
    if table.kind == "none":
        places = [("the disk", 0)]
    else:
        places = [(f"partition {p.number}", p.offset) for p in table.partitions]
    for name, offset in places:
        found = sectors.recognised(read(sectors.PROBE_LENGTH, offset))
        if found is not None and not found.works_on(sector_size):
            made_for = "blocks" if found.any_up_to_unit else "sectors"
            yield (
                f"{name} holds {found.name} with {made_for} of {found.unit} bytes, which systems may refuse "
                f"on sectors of {sector_size}"
            )


def _none(read: Read, table: PartitionTable, disk_size: int, sector_size: int) -> Iterator[Patch]:  # noqa: ARG001  a row of the table
    yield from ()


def _hybrid(read: Read, table: PartitionTable, disk_size: int, sector_size: int) -> Iterator[Patch]:  # noqa: ARG001  a row of the table
    yield from ()
    raise _StaysError("it is a hybrid one, whose two halves must agree")


def _in_sectors(what: str, offset: int, sector_size: int) -> int:
    """An offset as a number of sectors."""
    if offset % sector_size:
        raise _StaysError(f"{what} at byte {offset}, which is no multiple of {sector_size}")
    return offset // sector_size


# GPT ---------------------------------------------------------------------------------------------


def _gpt(read: Read, table: PartitionTable, disk_size: int, sector_size: int) -> Iterator[Patch]:
    found = table.gpt
    if found is None:
        raise _StaysError("neither of its copies is sound")
    if found.header.entries_sector != PRIMARY_SECTOR + 1:
        raise _StaysError("its entries do not stand right behind its header, and something else may")
    places = _gpt_places(found, sector_size)
    entries = gpt.with_places(found.entries, found.header.entry_size, places)
    room = _room(found, places, disk_size // sector_size, sector_size)
    header = found.header._replace(
        own_sector=PRIMARY_SECTOR,
        other_sector=room.backup_entries + room.entries_sectors,
        first_usable=room.first_usable,
        last_usable=room.backup_entries - 1,
        entries_sector=PRIMARY_SECTOR + 1,
        entries_checksum=crc32(entries),
    )
    backup = header._replace(
        own_sector=header.other_sector, other_sector=PRIMARY_SECTOR, entries_sector=room.backup_entries
    )
    yield from _without_old_copies(found, room.front_length, room.end_of_last * sector_size)
    protective = mbr.protective_for(read(mbr.RECORD_SIZE, 0), disk_size // sector_size)
    if protective is not None:
        yield Patch(0, protective)
    padded = entries.ljust(room.entries_sectors * sector_size, b"\0")
    for copy in (header, backup):
        yield Patch(copy.entries_sector * sector_size, padded)
        yield Patch(copy.own_sector * sector_size, copy.pack(sector_size))


class _Room(NamedTuple):
    """Where a GPT has room, in new sectors; ``front_length`` are the bytes that old or new primary take."""

    entries_sectors: int
    front_length: int
    first_usable: int
    end_of_last: int
    backup_entries: int


def _room(found: Gpt, places: dict[int, tuple[int, int]], sectors: int, sector_size: int) -> _Room:
    """Room before and behind the partitions, whose (first, last) sectors are ``places``."""
    taken = -(-len(found.entries) // sector_size)
    front, backup_entries = PRIMARY_SECTOR + 1 + taken, sectors - 1 - taken
    old_front = (PRIMARY_SECTOR + 1 + found.entries_sectors) * found.sector_size
    front_length = max(front * sector_size, old_front)
    begins = min((first for first, _ in places.values()), default=backup_entries)
    ends = max((last + 1 for _, last in places.values()), default=0)
    if begins * sector_size < front_length:
        raise _StaysError(f"there is no room for it, {front_length} bytes, before the first partition")
    if ends > backup_entries:
        length = (taken + 1) * sector_size
        raise _StaysError(f"there is no room for its backup, {length} bytes, behind the last partition")
    usable = -(-found.header.first_usable * found.sector_size // sector_size)
    return _Room(taken, front_length, min(max(front, usable), begins), ends, backup_entries)


def _gpt_places(found: Gpt, sector_size: int) -> dict[int, tuple[int, int]]:
    """First and last sector of each partition in the new sectors."""
    places = {}
    for entry in found.used_entries():
        start, end = entry.first_sector * found.sector_size, (entry.last_sector + 1) * found.sector_size
        first = _in_sectors(f"partition {entry.number} begins", start, sector_size)
        behind = _in_sectors(f"partition {entry.number} ends", end, sector_size)
        if behind <= first:
            raise _StaysError(f"partition {entry.number} ends before it begins")
        places[entry.number] = (first, behind - 1)
    return places


def _without_old_copies(found: Gpt, used_front: int, end_of_last: int) -> Iterator[Patch]:
    """Zeros over both old copies, as far as no partition is there: no reader is to find one of them."""
    yield Patch(mbr.RECORD_SIZE, bytes(used_front - mbr.RECORD_SIZE))
    yield from without_old_backup(found, end_of_last)


def without_old_backup(found: Gpt, end_of_last: int) -> Iterator[Patch]:
    """Zeros over the backup, unless a partition, of which the last ends at ``end_of_last``, is there."""
    start = (found.backup_sector - found.entries_sectors) * found.sector_size
    if found.backup_damage is None and start >= end_of_last:
        yield Patch(start, bytes(found.backup_length))


# MBR ---------------------------------------------------------------------------------------------


def _mbr(read: Read, table: PartitionTable, disk_size: int, sector_size: int) -> Iterator[Patch]:
    assert table.mbr is not None
    old = table.sector_size
    entries = tuple(
        _converted(f"partition {number}", entry, old, sector_size)
        for number, entry in enumerate(table.mbr.entries, 1)
    )
    patches = [Patch(0, mbr.with_entries(read(mbr.RECORD_SIZE, 0), entries))]
    extended = mbr.extended_of(table.mbr)
    if extended is not None:
        chain = logical.walk(read, disk_size, old, extended)
        if chain.damage is not None:
            raise _StaysError(chain.damage)
        start = extended.first_sector * old // sector_size
        patches += [_link(link, start, old, sector_size) for link in chain.links]
    yield from patches


def _link(link: logical.Link, extended: int, old: int, sector_size: int) -> Patch:
    """A record of the chain; ``extended`` is the new first sector of the extended partition."""
    offset = link.sector * old
    own = _in_sectors("a record of a logical partition stands", offset, sector_size)
    entries = tuple(_converted("a logical partition", entry, old, sector_size) for entry in link.entries)
    bases = tuple(extended if entry.is_extended else own for entry in entries)
    return Patch(offset, mbr.with_entries(link.record, entries, bases))


def _converted(name: str, entry: MbrEntry, old: int, sector_size: int) -> MbrEntry:
    if not entry.is_used:
        return entry
    end = entry.first_sector + entry.sector_count
    first = _in_sectors(f"{name} begins", entry.first_sector * old, sector_size)
    behind = _in_sectors(f"{name} ends", end * old, sector_size)
    if behind > mbr.MAXIMUM_SECTORS:
        raise _StaysError(f"{name} ends behind what an MBR can tell in sectors of {sector_size} bytes")
    return entry._replace(first_sector=first, sector_count=behind - first)


_PATCHES_OF = {"none": _none, "hybrid": _hybrid, "gpt": _gpt, "mbr": _mbr}
