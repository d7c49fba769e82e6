"""What a replay of the log would change in a file, structure by structure."""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from vhdx import rules
from vhdx.examine.owners import Owners
from vhdx.examine.remains import Remains, filled_up
from vhdx.format import fields, guids, metadata, region
from vhdx.format.bat import ENTRY_SIZE, described
from vhdx.format.log import SECTOR_SIZE
from vhdx.image.bitmap import bit_runs
from vhdx.journal.replay import OVERLAY_LIMIT, GrowthError, replayed_overlay
from vhdx.rules import Finding, Place
from vhdx.storage.overlay import OverlayFullError
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.examine.owners import Owner
    from vhdx.format.fields import Table
    from vhdx.journal.ring import Ring
    from vhdx.journal.scan import ActiveSequence
    from vhdx.storage.overlay import Overlay

_TABLE_WITHOUT_ITS_ENTRIES = tuple(
    field._replace(show=fields.word) if field.show is fields.checksum else field
    for field in region.TABLE_FIELDS
)
_BAT_REGION = guids.NAMES[guids.BAT_REGION]


class Change(NamedTuple):
    """One change: which part of which structure, in which bytes of the file, from what to what."""

    structure: str
    file_offset: int
    length: int
    before: str
    after: str


class _Record(NamedTuple):
    """A part of a structure that has fields."""

    name: str
    file_offset: int
    table: Table


def replay_changes(remains: Remains, ring: Ring, sequence: ActiveSequence) -> Iterator[Change]:
    """The changes in the order of the file. Raises CorruptImageError or UnsupportedImageError."""
    place = Place("log", ring.file_offset)
    try:
        overlay = replayed_overlay(remains.storage, ring, sequence)
    except OverlayFullError:
        detail = f"the log changes more than {OVERLAY_LIMIT} sectors, too many to replay in memory"
        raise Finding(rules.LOG_TOO_LARGE, place, detail).error(remains.name) from None
    except GrowthError as error:
        detail = f"replay would make the file {error} bytes long; files of over 256 TiB are refused"
        raise Finding(rules.LOG_GROWTH, place, detail).error(remains.name) from None
    return _Comparison(remains, overlay).changes()


