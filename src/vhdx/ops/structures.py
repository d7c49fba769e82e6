"""The structures of an image as tables of fields, each read on its own, as it stands in the file."""

from __future__ import annotations

from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from vhdx.errors import CorruptImageError
from vhdx.format import bat, fields, guids, header, identifier, locator, log, metadata, region
from vhdx.geometry import BITMAP_BLOCK_SIZE, SECTORS_PER_CHUNK
from vhdx.image.bitmap import bit_runs
from vhdx.journal.scan import descriptor_bytes, entry_fault
from vhdx.text import command, quoted
from vhdx.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from vhdx.examine.remains import Remains
    from vhdx.format.fields import Table, Value
    from vhdx.geometry import Geometry
    from vhdx.journal.ring import Ring

_LONGEST_RAW = 32


class FieldValue(NamedTuple):
    """One field: where it stands, its bytes in hex (the first of them if they are many), what it says."""

    name: str
    file_offset: int
    size: int
    raw: str
    value: Value
    meaning: str


class Dump(NamedTuple):
    """One structure; ``damage`` says why it is not valid, None if it is or if nothing can tell.

    Long ones are read while their fields are: before the next structure is asked for.
    """

    structure: str
    file_offset: int
    damage: str | None
    fields: Iterator[FieldValue]


def _dump(name: str, place: int, table: Table, structure: bytes, damage: str | None = None) -> Dump:
    return Dump(name, place, damage, shown(table, structure, place))


def shown(table: Table, structure: bytes, file_offset: int) -> Iterator[FieldValue]:
    """The fields of a structure; missing bytes are taken for zeros."""
    whole = structure.ljust(fields.length(table), b"\0")
    for field in table:
        raw = field.raw(whole)
        value, meaning = field.show(raw, whole)
        first = raw[:_LONGEST_RAW].hex() + ("…" if len(raw) > _LONGEST_RAW else "")
        yield FieldValue(field.name, file_offset + field.offset, field.size, first, value, meaning)


def _copies(part: str) -> range:
    """The copies that a part names: ``1``, ``2``, or both if it is empty."""
    if part not in ("", "1", "2"):
        raise ValueError(f"there are copies 1 and 2, but no {part!r}")
    return range(int(part) - 1, int(part)) if part else range(2)


def _refuse_part(part: str) -> None:
    if part:
        raise ValueError(f"the structure has no parts to choose from: leave out {part!r}")


def _unknown(remains: Remains, why: str, look_at: str) -> CorruptImageError:
    advice = command(f"dump {{}} {look_at}", remains.name)
    return CorruptImageError(why, image=remains.name, next_command=advice)


def _region_start(remains: Remains, guid: UUID) -> int:
    entry = remains.region(guid)
    if entry is None:
        raise _unknown(remains, f"no readable entry says where the {guids.NAMES[guid]} is", "regions")
    return entry.file_offset


def _identifier(remains: Remains, part: str) -> Iterator[Dump]:
    _refuse_part(part)
    data = remains.peek(identifier.IDENTIFIER_SIZE, 0)
    yield _dump("file identifier", 0, identifier.FIELDS, data)


def _headers(remains: Remains, part: str) -> Iterator[Dump]:
    for slot in _copies(part):
        place = header.HEADER_OFFSETS[slot]
        data = remains.peek(header.HEADER_SIZE, place)
        yield _dump(f"header {slot + 1}", place, header.FIELDS, data, header.damage(data))


def _regions(remains: Remains, part: str) -> Iterator[Dump]:
    for copy in _copies(part):
        place, name = region.TABLE_OFFSETS[copy], f"region table {copy + 1}"
        data = remains.peek(region.TABLE_SIZE, place)
        whole = data.ljust(region.TABLE_SIZE, b"\0")
        yield _dump(name, place, region.TABLE_FIELDS, whole, region.damage(data))
        for index in range(min(region.count(whole), region.MAXIMUM_ENTRIES)):
            start = region.entry_offset(index)
            row = whole[start : start + region.ENTRY_SIZE]
            yield _dump(f"{name}, entry {index}", place + start, region.ENTRY_FIELDS, row)


