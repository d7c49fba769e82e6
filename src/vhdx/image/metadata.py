"""The metadata items of an image [MS-VHDX 2.6]. Loads those that say how to read it, others when asked."""

from __future__ import annotations

from itertools import pairwise
from uuid import UUID

from vhdx import rules
from vhdx.format import guids, locator, metadata
from vhdx.geometry import Geometry
from vhdx.rules import Finding, Place
from vhdx.text import quoted
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vhdx.format.metadata import MetadataEntry
    from vhdx.format.region import RegionEntry
    from vhdx.rules import Report
    from vhdx.storage.base import ReadableStorage


class Metadata(NamedTuple):
    """What the known items say; sizes in bytes. ``locator`` is None unless there is a parent."""

    entries: tuple[MetadataEntry, ...]
    region: RegionEntry
    block_size: int
    leave_block_allocated: bool
    has_parent: bool
    disk_size: int
    disk_id: UUID
    logical_sector_size: int
    physical_sector_size: int
    locator: Mapping[str, str] | None

    @property
    def disk_type(self) -> str:
        """``"differencing"``, ``"fixed"`` or ``"dynamic"``."""
        if self.has_parent:
            return "differencing"
        return "fixed" if self.leave_block_allocated else "dynamic"

    def item(self, storage: ReadableStorage, entry: MetadataEntry) -> bytes:
        """The bytes of an item, at most 1 MiB."""
        return storage.read(entry.length, self.region.file_offset + entry.offset)


_PATH_PREFIXES = {locator.VOLUME_PATH: "\\\\?\\Volume{", locator.ABSOLUTE_WIN32_PATH: "\\\\?\\"}


class Found(NamedTuple):
    """What a metadata region says, None after an error was reported, and the shape of the table.

    The latter is None only where one of the numbers that it follows from is missing or wrong.
    """

    metadata: Metadata | None
    geometry: Geometry | None


_NUMBERS = {
    guids.FILE_PARAMETERS: rules.BLOCK_SIZE,
    guids.LOGICAL_SECTOR_SIZE: rules.LOGICAL_SECTOR_SIZE,
    guids.PHYSICAL_SECTOR_SIZE: rules.PHYSICAL_SECTOR_SIZE,
    guids.VIRTUAL_DISK_SIZE: rules.DISK_SIZE,
}
"""The items that are numbers, or begin with one, and the rules for them."""
_SHAPE = {guids.FILE_PARAMETERS, guids.LOGICAL_SECTOR_SIZE, guids.VIRTUAL_DISK_SIZE}


