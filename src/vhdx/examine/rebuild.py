"""Finding the metadata and the BAT of an image that lost both copies of its region table [MS-VHDX 2.2.3].

Only places are taken that can be nothing else: a metadata table whose items say how large a disk is, and a
table of exactly the size that this disk needs, of which every entry is legal, inside the file and disjoint
from all others. If more than one place fits, somebody else must decide. Where the metadata are lost, too, who
knows the sizes of the disk may tell them: the table of such a disk is still to be found.
"""

from __future__ import annotations

import sys
from array import array
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vhdx import rules
from vhdx.errors import CorruptImageError
from vhdx.examine.claims import ClaimCheck
from vhdx.examine.entries import check_entries
from vhdx.examine.findings import FindingReporter
from vhdx.examine.slots import Slots
from vhdx.extents import BlockState
from vhdx.format import guids, metadata
from vhdx.format.bat import RESERVED_MASK
from vhdx.format.header import NO_LOG
from vhdx.format.region import RegionEntry, aligned
from vhdx.image import metadata as items
from vhdx.image.pages import PAGE_SIZE
from vhdx.image.regions import Area, Regions
from vhdx.rules import CollectingReport, Severity
from vhdx.text import command
from vhdx.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.examine.slots import Window
    from vhdx.format.header import Header
    from vhdx.geometry import Geometry
    from vhdx.storage.base import ReadableStorage

_REQUIRED = 1
_LISTED = 20
_FARTHEST_METADATA = 5 * GIB
"""Every program writes it behind header section, log and BAT: no raw disk is searched to its end for it."""
_METADATA_PLACES = 16
"""For each of them the whole file is searched for a table: only a hostile file has so many."""


class Candidate(NamedTuple):
    """Two places that can be the metadata region and the BAT region. ``is_empty``: the table is all zeros."""

    metadata: RegionEntry
    bat: RegionEntry
    is_empty: bool


def chosen(storage: ReadableStorage, current: Header, told: Geometry | None = None) -> Candidate:
    """The only places that can be meant, in the file as it is after replay.

    ``told`` are the sizes of the disk where somebody knows them: if no metadata are found, their place is
    behind the end of the file, where they can be made anew. Raises CorruptImageError if there is no place or
    more than one. Regions that were optional are forgotten: nothing tells of them any more.
    """
    found = candidates(storage, current)
    if not found and told is not None:
        found = _tables_of(storage, current, told)
    # A run of zeros is a legal table of an empty disk, and any unused space is one: it counts only alone.
    telling = [candidate for candidate in found if not candidate.is_empty] or found
    if len(telling) != 1:
        listed = "".join(
            f"\n  metadata at {each.metadata.file_offset}, BAT at {each.bat.file_offset}"
            for each in telling[:_LISTED]
        )
        if not telling:
            raise _nowhere(storage, current, told)
        raise _refused(storage, f"{len(telling)} places can be meant:{listed}")
    if telling[0].is_empty and _has_contents(storage, current, telling[0]):
        # Whatever stands there was some block's: the zeros are not the table, which must be damaged.
        place = telling[0].bat.file_offset
        raise _refused(
            storage, f"the zeros at {place} can be the BAT of an empty disk, but the file holds data"
        )
    return telling[0]


def first_metadata(storage: ReadableStorage) -> RegionEntry | None:
    """The first place that can be the metadata, wherever the log is; None if there is none."""
    places = _metadata_places(storage, NO_LOG, _FARTHEST_METADATA)
    return next((place for place, _ in places), None)


def _refused(file: ReadableStorage, detail: str, advice: str | None = None) -> CorruptImageError:
    detail = f"the region table cannot be rebuilt: {detail}"
    return CorruptImageError(
        detail,
        image=file.name,
        structure="region table",
        rule=rules.REGION_TABLE_NONE.section,
        next_command=advice,
    )


def _nowhere(file: ReadableStorage, current: Header, told: Geometry | None) -> CorruptImageError:
    if told is not None:
        return _refused(file, "no table of a disk of these sizes stands in the file as a whole")
    if any(_metadata_places(file, current)):
        return _refused(file, "no table that fits the metadata stands in the file as a whole")
    detail = "no metadata were found; only with the sizes of the disk a table may be"
    return _refused(file, detail, with_sizes(file.name))


def with_sizes(name: str) -> str:
    """What to try of an image that does not tell the sizes of its disk, for who knows them."""
    sizes = "--block-size N --virtual-size N --logical-sector-size 512"
    return command(f"convert --salvage {sizes} {{}} SALVAGED.vhdx", name)


def _has_contents(storage: ReadableStorage, current: Header, found: Candidate) -> bool:
    """Whether anything but zeros stands where it belongs to no structure."""
    size, start = storage.size(), 0
    for area in [*Regions((found.metadata, found.bat), current).areas, Area(size, size, "the end")]:
        for at, length in storage.data_ranges(start, max(0, min(area.start, size) - start)):
            for piece in range(at, at + length, MIB):
                if storage.read(min(MIB, at + length - piece), piece).strip(b"\0"):
                    return True
        start = max(start, area.end)
    return False