def _metadata(remains: Remains, part: str) -> Iterator[Dump]:
    _refuse_part(part)
    start = _region_start(remains, guids.METADATA_REGION)
    table = remains.metadata_table
    yield _dump("metadata table", start, metadata.TABLE_FIELDS, table)
    for index, entry in enumerate(remains.metadata_entries):
        at = metadata.entry_offset(index)
        row = table[at : at + metadata.ENTRY_SIZE]
        yield _dump(f"metadata entry {index}", start + at, metadata.ENTRY_FIELDS, row)
        item = remains.item_bytes(entry)
        name = f"item of entry {index} ({guids.NAMES.get(entry.item_id, str(entry.item_id))})"
        few = f"{len(item)} of its {entry.length} bytes can be read" if len(item) < entry.length else None
        yield _dump(name, start + entry.offset, _item_table(entry, len(item)), item, few)


def _item_table(entry: metadata.MetadataEntry, length: int) -> Table:
    known = metadata.ITEM_FIELDS.get(entry.item_id)
    if known is not None and not entry.is_user:
        return known
    return fields.table(("data", length, fields.data)) if length else ()


def _locator(remains: Remains, part: str) -> Iterator[Dump]:
    _refuse_part(part)
    start = _region_start(remains, guids.METADATA_REGION)
    for entry in remains.metadata_entries:
        if entry.item_id != guids.PARENT_LOCATOR or entry.is_user:
            continue
        item, place = remains.item_bytes(entry), start + entry.offset
        yield _dump("parent locator", place, locator.HEADER_FIELDS, item)
        for index, (at, key, value) in enumerate(locator.entries(item)):
            row = item[at : at + locator.ENTRY_SIZE]
            name = f"parent locator, entry {index}: {quoted(key)} = {quoted(value)}"
            yield _dump(name, place + at, locator.ENTRY_FIELDS, row)


def _bat(remains: Remains, part: str) -> Iterator[Dump]:
    start = _region_start(remains, guids.BAT_REGION)
    found, geometry = remains.region(guids.BAT_REGION), remains.geometry
    room = found.length // bat.ENTRY_SIZE if found else 0
    used = min(room, geometry.bat_entry_count) if geometry else room
    for index in _entry_range(part, room, used):
        place = start + index * bat.ENTRY_SIZE
        data = remains.peek(bat.ENTRY_SIZE, place)
        damage = None if len(data) == bat.ENTRY_SIZE else "it is behind the end of the file"
        if geometry is None or index >= used:
            yield _dump(f"BAT entry {index}", place, bat.PAYLOAD_FIELDS, data, damage)
            continue
        table = bat.BITMAP_FIELDS if geometry.is_bitmap_index(index) else bat.PAYLOAD_FIELDS
        yield _dump(f"BAT entry {index} ({geometry.slot_name(index)})", place, table, data, damage)


def _entry_range(part: str, room: int, used: int) -> range:
    """``17`` or ``0-99``; all that the disk needs if the part is empty."""
    if not part:
        return range(used)
    first, _, last = part.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal() and len(part) < 40):
        raise ValueError(f"{part!r} is no range of entries; write it like 17 or 0-99")
    chosen = range(int(first), int(last or first) + 1)
    if chosen.stop > room or not chosen:
        raise ValueError(f"the BAT region has room for the entries 0 to {room - 1}, not for {part}")
    return chosen


def _bitmap(remains: Remains, part: str) -> Iterator[Dump]:
    table, geometry = remains.bat, remains.geometry
    if table is None or geometry is None:
        raise _unknown(remains, "where the BAT is and what the disk's sizes are cannot be read", "metadata")
    if not part.isdecimal() or len(part) > 20 or int(part) >= geometry.chunk_count:
        raise ValueError(f"say bitmap:CHUNK, a number from 0 to {geometry.chunk_count - 1}")
    chunk = int(part)
    place = bat.file_offset_of(table.bitmap(chunk))
    name = f"sector bitmap of chunk {chunk}"
    if not place:
        yield Dump(name, 0, "its BAT entry names no place", iter(()))
        return
    few = place + BITMAP_BLOCK_SIZE > remains.size
    damage = "it reaches behind the end of the file" if few else None
    yield Dump(name, place, damage, _sector_runs(remains, geometry, chunk, place))


