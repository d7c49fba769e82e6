"""Lost pieces of the metadata, made anew: items at their usual places, and what somebody knows of the disk.

Every program writes the items right behind the table, in one order: where only the table is lost, nothing is.
What an item said that is lost itself stands nowhere else for certain. Whoever knows it may hand it over; what
the rest of the image suggests is proposed, with the reason, and never used unasked.
"""

from __future__ import annotations

import uuid

from vhdx import rules
from vhdx.errors import CorruptImageError
from vhdx.examine.beginning import replayed_file
from vhdx.examine.proposals import proposals
from vhdx.examine.remains import Remains
from vhdx.format import guids, locator, metadata
from vhdx.format.metadata import HAS_PARENT, KNOWN_ITEMS, LEAVE_BLOCK_ALLOCATED, MetadataEntry
from vhdx.geometry import Geometry
from vhdx.image import metadata as items
from vhdx.rules import CollectingReport
from vhdx.storage.overlay import SECTOR_SIZE
from vhdx.text import command
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from vhdx.format.region import RegionEntry
    from vhdx.known import KnownDisk
    from vhdx.storage.base import ReadableStorage

    Values = dict[UUID, bytes]

_SIZES = (guids.FILE_PARAMETERS, guids.VIRTUAL_DISK_SIZE)
_SECTORS = (guids.LOGICAL_SECTOR_SIZE, guids.PHYSICAL_SECTOR_SIZE)
_ORDERS = (
    (*_SIZES, *_SECTORS, guids.VIRTUAL_DISK_ID),
    (*_SIZES, guids.VIRTUAL_DISK_ID, *_SECTORS),
)
"""As Windows writes the items, and as QEMU does."""
_ITEMS = _ORDERS[0]
_TOLD, _UNKNOWN = "as told", "nothing suggests it"
_FLAGS = {"dynamic": 0, "fixed": LEAVE_BLOCK_ALLOCATED, "differencing": HAS_PARENT}


class LostItems(NamedTuple):
    """What is to stand in the metadata region, as (file offset, whole sectors), and from what it was made."""

    patches: tuple[tuple[int, bytes], ...]
    found: tuple[str, ...]


NOTHING_LOST = LostItems((), ())


class LostValue(NamedTuple):
    """What an image does not say any more: the option that hands it over, a value in bytes, and why that one.

    ``value`` is what was told or what the rest of the image suggests, None where nothing does.
    """

    option: str
    value: int | None
    reason: str

    @property
    def argument(self) -> str:
        """It as words of a command line."""
        return f"{self.option} {'N' if self.value is None else self.value}"


class _Found(NamedTuple):
    """What is left of the metadata: its first bytes, the entries and the values of the usual items."""

    data: bytes
    entries: dict[UUID, MetadataEntry]
    values: Values
    told: list[str]
    """Where the values are from."""


def restored_items(
    storage: ReadableStorage, region: RegionEntry, bat: RegionEntry | None, known: KnownDisk
) -> LostItems:
    """What to put in the place of lost metadata, in the file as it is after replay.

    Raises CorruptImageError that names what has to be handed over, and ValueError for what no disk has.
    """
    report = CollectingReport()
    items.load(storage, region, report)
    if not rules.LOST_METADATA & report.counts.keys() or region.file_offset + region.length > storage.size():
        return NOTHING_LOST
    found = _found_in(storage, region)
    lost = _lost_values(storage, bat, found.values, known)
    told = [*found.told, *_complete(found, known)]
    if any(guid not in found.values for guid in _ITEMS):
        raise _refused(storage.name, lost)
    return LostItems(tuple(_patches(region, found.data, found.entries, found.values)), tuple(told))


def lost_values(
    storage: ReadableStorage, region: RegionEntry, bat: RegionEntry | None, known: KnownDisk
) -> tuple[LostValue, ...]:
    """What the metadata do not say any more and has to be told; ``known`` is what was."""
    if region.file_offset + region.length > storage.size():
        return ()
    return _lost_values(storage, bat, _found_in(storage, region).values, known)


def _found_in(storage: ReadableStorage, region: RegionEntry) -> _Found:
    data = storage.read(min(region.length, 2 * metadata.TABLE_SIZE), region.file_offset)
    entries = _entries(data)
    if entries:
        values = _sound_values(data, {guid: (e.offset, e.length) for guid, e in entries.items()})
        return _Found(data, entries, values, ["the items that the table names"])
    values = _at_usual_places(data)
    return _Found(data, entries, values, ["items at their usual places"] if values else [])


def items_of(file: ReadableStorage, known: KnownDisk) -> LostItems:
    """The same for a file as it stands. Nothing where the regions are not known."""
    storage = replayed_file(file)
    remains = Remains(storage)
    region = remains.region(guids.METADATA_REGION)
    if region is None:
        return NOTHING_LOST
    return restored_items(storage, region, remains.region(guids.BAT_REGION), known)