def candidates(storage: ReadableStorage, current: Header) -> list[Candidate]:
    """Every pair of places that can be the metadata and the BAT.

    Raises CorruptImageError if more than _METADATA_PLACES can be the metadata.
    """
    places = list(islice(_metadata_places(storage, current), _METADATA_PLACES + 1))
    if len(places) > _METADATA_PLACES:
        raise _refused(storage, f"more than {_METADATA_PLACES} places can be the metadata")
    return [
        Candidate(place, bat, is_empty)
        for place, geometry in places
        for bat, is_empty in _bat_places(storage, current, place, geometry)
    ]


def _tables_of(storage: ReadableStorage, current: Header, geometry: Geometry) -> list[Candidate]:
    """Every place that can be the BAT of such a disk, with one for metadata that are made anew."""
    place = RegionEntry(guids.METADATA_REGION, aligned(storage.size()), MIB, _REQUIRED)
    return [Candidate(place, *found) for found in _bat_places(storage, current, place, geometry)]


def _aligned_data(storage: ReadableStorage, end: int | None = None) -> Iterator[int]:
    """The whole MiB behind the header section that begin in data, not in a hole of the file."""
    last = MIB
    size = storage.size() if end is None else min(end, storage.size())
    for start, length in storage.data_ranges(MIB, max(0, size - MIB)):
        for offset in range(max(last, start // MIB * MIB), min(start + length, size), MIB):
            yield offset
            last = offset + MIB


def _metadata_places(
    storage: ReadableStorage, current: Header, end: int | None = None
) -> Iterator[tuple[RegionEntry, Geometry]]:
    size = storage.size()
    for offset in _aligned_data(storage, end):
        if offset + MIB > size or storage.read(len(metadata.SIGNATURE), offset) != metadata.SIGNATURE:
            continue
        table = storage.read(metadata.TABLE_SIZE, offset)
        if metadata.table_count(table) > metadata.MAXIMUM_ENTRIES:
            continue
        end = max([metadata.TABLE_SIZE, *(entry.end for entry in metadata.unpack_table(table))])
        length = aligned(end)
        place = RegionEntry(guids.METADATA_REGION, offset, length, _REQUIRED)
        if place.end > size or _touches(place, current):
            continue
        report = CollectingReport()
        found = items.load(storage, place, report)
        if found.metadata is not None and found.geometry is not None:
            yield place, found.geometry


def _touches(place: RegionEntry, current: Header) -> bool:
    log_end = current.log_offset + current.log_length
    return place.file_offset < log_end and place.end > current.log_offset


def _bat_places(
    storage: ReadableStorage, current: Header, place: RegionEntry, geometry: Geometry
) -> Iterator[tuple[RegionEntry, bool]]:
    length = geometry.bat_length
    for offset in _aligned_data(storage):
        if offset + length > storage.size() or not _begins_like_a_table(storage, offset):
            continue
        bat = RegionEntry(guids.BAT_REGION, offset, length, _REQUIRED)
        apart = bat.end <= place.file_offset or bat.file_offset >= place.end
        if apart and not _touches(bat, current):
            is_empty = _fits(storage, current, place, bat, geometry)
            if is_empty is not None:
                yield bat, is_empty


def _begins_like_a_table(storage: ReadableStorage, offset: int) -> bool:
    """Whether the first entries have no reserved bits: so most places are passed over quickly."""
    entries = array("Q", storage.read(PAGE_SIZE, offset))
    if sys.byteorder == "big":
        entries.byteswap()
    return not any(entry & RESERVED_MASK for entry in entries)


def _fits(
    storage: ReadableStorage, current: Header, place: RegionEntry, bat: RegionEntry, geometry: Geometry
) -> bool | None:
    """Whether a table that can be the right one is empty; None for a place that cannot be one.

    Looks no further than the first window that is wrong, so a file of any size is searched quickly.
    """
    report = CollectingReport()
    slots = Slots(storage, bat, geometry)
    reporter = FindingReporter(slots, geometry, report)
    claims = ClaimCheck(slots, geometry, Regions((bat, place), current), storage.size(), reporter)
    is_empty = True
    for window in map(_without_habits, slots.windows()):
        check_entries(window, geometry, reporter)
        claims.add(window, None)
        is_empty = is_empty and not (window.blocks.any() or window.bitmaps.any())
        if not _is_sound(report):
            return None
    if any(entries.any() for _, entries in slots.behind()):
        return None  # a region is zero behind its table
    claims.complete()
    return is_empty if _is_sound(report) else None


def _without_habits(window: Window) -> Window:
    """The same without what QEMU leaves behind the last block: an entry that says zeros."""
    behind = window.beyond
    return window._replace(beyond=behind * (behind != np.uint64(BlockState.ZERO.value)))


def _is_sound(report: CollectingReport) -> bool:
    """Whether nothing but notes was found: notes are about what real tables have, too."""
    leftovers = report.counts[rules.BAT_LEFTOVERS]
    return not leftovers and all(
        rule.severity is Severity.NOTE for rule, number in report.counts.items() if number
    )