def _sector_runs(remains: Remains, geometry: Geometry, chunk: int, place: int) -> Iterator[FieldValue]:
    """A field for each run of sectors, as far as the disk reaches."""
    blocks = min(geometry.chunk_ratio, geometry.block_count - chunk * geometry.chunk_ratio)
    read = partial(_read_behind, remains, place)
    parts = bit_runs(read, 0, blocks * geometry.sectors_per_block)
    for is_set, group in groupby(parts, key=lambda run: run.is_set):
        runs = [*group]
        first, stop = runs[0].first_bit, runs[-1].first_bit + runs[-1].bit_count
        disk_offset = (chunk * SECTORS_PER_CHUNK + first) * geometry.logical_sector_size
        words = "in this file" if is_set else "in the parent, where their block is partially present"
        yield FieldValue(
            f"sectors {first} to {stop - 1}",
            place + first // 8,
            -(-stop // 8) - first // 8,
            "",
            int(is_set),
            f"{words}; from disk offset {disk_offset} on",
        )


def _read_behind(remains: Remains, place: int, length: int, offset: int) -> bytes:
    return remains.padded(length, place + offset)


def _log(remains: Remains, part: str) -> Iterator[Dump]:
    ring = remains.ring
    if ring is None:
        raise _unknown(remains, "no valid header names a log", "headers")
    if part:
        position = parse_size(part)
        if position % log.SECTOR_SIZE or position >= ring.length:
            raise ValueError(f"a position in the log is a multiple of 4096 below {ring.length}")
        yield from _whole_entry(ring, position)
        return
    for position in ring.positions_of(log.ENTRY_SIGNATURE):
        yield _entry_header(ring, position)


def _entry_header(ring: Ring, position: int) -> Dump:
    sector = ring.sector(position)
    name, place = f"log entry at {position}", ring.file_offset + position
    if not sector.startswith(log.ENTRY_SIGNATURE):
        return _dump(name, place, log.ENTRY_FIELDS, sector, "no entry begins here")
    fault = entry_fault(ring, position, log.unpack_entry_header(sector))
    return _dump(name, place, log.ENTRY_FIELDS, sector, fault)


def _whole_entry(ring: Ring, position: int) -> Iterator[Dump]:
    """The header, the descriptors and the data sectors of an entry, as far as its length says."""
    yield _entry_header(ring, position)
    found = log.unpack_entry_header(ring.sector(position))
    sectors = min(found.entry_length, ring.length) // log.SECTOR_SIZE
    tables = min(sectors, log.descriptor_sector_count(found.descriptor_count))
    for index in range(tables):
        place = ring.place(position + index * log.SECTOR_SIZE)
        yield from _descriptors(ring.sector(position + index * log.SECTOR_SIZE), place, index, found)
    for index in range(tables, sectors):
        place = ring.place(position + index * log.SECTOR_SIZE)
        sector = ring.sector(position + index * log.SECTOR_SIZE)
        torn = log.data_sector_sequence(sector) != found.sequence_number
        damage = "torn: it does not carry the entry's sequence number" if torn else None
        yield _dump(f"data sector {index - tables}", place, log.DATA_SECTOR_FIELDS, sector, damage)


def _descriptors(sector: bytes, place: int, index: int, found: log.EntryHeader) -> Iterator[Dump]:
    packed = descriptor_bytes(sector, index, found.descriptor_count)
    start = log.ENTRY_HEADER_SIZE if index == 0 else 0
    for at in range(0, len(packed), log.DESCRIPTOR_SIZE):
        row = packed[at : at + log.DESCRIPTOR_SIZE]
        number = (index * log.SECTOR_SIZE + start + at - log.ENTRY_HEADER_SIZE) // log.DESCRIPTOR_SIZE
        is_zero = row.startswith(log.ZERO_SIGNATURE)
        table = log.ZERO_DESCRIPTOR_FIELDS if is_zero else log.DATA_DESCRIPTOR_FIELDS
        yield _dump(f"descriptor {number}", place + start + at, table, row)


STRUCTURES: dict[str, Callable[[Remains, str], Iterator[Dump]]] = {
    "identifier": _identifier,
    "headers": _headers,
    "regions": _regions,
    "metadata": _metadata,
    "locator": _locator,
    "bat": _bat,
    "bitmap": _bitmap,
    "log": _log,
}
"""Names of structures; each is shown whole, or only the part that stands behind a colon."""