class _Comparison:
    """A file beside what it would be after replay, page by page; parts are named as they are then."""

    def __init__(self, remains: Remains, overlay: Overlay) -> None:
        self._remains = remains
        self._after = overlay
        self._new_size = overlay.size()
        whole_sectors = -(-self._new_size // SECTOR_SIZE) * SECTOR_SIZE
        self._before = filled_up(remains.storage, whole_sectors)
        overlay.extend(whole_sectors)
        self._layout = Remains(overlay)
        self._owners = Owners(self._layout)
        self._told: set[int] = set()

    def changes(self) -> Iterator[Change]:
        """Every change; what replay writes without changing anything is none."""
        old, new = self._remains.size, self._new_size
        if old != new:
            yield Change("the file's length", old, new - old, f"{old} bytes", f"{new} bytes")
        for file_offset in self._changed_pages():
            before = self._before.read(SECTOR_SIZE, file_offset)
            yield from self._page(file_offset, before, self._after.read(SECTOR_SIZE, file_offset))

    def _changed_pages(self) -> Iterator[int]:
        """The file offsets of the sectors of 4096 bytes that change."""
        for start, length in self._after.changed_ranges():
            for piece in range(start, start + length, MIB):
                count = min(MIB, start + length - piece)
                before, after = self._before.read(count, piece), self._after.read(count, piece)
                if before != after:
                    for at in range(0, count, SECTOR_SIZE):
                        if before[at : at + SECTOR_SIZE] != after[at : at + SECTOR_SIZE]:
                            yield piece + at

    def _page(self, file_offset: int, before: bytes, after: bytes) -> Iterator[Change]:
        owner = self._owners.of(file_offset)
        if owner.name == _BAT_REGION:
            yield from self._bat_entries(
                file_offset, (file_offset - owner.start) // ENTRY_SIZE, before, after
            )
        elif owner.chunk is not None:
            yield from _bits(owner, file_offset, before, after)
        else:
            yield from self._fields(owner, file_offset, before, after)

    def _bat_entries(self, file_offset: int, first: int, before: bytes, after: bytes) -> Iterator[Change]:
        geometry = self._layout.geometry
        for index, (old, new) in enumerate(zip(_words(before), _words(after), strict=True), first):
            if old == new:
                continue
            in_use = geometry if geometry and index < geometry.bat_entry_count else None
            of_bitmap = in_use is not None and in_use.is_bitmap_index(index)
            name = f"BAT entry {index}" + (f" ({in_use.slot_name(index)})" if in_use else "")
            words = (described(entry, of_bitmap=of_bitmap) for entry in (old, new))
            yield Change(name, file_offset + (index - first) * ENTRY_SIZE, ENTRY_SIZE, *words)

    def _fields(self, owner: Owner, file_offset: int, before: bytes, after: bytes) -> Iterator[Change]:
        """The fields of the records that the page touches, then what belongs to none of them."""
        rest_before, rest_after = bytearray(before), bytearray(after)
        for record in self._records(owner):
            length = fields.length(record.table)
            start, stop = record.file_offset - file_offset, record.file_offset - file_offset + length
            if stop <= 0 or start >= SECTOR_SIZE:
                continue
            inside = slice(max(0, start), min(SECTOR_SIZE, stop))
            rest_after[inside] = rest_before[inside]
            if record.file_offset not in self._told:
                self._told.add(record.file_offset)
                yield from self._record(record, length)
        yield from _byte_runs(owner.name, file_offset, rest_before, rest_after)

    def _record(self, record: _Record, length: int) -> Iterator[Change]:
        old, new = (storage.read(length, record.file_offset) for storage in (self._before, self._after))
        for field in record.table:
            if field.raw(old) != field.raw(new):
                words = (_words_of(field.show(field.raw(bytes_), bytes_)) for bytes_ in (old, new))
                name = f"{record.name}: {field.name}"
                yield Change(name, record.file_offset + field.offset, field.size, *words)

    def _records(self, owner: Owner) -> Iterator[_Record]:
        if owner.name.startswith("region table"):
            yield _Record(owner.name, owner.start, _TABLE_WITHOUT_ITS_ENTRIES)
            for index, entry in enumerate(self._layout.region_entries):
                name = f"{owner.name}, entry {index} ({guids.NAMES.get(entry.guid, str(entry.guid))})"
                yield _Record(name, owner.start + region.entry_offset(index), region.ENTRY_FIELDS)
        elif owner.name == "metadata table":
            yield _Record(owner.name, owner.start, metadata.TABLE_FIELDS)
            for index, item in enumerate(self._layout.metadata_entries):
                name = f"metadata entry {index} ({guids.NAMES.get(item.item_id, str(item.item_id))})"
                yield _Record(name, owner.start + metadata.entry_offset(index), metadata.ENTRY_FIELDS)
        elif owner.name == "metadata items":
            start = owner.start - metadata.TABLE_SIZE
            for item in self._layout.metadata_entries:
                table = metadata.ITEM_FIELDS.get(item.item_id)
                if table is not None and not item.is_user and item.end <= owner.end - start:
                    yield _Record("metadata item", start + item.offset, table)


def _words(page: bytes) -> Iterator[int]:
    """The entries in a page of the table."""
    return (word for (word,) in struct.iter_unpack("<Q", page))


def _words_of(shown: fields.Shown) -> str:
    value, meaning = shown
    return f"{value} ({meaning})" if meaning else str(value)


def _bits(owner: Owner, file_offset: int, before: bytes, after: bytes) -> Iterator[Change]:
    """Which bits of a sector bitmap are set and which cleared, in runs."""
    old, new = int.from_bytes(before, "little"), int.from_bytes(after, "little")
    first = (file_offset - owner.start) * 8
    for bits, words in ((new & ~old, ("clear", "set")), (old & ~new, ("set", "clear"))):
        packed = bits.to_bytes(SECTOR_SIZE, "little")
        for run in bit_runs(partial(_part, packed), 0, SECTOR_SIZE * 8):
            if run.is_set:
                low, high = run.first_bit, run.first_bit + run.bit_count
                name = f"{owner.name}: bits {first + low} to {first + high - 1}"
                yield Change(name, file_offset + low // 8, -(-high // 8) - low // 8, *words)


def _part(data: bytes, length: int, offset: int) -> bytes:
    return data[offset : offset + length]


def _byte_runs(name: str, file_offset: int, before: bytearray, after: bytearray) -> Iterator[Change]:
    """Bytes without fields: from the first to the last that differ."""
    differing = [at for at, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    if differing:
        start, stop = differing[0], differing[-1] + 1
        old, new = (f"{_excerpt(page[start:stop])}" for page in (before, after))
        yield Change(f"{name}: {len(differing)} bytes", file_offset + start, stop - start, old, new)


def _excerpt(data: bytearray) -> str:
    return data[:8].hex() + ("…" if len(data) > 8 else "")