class _Loader:
    """Reads one metadata region, reporting what is wrong with it."""

    def __init__(self, storage: ReadableStorage, region: RegionEntry, report: Report) -> None:
        self._storage = storage
        self._region = region
        self._report_to = report
        self._sound = True

    def _report(self, rule: rules.Rule, structure: str, offset: int, detail: str) -> None:
        self._sound = self._sound and rule.severity is not rules.Severity.ERROR
        self._report_to(Finding(rule, Place(structure, self._region.file_offset + offset), detail))

    def load(self) -> Found:
        entries = self._entries()
        if entries is None:
            return Found(None, None)
        by_id = {e.item_id: e for e in entries if not e.is_user}
        known = {guid: self._known_item(by_id[guid]) for guid in metadata.KNOWN_ITEMS if guid in by_id}
        for guid, item in metadata.KNOWN_ITEMS.items():
            if guid not in by_id and guid != guids.PARENT_LOCATOR:
                self._report(rules.METADATA_MISSING, "metadata table", 0, f"there is no item {item.name}")
        items = {guid: value for guid, value in known.items() if value is not None}
        return self._assemble(entries, items, by_id)

    def _entries(self) -> tuple[MetadataEntry, ...] | None:
        if self._region.file_offset + metadata.TABLE_SIZE > self._storage.size():
            self._report(rules.METADATA_TABLE, "metadata table", 0, "the file ends before the table does")
            return None
        table = self._storage.read(metadata.TABLE_SIZE, self._region.file_offset)
        signature, count = metadata.table_signature(table), metadata.table_count(table)
        if signature != metadata.SIGNATURE:
            detail = f"signature is {signature!r}, must be {metadata.SIGNATURE!r}"
            self._report(rules.METADATA_TABLE, "metadata table", 0, detail)
            return None
        if count > metadata.MAXIMUM_ENTRIES:
            detail = f"entry count is {count}, at most {metadata.MAXIMUM_ENTRIES} fit"
            self._report(rules.METADATA_COUNT, "metadata table", 0, detail)
            return None
        entries = metadata.unpack_table(table)
        self._check_entries(entries)
        return entries

    def _check_entries(self, entries: tuple[MetadataEntry, ...]) -> None:
        users = sum(entry.is_user for entry in entries)
        if users > metadata.MAXIMUM_USER_ENTRIES:
            detail = f"{users} user items, at most {metadata.MAXIMUM_USER_ENTRIES} are allowed"
            self._report(rules.METADATA_COUNT, "metadata table", 0, detail)
        seen = set()
        for index, entry in enumerate(entries):
            structure, offset = f"metadata entry {index} ({_name(entry)})", metadata.entry_offset(index)
            if entry.item_id == guids.NIL:
                detail = f"an item of {entry.length} bytes has an id of zeros, which Windows refuses"
                self._report(rules.METADATA_NAMELESS, structure, offset, detail)
            elif (entry.item_id, entry.is_user) in seen:
                self._report(rules.METADATA_DUPLICATE, structure, offset, "the item stands twice")
            seen.add((entry.item_id, entry.is_user))
            self._check_place(entry, structure, offset)
            self._check_known(entry, structure, offset)
        self._check_overlaps(entries)

    def _check_place(self, entry: MetadataEntry, structure: str, offset: int) -> None:
        where = f"{entry.length} bytes at {entry.offset}"
        if entry.length == 0:
            if entry.offset:
                self._report(
                    rules.METADATA_PLACE, structure, offset, f"an empty item has offset {entry.offset}"
                )
        elif entry.length > metadata.ITEM_SIZE_LIMIT:
            self._report(rules.METADATA_PLACE, structure, offset, f"{entry.length} bytes are more than 1 MiB")
        elif entry.offset < metadata.TABLE_SIZE or entry.end > self._region.length:
            detail = f"{where} do not lie between the table and the region's end at {self._region.length}"
            self._report(rules.METADATA_PLACE, structure, offset, detail)

    def _check_known(self, entry: MetadataEntry, structure: str, offset: int) -> None:
        known = metadata.KNOWN_ITEMS.get(entry.item_id)
        if known is not None and not entry.is_user:
            if entry.flags != known.flags:
                detail = f"flags are {entry.flags:#x}, the specification says {known.flags:#x}"
                self._report(rules.METADATA_FLAGS, structure, offset, detail)
        elif entry.item_id == guids.INCOMPLETE_FILE and not entry.is_user:
            detail = "the program that created the file has not finished it"
            self._report(rules.METADATA_INCOMPLETE_FILE, structure, offset, detail)
        elif entry.is_required and entry.item_id not in metadata.TOLERATED_ITEMS:
            detail = "the file needs software that knows this item"
            self._report(rules.METADATA_UNKNOWN_REQUIRED, structure, offset, detail)
        elif not entry.is_user and entry.item_id != guids.NIL:
            self._report(rules.METADATA_UNKNOWN, structure, offset, "an optional item, is kept as is")

    def _check_overlaps(self, entries: tuple[MetadataEntry, ...]) -> None:
        rows = sorted((e.offset, e.end, i) for i, e in enumerate(entries) if e.length)
        for (_, end, first), (start, _, second) in pairwise(rows):
            if end > start:
                detail = f"the item overlaps that of entry {first} ({_name(entries[first])})"
                structure = f"metadata entry {second} ({_name(entries[second])})"
                self._report(rules.METADATA_OVERLAP, structure, metadata.entry_offset(second), detail)

    def _known_item(self, entry: MetadataEntry) -> bytes | None:
        """The bytes of an item, None where they cannot be had."""
        known = metadata.KNOWN_ITEMS[entry.item_id]
        if known.length is not None and entry.length != known.length:
            detail = f"the item has {entry.length} bytes, must have {known.length}"
            self._report(rules.METADATA_LENGTH, known.name, entry.offset, detail)
            return None
        start, end = self._region.file_offset + entry.offset, self._region.file_offset + entry.end
        if entry.length > metadata.ITEM_SIZE_LIMIT or end > min(self._region.end, self._storage.size()):
            self._sound = False  # which was reported of the entry, or by whoever looked at the region
            return None
        return self._storage.read(entry.length, start)

    def _assemble(
        self,
        entries: tuple[MetadataEntry, ...],
        items: Mapping[UUID, bytes],
        by_id: Mapping[UUID, MetadataEntry],
    ) -> Found:
        block_size, flags = metadata.unpack_file_parameters(items.get(guids.FILE_PARAMETERS, bytes(8)))
        has_parent = bool(flags & metadata.HAS_PARENT)
        numbers = {guid: _number(items[guid]) for guid in _NUMBERS if guid in items}
        if guids.FILE_PARAMETERS in items:
            numbers[guids.FILE_PARAMETERS] = block_size
            self._check_flags(flags, by_id[guids.FILE_PARAMETERS].offset)
        right = self._right_numbers(numbers, by_id)
        geometry = None
        if right.keys() >= _SHAPE:
            disk_size, sector = right[guids.VIRTUAL_DISK_SIZE], right[guids.LOGICAL_SECTOR_SIZE]
            geometry = Geometry(disk_size, block_size, sector, has_parent)
        values = self._locator(items, by_id) if has_parent else None
        if not has_parent and guids.PARENT_LOCATOR in by_id:
            offset = by_id[guids.PARENT_LOCATOR].offset
            self._report(
                rules.LOCATOR_UNUSED, "parent locator", offset, "the image says that it has no parent"
            )
        if not self._sound or geometry is None:
            return Found(None, geometry)
        loaded = Metadata(
            entries=entries,
            region=self._region,
            block_size=block_size,
            leave_block_allocated=bool(flags & metadata.LEAVE_BLOCK_ALLOCATED),
            has_parent=has_parent,
            disk_size=geometry.disk_size,
            disk_id=UUID(bytes_le=items[guids.VIRTUAL_DISK_ID]),
            logical_sector_size=geometry.logical_sector_size,
            physical_sector_size=right[guids.PHYSICAL_SECTOR_SIZE],
            locator=values,
        )
        return Found(loaded, geometry)

    def _check_flags(self, flags: int, offset: int) -> None:
        if flags & ~(metadata.LEAVE_BLOCK_ALLOCATED | metadata.HAS_PARENT):
            detail = f"reserved flags are set: {flags:#x}"
            self._report(rules.FILE_PARAMETER_FLAGS, "file parameters", offset, detail)

    def _right_numbers(
        self, numbers: Mapping[UUID, int], by_id: Mapping[UUID, MetadataEntry]
    ) -> Mapping[UUID, int]:
        """The numbers that may stand where they stand; the others are reported."""
        right = {}
        for guid, number in numbers.items():
            fault = _number_fault(guid, number, numbers.get(guids.LOGICAL_SECTOR_SIZE, 0))
            if fault is None:
                right[guid] = number
            else:
                name = metadata.KNOWN_ITEMS[guid].name
                self._report(_NUMBERS[guid], name, by_id[guid].offset, fault)
        return right

    def _locator(
        self, items: Mapping[UUID, bytes], by_id: Mapping[UUID, MetadataEntry]
    ) -> Mapping[str, str] | None:
        item = items.get(guids.PARENT_LOCATOR)
        if guids.PARENT_LOCATOR in by_id and item is None:
            return None  # it is there, and what is wrong with its place was reported
        if item is None:
            offset = by_id[guids.FILE_PARAMETERS].offset
            detail = "the image has a parent but no parent locator"
            self._report(rules.LOCATOR_MISSING, "file parameters", offset, detail)
            return None
        start = by_id[guids.PARENT_LOCATOR].offset
        kind = locator.locator_type(item)
        if kind != guids.VHDX_PARENT_LOCATOR:
            detail = f"the locator is of type {kind}, only the VHDX type is known"
            self._report(rules.LOCATOR_TYPE, "parent locator", start, detail)
            return None
        try:
            values = locator.unpack(item)
        except locator.MalformedLocatorError as error:
            self._report(rules.LOCATOR_ENTRY, "parent locator", start + error.offset, str(error))
            return None
        self._check_locator(values, start)
        return values

    def _check_locator(self, values: Mapping[str, str], start: int) -> None:
        if not linkages(values):
            detail = f"there is no usable {locator.PARENT_LINKAGE}: the parent cannot be recognised"
            self._report(rules.LOCATOR_LINKAGE, "parent locator", start, detail)
        if not any(key in values for key in locator.PATH_KEYS):
            self._report(rules.LOCATOR_NO_PATH, "parent locator", start, "no key says where the parent is")