def told_geometry(known: KnownDisk) -> Geometry | None:
    """The sizes of a disk of which an image says nothing; None unless all are told.

    Raises ValueError for what no disk has.
    """
    if None in (known.virtual_size, known.block_size, known.logical_sector_size):
        return None
    values: Values = {}
    _complete(_Found(b"", {}, values, []), known)
    block_size, flags = metadata.unpack_file_parameters(values[guids.FILE_PARAMETERS])
    disk_size, sector_size = (
        int.from_bytes(values[guid], "little")
        for guid in (guids.VIRTUAL_DISK_SIZE, guids.LOGICAL_SECTOR_SIZE)
    )
    if disk_size % sector_size:
        raise ValueError(f"a disk of {disk_size} bytes has no whole sectors of {sector_size}")
    return Geometry(disk_size, block_size, sector_size, bool(flags & HAS_PARENT))


def _rows(data: bytes) -> list[MetadataEntry]:
    """All entries of the table, none if it is lost."""
    if metadata.table_signature(data) != metadata.SIGNATURE:
        return []
    if metadata.table_count(data) > metadata.MAXIMUM_ENTRIES:
        return []
    return list(metadata.unpack_table(data))


def _entries(data: bytes) -> dict[UUID, MetadataEntry]:
    """The entries of the items that everybody has, as far as they name places where those can be."""
    return {
        row.item_id: row
        for row in _rows(data)
        if row.item_id in _ITEMS
        and not row.is_user
        and row.length == KNOWN_ITEMS[row.item_id].length
        and row.offset >= metadata.TABLE_SIZE
        and row.end <= len(data)
    }


def _places(order: Sequence[UUID]) -> dict[UUID, tuple[int, int]]:
    places, offset = {}, metadata.TABLE_SIZE
    for guid in order:
        length = KNOWN_ITEMS[guid].length or 0
        places[guid] = offset, length
        offset += length
    return places


def _at_usual_places(data: bytes) -> Values:
    """The items right behind a lost table; none unless all of them can be what they seem."""
    read = (_sound_values(data, _places(order)) for order in _ORDERS)
    return next((values for values in read if len(values) == len(_ITEMS)), {})


def _sound_values(data: bytes, places: dict[UUID, tuple[int, int]]) -> Values:
    """The items at these (offset, length) that say something possible."""
    found = {guid: data[offset : offset + length] for guid, (offset, length) in places.items()}
    return {guid: item for guid, item in found.items() if guid in _ITEMS and _is_possible(guid, found)}


def _is_possible(guid: UUID, found: Values) -> bool:
    if len(found[guid]) != KNOWN_ITEMS[guid].length:  # the file ends before it does
        return False
    number = int.from_bytes(found[guid], "little")
    if guid == guids.FILE_PARAMETERS:
        block_size, flags = metadata.unpack_file_parameters(found[guid])
        return metadata.is_block_size(block_size) and flags <= LEAVE_BLOCK_ALLOCATED | HAS_PARENT
    if guid == guids.VIRTUAL_DISK_SIZE:
        return 0 < number <= metadata.MAXIMUM_DISK_SIZE and not number % metadata.SECTOR_SIZES[0]
    if guid == guids.VIRTUAL_DISK_ID:
        return bool(number)
    return number in metadata.SECTOR_SIZES


def _names_parent(data: bytes) -> bool:
    """Whether a parent locator stands in the metadata, in the table or behind a lost one."""
    named = any(row.item_id == guids.PARENT_LOCATOR and not row.is_user for row in _rows(data))
    return named or _locator_entry(data) is not None


def _complete(found: _Found, known: KnownDisk) -> list[str]:
    """Fill in what is missing from what is known, and the identity, which no read depends on.

    Where nobody says what kind of image it is, it is a differencing one if it names a parent.
    """
    values, told = found.values, []
    if guids.FILE_PARAMETERS not in values and known.block_size is not None:
        if not metadata.is_block_size(known.block_size):
            raise ValueError(f"a block size is a power of two from 1 MiB to 256 MiB, not {known.block_size}")
        if known.disk_type not in (None, *_FLAGS):
            raise ValueError(f"a disk is {', '.join(_FLAGS)}, not {known.disk_type!r}")
        disk_type = known.disk_type or ("differencing" if _names_parent(found.data) else "dynamic")
        values[guids.FILE_PARAMETERS] = metadata.pack_file_parameters(known.block_size, _FLAGS[disk_type])
        told.append(f"a block size of {known.block_size}, as told; the image is {disk_type}")
    for guid, number, word in (
        (guids.LOGICAL_SECTOR_SIZE, known.logical_sector_size, "logical sector size"),
        (guids.VIRTUAL_DISK_SIZE, known.virtual_size, "virtual size"),
    ):
        if guid in values or number is None:
            continue
        length = KNOWN_ITEMS[guid].length or 0
        fits = 0 <= number < 1 << 8 * length
        values[guid] = (number if fits else 0).to_bytes(length, "little")
        if not _is_possible(guid, values):
            raise ValueError(f"{number} bytes are no {word} that a disk can have")
        told.append(f"a {word} of {number}, as told")
    values.setdefault(guids.VIRTUAL_DISK_ID, uuid.uuid4().bytes_le)
    if guids.LOGICAL_SECTOR_SIZE in values:
        values.setdefault(guids.PHYSICAL_SECTOR_SIZE, values[guids.LOGICAL_SECTOR_SIZE])
    return told


