"""Fields that the format fixes and that say something else: where they are, and what belongs there.

`check` tells them, `repair` writes them. Nothing here depends on what an image contains.
"""

from __future__ import annotations

from vhdx import rules
from vhdx.format import checksum, guids, header, metadata, region
from vhdx.image import regions
from vhdx.rules import Finding, Place
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from vhdx.format.metadata import MetadataEntry
    from vhdx.format.region import RegionEntry
    from vhdx.rules import Rule
    from vhdx.storage.base import ReadableStorage

_FLAG_BYTES = 4
_RESERVED_OF_METADATA = ((8, 2), (12, 20))
_RESERVED_OF_LOCATOR = (16, 2)


class Correction(NamedTuple):
    """What should stand at the finding's place."""

    finding: Finding
    right: bytes


def header_corrections(storage: ReadableStorage) -> Iterator[Correction]:
    """Reserved bytes of valid headers, and versions of a log that is empty."""
    for slot, offset in enumerate(header.HEADER_OFFSETS):
        if offset + header.HEADER_SIZE > storage.size():
            continue
        data = storage.read(header.HEADER_SIZE, offset)
        if header.damage(data) is not None:
            continue
        fields = header.unpack(data)
        if fields.log_guid == guids.NIL:
            fields = fields._replace(log_version=header.LOG_VERSION)
        if fields.pack() != data:
            detail = "reserved bytes, or the log version of an empty log, are not zero"
            yield Correction(
                Finding(rules.HEADER_RESERVED, Place(f"header {slot + 1}", offset), detail), fields.pack()
            )


def region_table_corrections(storage: ReadableStorage) -> Iterator[Correction]:
    """Reserved fields of valid copies of the region table."""
    for copy, data in enumerate(regions.read_copies(storage)):
        if region.damage(data) is not None:
            continue
        right = bytearray(data)
        right[region.RESERVED] = bytes(len(right[region.RESERVED]))
        for index, entry in enumerate(region.unpack(data)):
            end = region.entry_offset(index + 1)
            right[end - _FLAG_BYTES : end] = int(entry.is_required).to_bytes(_FLAG_BYTES, "little")
        if right != data:
            place = Place(f"region table {copy + 1}", region.TABLE_OFFSETS[copy])
            finding = Finding(rules.REGION_RESERVED, place, "reserved bits are not zero")
            yield Correction(finding, checksum.sealed(bytes(right)))


def metadata_corrections(storage: ReadableStorage, place: RegionEntry) -> Iterator[Correction]:
    """Reserved fields of the metadata table and its items, and the flags of known items."""
    if place.file_offset + metadata.TABLE_SIZE > storage.size():
        return
    table = storage.read(metadata.TABLE_SIZE, place.file_offset)
    is_table = metadata.table_signature(table) == metadata.SIGNATURE
    if not is_table or metadata.table_count(table) > metadata.MAXIMUM_ENTRIES:
        return
    for offset, length in _RESERVED_OF_METADATA:
        if any(table[offset : offset + length]):
            yield _zeros("metadata table", place.file_offset + offset, length)
    for index, entry in enumerate(metadata.unpack_table(table)):
        at = metadata.entry_offset(index)
        yield from _entry_corrections(table, index, entry, place.file_offset + at)
    yield from _item_corrections(storage, place, metadata.unpack_table(table))


def _zeros(structure: str, file_offset: int, length: int, rule: Rule = rules.METADATA_RESERVED) -> Correction:
    detail = f"{length} reserved bytes are not zero"
    return Correction(Finding(rule, Place(structure, file_offset), detail), bytes(length))


def _entry_corrections(
    table: bytes, index: int, entry: MetadataEntry, file_offset: int
) -> Iterator[Correction]:
    structure = f"metadata entry {index}"
    end = metadata.entry_offset(index + 1)
    if any(table[end - 4 : end]):
        yield _zeros(structure, file_offset + metadata.RESERVED_IN_ENTRY, 4)
    known = None if entry.is_user else metadata.KNOWN_ITEMS.get(entry.item_id)
    right = entry.flags & metadata.FLAGS if known is None else known.flags
    if right != entry.flags:
        rule = rules.METADATA_RESERVED if known is None else rules.METADATA_FLAGS
        place = Place(structure, file_offset + metadata.FLAGS_IN_ENTRY)
        detail = f"flags are {entry.flags:#x}, should be {right:#x}"
        yield Correction(Finding(rule, place, detail), right.to_bytes(_FLAG_BYTES, "little"))


def _item_corrections(
    storage: ReadableStorage, place: RegionEntry, entries: tuple[MetadataEntry, ...]
) -> Iterator[Correction]:
    start = {e.item_id: place.file_offset + e.offset for e in entries if _is_readable(e, place, storage)}
    parameters, locator = start.get(guids.FILE_PARAMETERS), start.get(guids.PARENT_LOCATOR)
    if parameters is not None:
        flags = int.from_bytes(storage.read(_FLAG_BYTES, parameters + 4), "little")
        right = flags & (metadata.LEAVE_BLOCK_ALLOCATED | metadata.HAS_PARENT)
        if right != flags:
            where = Place("file parameters", parameters + 4)
            detail = f"reserved flags are set: {flags:#x}"
            finding = Finding(rules.FILE_PARAMETER_FLAGS, where, detail)
            yield Correction(finding, right.to_bytes(_FLAG_BYTES, "little"))
    offset, length = _RESERVED_OF_LOCATOR
    if locator is not None and any(storage.read(length, locator + offset)):
        yield _zeros("parent locator", locator + offset, length, rules.LOCATOR_RESERVED)


_LEAST: dict[UUID, int] = {guids.FILE_PARAMETERS: 8, guids.PARENT_LOCATOR: sum(_RESERVED_OF_LOCATOR)}


def _is_readable(entry: MetadataEntry, place: RegionEntry, storage: ReadableStorage) -> bool:
    return (
        not entry.is_user
        and entry.length >= _LEAST.get(entry.item_id, entry.length + 1)
        and entry.offset >= metadata.TABLE_SIZE
        and place.file_offset + entry.end <= min(place.end, storage.size())
    )