def load(storage: ReadableStorage, region: RegionEntry, report: Report) -> Found:
    """Read the table and the known items, reporting what is wrong with them."""
    return _Loader(storage, region, report).load()


def check_paths(loaded: Metadata, report: Report) -> None:
    """Mention paths of the locator in another form than the one that they must have."""
    for key, prefix in _PATH_PREFIXES.items():
        value = (loaded.locator or {}).get(key)
        if value is not None and not value.startswith(prefix):
            offset = next(e.offset for e in loaded.entries if e.item_id == guids.PARENT_LOCATOR)
            place = Place("parent locator", loaded.region.file_offset + offset)
            detail = f"{key} does not begin with {prefix}: '{quoted(value)}'"
            report(Finding(rules.LOCATOR_PATH_FORM, place, detail))


def linkages(values: Mapping[str, str]) -> frozenset[UUID]:
    """The identities by which a locator recognises the parent; an all-zero second one means none."""
    found = set()
    for key in (locator.PARENT_LINKAGE, locator.PARENT_LINKAGE2):
        try:
            found.add(UUID(values.get(key, "")))
        except ValueError:
            continue
    return frozenset(found - {guids.NIL})


def _number_fault(guid: UUID, number: int, sector_size: int) -> str | None:
    """What is wrong with the number of an item, if anything is."""
    name = metadata.KNOWN_ITEMS[guid].name
    if guid == guids.FILE_PARAMETERS:
        if not metadata.is_block_size(number):
            return f"block size is {number} bytes, must be a power of two from 1 MiB to 256 MiB"
    elif guid == guids.VIRTUAL_DISK_SIZE:
        unit = sector_size if sector_size in metadata.SECTOR_SIZES else min(metadata.SECTOR_SIZES)
        if not 0 < number <= metadata.MAXIMUM_DISK_SIZE or number % unit:
            return (
                f"{name} is {number} bytes, must be a multiple of the logical sector size {unit}, "
                "more than 0 and at most 64 TiB"
            )
    elif number not in metadata.SECTOR_SIZES:
        return f"{name} is {number} bytes, must be 512 or 4096"
    return None


def _number(item: bytes) -> int:
    return int.from_bytes(item, "little")


def _name(entry: MetadataEntry) -> str:
    known = metadata.KNOWN_ITEMS.get(entry.item_id)
    return known.name if known and not entry.is_user else str(entry.item_id)