def _lost_values(
    storage: ReadableStorage, bat: RegionEntry | None, values: Values, known: KnownDisk
) -> tuple[LostValue, ...]:
    told = {
        guids.FILE_PARAMETERS: ("--block-size", known.block_size),
        guids.VIRTUAL_DISK_SIZE: ("--virtual-size", known.virtual_size),
        guids.LOGICAL_SECTOR_SIZE: ("--logical-sector-size", known.logical_sector_size),
    }
    wanted = [told[guid] for guid in _ITEMS if guid in told and guid not in values]
    block_size = known.block_size
    if guids.FILE_PARAMETERS in values:
        block_size, _ = metadata.unpack_file_parameters(values[guids.FILE_PARAMETERS])
    sector_size = known.logical_sector_size
    if guids.LOGICAL_SECTOR_SIZE in values:
        sector_size = int.from_bytes(values[guids.LOGICAL_SECTOR_SIZE], "little")
    proposed = {}
    if bat is not None and any(value is None for _, value in wanted):
        proposed = proposals(storage, bat, block_size, sector_size)
    lost = []
    for option, value in wanted:
        proposal = proposed.get(option)
        if value is None and proposal is not None:
            lost.append(LostValue(option, *proposal))
        else:
            lost.append(LostValue(option, value, _UNKNOWN if value is None else _TOLD))
    return tuple(lost)


def _refused(name: str, lost: Sequence[LostValue]) -> CorruptImageError:
    wanted = [each for each in lost if each.reason != _TOLD]
    reasons = [each.reason for each in wanted if each.value is not None]
    arguments = "".join(f" {each.argument}" for each in lost)
    evidence = f"; what the file suggests: {'; '.join(reasons)}" if reasons else ""
    options = ", ".join(each.option for each in wanted)
    return CorruptImageError(
        f"what the metadata said is lost and has to be told ({options}){evidence}",
        image=name,
        structure="metadata",
        rule=rules.METADATA_MISSING.section,
        next_command=command(f"convert --salvage{arguments} {{}} SALVAGED.vhdx", name),
    )


def _patches(
    region: RegionEntry, data: bytes, entries: dict[UUID, MetadataEntry], values: Values
) -> list[tuple[int, bytes]]:
    """The sectors of the table and of the items that are not as they should be."""
    wanted = bytearray(data)
    places = {guid: (entry.offset, entry.length) for guid, entry in entries.items()}
    if not entries:
        places = _places(_ITEMS)
        rows = [MetadataEntry(guid, *places[guid], KNOWN_ITEMS[guid].flags) for guid in _ITEMS]
        found = _locator_entry(data)
        wanted[: metadata.TABLE_SIZE] = metadata.pack_table([*rows, *([found] if found else [])])
    elif len(entries) < len(_ITEMS):
        rows = [row for row in _rows(data) if row.is_user or row.item_id not in _ITEMS]
        rows += entries.values()
        offset = max(metadata.TABLE_SIZE, *(row.end for row in rows))
        for guid in _ITEMS:
            if guid not in entries:
                places[guid] = offset, len(values[guid])
                rows.append(MetadataEntry(guid, *places[guid], KNOWN_ITEMS[guid].flags))
                offset += len(values[guid])
        if offset > len(data) or len(rows) > metadata.MAXIMUM_ENTRIES:
            return []  # no room: what is lost stays lost, which was said
        wanted[: metadata.TABLE_SIZE] = metadata.pack_table(rows)
    for guid in _ITEMS:
        offset, length = places[guid]
        wanted[offset : offset + length] = values[guid]
    return [
        (region.file_offset + at, bytes(wanted[at : at + SECTOR_SIZE]))
        for at in range(0, len(data), SECTOR_SIZE)
        if wanted[at : at + SECTOR_SIZE] != data[at : at + SECTOR_SIZE]
    ]


def _locator_entry(data: bytes) -> MetadataEntry | None:
    """The entry of a parent locator that stands somewhere behind the table; None if there is none."""
    offset = data.find(guids.VHDX_PARENT_LOCATOR.bytes_le, metadata.TABLE_SIZE)
    length = locator.length_at(data, offset) if offset > 0 else None
    if length is None:
        return None
    return MetadataEntry(guids.PARENT_LOCATOR, offset, length, KNOWN_ITEMS[guids.PARENT_LOCATOR].flags)
