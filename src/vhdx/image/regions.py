"""The region table in force, and the parts of the file that no block may lie in [MS-VHDX 2.2.3]."""

from __future__ import annotations

from bisect import bisect_right

from vhdx import rules
from vhdx.format import guids, region
from vhdx.format.header import FILE_OFFSET_LIMIT, HEADER_SECTION_SIZE
from vhdx.rules import Finding, Place
from vhdx.storage.base import UNREADABLE, read_copy
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vhdx.format.header import Header
    from vhdx.format.region import RegionEntry
    from vhdx.rules import Report
    from vhdx.storage.base import ReadableStorage

KNOWN_REGIONS = {guids.BAT_REGION: "BAT", guids.METADATA_REGION: "metadata"}


class Area(NamedTuple):
    """A part of the file that belongs to one structure; offsets in bytes."""

    start: int
    end: int
    name: str


class Regions:
    """The regions of a file and everything else that blocks must not touch."""

    def __init__(
        self,
        entries: tuple[RegionEntry, ...],
        current: Header | None,
        to_repair: tuple[tuple[int, bytes], ...] = (),
    ) -> None:
        self.to_repair = to_repair
        """(file offset, right bytes) of a table copy that is damaged or disagrees."""
        self.entries = entries
        self.by_guid = {entry.guid: entry for entry in entries}
        areas = [Area(0, HEADER_SECTION_SIZE, "the header section")]
        if current is not None and current.log_length:
            areas.append(Area(current.log_offset, current.log_offset + current.log_length, "the log"))
        areas += [Area(e.file_offset, e.end, f"the {_name(e)}") for e in entries]
        self.areas = sorted(areas)
        self._starts = [area.start for area in self.areas]

    @property
    def bat(self) -> RegionEntry:
        """The region of the block allocation table."""
        return self.by_guid[guids.BAT_REGION]

    @property
    def metadata(self) -> RegionEntry:
        """The region of the metadata table and its items."""
        return self.by_guid[guids.METADATA_REGION]

    def area_touching(self, file_offset: int, length: int) -> Area | None:
        """A structure that a range of the file touches. Expects areas that do not overlap each other."""
        before = bisect_right(self._starts, file_offset + length - 1) - 1
        if before >= 0 and self.areas[before].end > file_offset:
            return self.areas[before]
        return None


def _name(entry: RegionEntry) -> str:
    return f"{KNOWN_REGIONS.get(entry.guid, str(entry.guid))} region"


def load(storage: ReadableStorage, current: Header | None, report: Report) -> Regions | None:
    """Read the region table (copy 1, else copy 2) and check it.

    None after reporting that neither copy is valid. A table that was reported to lack a region is no table
    to open an image with. ``current`` is None where no header is valid, which only `check` goes on from.
    """
    size = storage.size()
    copies = read_copies(storage)
    damages = [
        UNREADABLE if not copy and size > offset else region.damage(copy)
        for copy, offset in zip(copies, region.TABLE_OFFSETS, strict=True)
    ]
    if all(damages):
        detail = f"neither copy is valid: copy 1: {damages[0]}; copy 2: {damages[1]}"
        report(Finding(rules.REGION_TABLE_NONE, _table_place(0), detail))
        return None
    for copy in (0, 1):
        if damages[copy]:
            detail = f"{damages[copy]}; copy {2 - copy} is used"
            report(Finding(rules.REGION_TABLE_DAMAGED, _table_place(copy), detail))
    if not any(damages) and copies[0] != copies[1]:
        report(Finding(rules.REGION_TABLES_DIFFER, _table_place(1), "the copies differ; copy 1 is used"))
    used = 0 if damages[0] is None else 1
    entries = region.unpack(copies[used])
    _check_entries(entries, used, size, report)
    to_repair = tuple(
        (region.TABLE_OFFSETS[copy], copies[used]) for copy in (0, 1) if copies[copy] != copies[used]
    )
    regions = Regions(entries, current, to_repair)
    _check_overlaps(regions, _table_place(used), report)
    return regions


def read_copies(storage: ReadableStorage) -> list[bytes]:
    """The bytes of both copies of the table, fewer of one that the file ends in."""
    size = storage.size()
    return [
        read_copy(storage, max(0, min(region.TABLE_SIZE, size - offset)), offset)
        for offset in region.TABLE_OFFSETS
    ]


def check_unused(copies: list[bytes], size: int, report: Report) -> None:
    """Check the entries of copy 2 where both copies are valid and copy 1 is the one that is used."""
    if copies[0] != copies[1] and not any(map(region.damage, copies)):
        _check_entries(region.unpack(copies[1]), 1, size, report)


def _table_place(copy: int) -> Place:
    return Place(f"region table {copy + 1}", region.TABLE_OFFSETS[copy])


def _check_entries(entries: tuple[RegionEntry, ...], copy: int, size: int, report: Report) -> None:
    seen = set()
    for index, entry in enumerate(entries):
        offset = region.TABLE_OFFSETS[copy] + region.entry_offset(index)
        place = Place(f"region table {copy + 1}, entry {index} ({_name(entry)})", offset)
        if entry.guid in seen:
            report(Finding(rules.REGION_DUPLICATE, place, f"the region {entry.guid} stands twice"))
        seen.add(entry.guid)
        _check_entry(entry, size, place, report)
    for guid, name in KNOWN_REGIONS.items():
        if guid not in seen:
            report(Finding(rules.REGION_MISSING, _table_place(copy), f"there is no {name} region"))


def _check_entry(entry: RegionEntry, size: int, place: Place, report: Report) -> None:
    known = entry.guid in KNOWN_REGIONS
    if entry.is_required and not known:
        detail = "the file needs software that knows this region"
        report(Finding(rules.REGION_UNKNOWN_REQUIRED, place, detail))
    elif not known:
        report(
            Finding(rules.REGION_UNKNOWN, place, f"an optional region, {entry.length} bytes, is kept as is")
        )
    elif not entry.is_required:
        report(
            Finding(rules.REGION_NOT_REQUIRED, place, "the Required flag is missing, as QEMU leaves it out")
        )
    if (
        entry.file_offset % region.ALIGNMENT
        or entry.length % region.ALIGNMENT
        or entry.length == 0
        or entry.file_offset < HEADER_SECTION_SIZE
        or entry.end > FILE_OFFSET_LIMIT
    ):
        detail = f"{entry.length} bytes at {entry.file_offset} are no whole MiB behind the header section"
        report(Finding(rules.REGION_PLACE, place, detail))
    elif entry.end > size:
        detail = f"the region ends at {entry.end}, behind the end of the file at {size}"
        rule = rules.REGION_PAST_END if known else rules.REGION_UNKNOWN_PAST_END
        report(Finding(rule, place, detail))


def _check_overlaps(regions: Regions, place: Place, report: Report) -> None:
    farthest = regions.areas[0]
    for area in regions.areas[1:]:
        if farthest.end > area.start:
            detail = f"{area.name} at {area.start} overlaps {farthest.name}, which ends at {farthest.end}"
            report(Finding(rules.REGION_OVERLAP, place, detail))
        farthest = max(farthest, area, key=lambda each: each.end)
