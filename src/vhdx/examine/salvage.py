"""Opening an image that breaks rules, as far as it can be read, and saying what is doubtful about its disk.

Nothing is written. What cannot be known without guessing (the sizes of the disk, where its table is) is still
refused. Everything else is taken as it stands, with a reason for each range that may read wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn
from uuid import UUID

from vhdx import rules
from vhdx.errors import CorruptImageError, UnsupportedImageError
from vhdx.examine.beginning import Beginning, laid_over, restored
from vhdx.examine.lost_items import items_of, told_geometry
from vhdx.examine.owners import Owners
from vhdx.examine.remains import Remains, filled_up
from vhdx.examine.salvage_read import SalvageReader, joined
from vhdx.extents import Doubt, ExtentKind
from vhdx.format import guids, identifier, locator, metadata, region
from vhdx.format.bat import ENTRY_SIZE
from vhdx.format.header import HEADER_SECTION_SIZE, NO_LOG
from vhdx.image.bat import Bat
from vhdx.image.headers import Headers
from vhdx.image.image import Image
from vhdx.image.metadata import Metadata
from vhdx.image.pages import PAGE_SIZE, Pages
from vhdx.image.regions import Regions
from vhdx.journal.replay import GrowthError, replayed_overlay
from vhdx.journal.scan import active_sequence, entry_headers, readable_targets
from vhdx.known import NOTHING_KNOWN, KnownDisk
from vhdx.storage.base import UNREADABLE_DATA, UNREADABLE_STRUCTURE
from vhdx.storage.overlay import Overlay, OverlayFullError
from vhdx.storage.skipping import SkippingStorage
from vhdx.text import command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.format.header import Header
    from vhdx.format.region import RegionEntry
    from vhdx.geometry import Geometry
    from vhdx.journal.scan import ActiveSequence
    from vhdx.storage.base import ReadableStorage


def load(file: ReadableStorage, known: KnownDisk = NOTHING_KNOWN) -> Image:
    """Open an image for reading, damaged or not. Raises CorruptImageError where nothing can be read.

    ``known`` is taken for what the metadata have lost. Raises ValueError for what no disk has.
    """
    readable = SkippingStorage(file)
    anew = _beginning(readable, told_geometry(known))
    begun = laid_over(readable, anew.patches)
    lost: CorruptImageError | None = None
    try:
        begun = laid_over(begun, items_of(begun, known).patches)
    except CorruptImageError as error:
        lost = error  # unless what is left is enough
    return _Salvage(begun, readable, anew.doubt, lost).image()


def _beginning(file: ReadableStorage, told: Geometry | None) -> Beginning:
    """What stands for a lost beginning; nothing where the search fails, but a damaged table names places."""
    try:
        return restored(file, told)
    except CorruptImageError:
        remains = Remains(file)
        if None in (remains.region(guids.BAT_REGION), remains.region(guids.METADATA_REGION)):
            raise
        unknown = "no header is valid: whether the log holds missing changes is not known"
        return Beginning((), (), unknown if remains.headers is None else None)


class _Salvage:
    """One file: what of it can be used, and why its whole disk is doubtful if it is."""

    def __init__(
        self, file: ReadableStorage, host: SkippingStorage, doubt: str | None, lost: CorruptImageError | None
    ) -> None:
        self._file = file
        self._host = host
        self._lost = lost
        self._found = Remains(file)
        self._reasons = [] if doubt is None else [doubt]
        self._cut = False
        self._certain_up_to = 0

    def image(self) -> Image:
        """What was found. Raises CorruptImageError or UnsupportedImageError for what cannot be known."""
        headers = self._headers()
        header = headers.current
        sequence, storage = self._replayed(header)
        remains = Remains(storage) if sequence else self._found
        file_size = self._file.size() if self._cut else storage.size()
        bat, items = self._regions(remains)
        geometry = self._geometry(remains)
        loaded = self._metadata(remains, items, geometry)
        whole = filled_up(storage, max(bat.end, items.end))
        table = self._table(whole, bat, geometry)
        areas = Regions(tuple(self._sane_regions(remains, bat, items)), header)
        pages = Pages(whole)
        reader = SalvageReader(whole, pages, table, geometry, areas)
        reader.file_size = file_size
        readable = (min(bat.end, file_size) - bat.file_offset) // ENTRY_SIZE
        found = Image(
            file=self._file,
            storage=whole,
            creator=identifier.creator(self._found.peek(identifier.IDENTIFIER_SIZE, 0)),
            headers=headers,
            sequence=sequence,
            regions=areas,
            metadata=loaded,
            geometry=geometry,
            pages=pages,
            bat=table,
            reader=reader,
            findings=tuple(self._found.findings),
            doubts=lambda: self._doubts(found, readable, Owners(remains)),
            unreadable=self._host.unreadable,
        )
        return found

    def _refuse(self, rule: rules.Rule, structure: str, detail: str, advice: str | None = None) -> NoReturn:
        kind = UnsupportedImageError if rule.unsupported else CorruptImageError
        raise kind(detail, image=self._file.name, structure=structure, rule=rule.section, next_command=advice)

    def _headers(self) -> Headers:
        """The current header, or one that knows of no log."""
        found = self._found.headers
        if found is None:
            return Headers(NO_LOG, 0)
        header = found.current
        broken = {finding.rule: finding.detail for finding in self._found.findings}
        if rules.HEADER_VERSION in broken:
            self._refuse(rules.HEADER_VERSION, f"header {found.slot + 1}", broken[rules.HEADER_VERSION])
        if rules.HEADER_TIE in broken:
            self._reasons.append(broken[rules.HEADER_TIE])
        for rule in (rules.HEADER_LOG_VERSION, rules.HEADER_LOG_PLACE):
            if rule in broken and header.log_guid != guids.NIL:
                self._reasons.append(f"the log was not replayed: {broken[rule]}")
        usable = rules.HEADER_LOG_PLACE not in broken
        return found if usable else Headers(header._replace(log_length=0, log_offset=0), found.slot)

    def _replayed(self, header: Header) -> tuple[ActiveSequence | None, ReadableStorage]:
        """The file after replay if that is possible; else as it stands, and then its whole disk is doubtful.

        A file that is shorter than its log says is replayed, too: the log is whole, and what it says is
        newer than what stands in the file. What the file lacks is doubted block by block.
        """
        ring = self._found.ring
        if header.log_guid == guids.NIL or ring is None or header.log_version or not header.log_length:
            return None, self._file
        sequence = active_sequence(ring, header.log_guid.bytes_le)
        if sequence is None:
            self._not_replayed("it has no complete sequence of entries")
            return None, self._file
        try:
            overlay = replayed_overlay(self._file, ring, sequence)
        except OverlayFullError:
            self._not_replayed("it changes too much to be replayed in memory")
            return None, self._file
        except GrowthError as error:
            self._not_replayed(f"it would make the file {error} bytes long")
            return None, self._file
        self._cut = self._file.size() < sequence.head.flushed_file_offset
        # What follows the head was torn by a crash, which is normal, or is damaged: nobody can tell.
        self._certain_up_to = 0 if self._cut else sequence.head.sequence_number
        return sequence, overlay

    def _not_replayed(self, why: str) -> None:
        self._reasons.append(f"the log was not replayed: {why}")

    def _regions(self, remains: Remains) -> tuple[RegionEntry, RegionEntry]:
        bat, items = remains.region(guids.BAT_REGION), remains.region(guids.METADATA_REGION)
        if bat is None or items is None:
            detail = "neither copy says where the BAT and the metadata are"
            advice = command("repair --rebuild {}", self._file.name)
            self._refuse(rules.REGION_TABLE_NONE, "region table", detail, advice)
        copies = (remains.peek(region.TABLE_SIZE, offset) for offset in region.TABLE_OFFSETS)
        if all(region.damage(copy) for copy in copies):
            self._reasons.append("both copies of the region table are damaged; what one still says was used")
        for entry in remains.region_entries:
            if entry.is_required and entry.guid not in (bat.guid, items.guid):
                self._reasons.append(f"the file needs software that knows the region {entry.guid}")
        return bat, items

    def _sane_regions(self, remains: Remains, *known: RegionEntry) -> Iterator[RegionEntry]:
        """The regions that blocks must not lie in; those that lie in each other's way are left out."""
        taken: list[RegionEntry] = []
        others = (entry for entry in remains.region_entries if entry not in known)
        for entry in (*known, *others):
            if entry in known or all(
                entry.end <= each.file_offset or each.end <= entry.file_offset for each in taken
            ):
                taken.append(entry)
                yield entry

    def _geometry(self, remains: Remains) -> Geometry:
        """The sizes of the disk. Nothing else in the file tells them, so they must be readable."""
        found = remains.geometry
        if found is not None:
            return found
        guessed = remains.geometry_with(metadata.SECTOR_SIZES[0])
        sector = remains.number(guids.LOGICAL_SECTOR_SIZE)
        if guessed is None or sector in metadata.SECTOR_SIZES or _depends_on_sectors(guessed):
            if self._lost is not None:
                raise self._lost
            detail = "the sizes of the disk cannot be read, and nothing else tells them"
            self._refuse(rules.DISK_SIZE, "metadata", detail)
        return guessed

    def _metadata(self, remains: Remains, items: RegionEntry, geometry: Geometry) -> Metadata:
        self._judge_items(remains)
        physical = remains.number(guids.PHYSICAL_SECTOR_SIZE)
        disk_id = remains.item(guids.VIRTUAL_DISK_ID)
        flags = remains.parameters[1] if remains.parameters else 0
        whole = {
            (e.item_id, e.is_user): e
            for e in remains.metadata_entries
            if len(remains.item_bytes(e)) == e.length
        }
        return Metadata(
            entries=tuple(whole.values()),
            region=items,
            block_size=geometry.block_size,
            leave_block_allocated=bool(flags & metadata.LEAVE_BLOCK_ALLOCATED),
            has_parent=geometry.differencing,
            disk_size=geometry.disk_size,
            disk_id=UUID(bytes_le=disk_id) if disk_id else guids.NIL,
            logical_sector_size=geometry.logical_sector_size,
            physical_sector_size=physical
            if physical in metadata.SECTOR_SIZES
            else geometry.logical_sector_size,
            locator=_locator(remains) if geometry.differencing else None,
        )

    def _judge_items(self, remains: Remains) -> None:
        """Say what about the items makes the whole disk doubtful."""
        if metadata.table_signature(remains.metadata_table) != metadata.SIGNATURE:
            self._reasons.append("the metadata table is damaged; the items it still names were used")
        seen = set()
        for entry in remains.metadata_entries:
            name = guids.NAMES.get(entry.item_id, str(entry.item_id))
            known = entry.item_id in metadata.KNOWN_ITEMS and not entry.is_user
            if known and entry.item_id in seen:
                self._reasons.append(f"the {name} stands twice; the first one was used")
            seen.add(entry.item_id)
            if entry.item_id == guids.INCOMPLETE_FILE and not entry.is_user:
                self._reasons.append("the program that created the file has not finished it")
            elif entry.is_required and not known and entry.item_id not in metadata.TOLERATED_ITEMS:
                self._reasons.append(f"the file needs software that knows the item {name}")

    def _table(self, storage: ReadableStorage, bat: RegionEntry, geometry: Geometry) -> Bat:
        """The table; what does not fit into its region reads as zeros, whatever stands there."""
        needed = bat.file_offset + geometry.bat_entry_count * ENTRY_SIZE + PAGE_SIZE
        bounded = Overlay(storage, 1)
        bounded.put_zeros(bat.end, max(0, needed - bat.end))
        bounded.extend(needed)
        bounded.seal()
        return Bat(Pages(bounded), bat.file_offset, geometry)

    def _doubts(self, image: Image, slots: int, owners: Owners) -> Iterator[Doubt]:
        from vhdx.examine.lost import lost_block_doubts  # noqa: PLC0415  numpy is slow to import

        geometry, reader = image.geometry, image.reader
        assert isinstance(reader, SalvageReader)
        size = geometry.disk_size
        for reason in self._reasons:
            yield Doubt(0, size, reason)
        yield from joined(self._named_by_log(geometry, owners))
        blocks = geometry.block_count
        if slots < geometry.bat_entry_count:
            blocks = geometry.blocks_of_slots(max(0, slots), 1).start
            start = blocks * geometry.block_size
            yield Doubt(start, size - start, "the table has no entry for it, or the file ends before it")
        yield from joined(reader.block_doubts(blocks))
        yield from joined(lost_block_doubts(image))
        yield from joined(self._unreadable(reader, geometry, owners))

    def _unreadable(self, reader: SalvageReader, geometry: Geometry, owners: Owners) -> Iterator[Doubt]:
        """What the host could not read so far: of structures that stand once, and of blocks."""
        unreadable = self._host.unreadable(HEADER_SECTION_SIZE, self._host.size())
        for start, end in unreadable:
            for blocks in owners.blocks_behind(start, end - start):
                yield from _doubtful_blocks(geometry, blocks, UNREADABLE_STRUCTURE)
        for extent in reader.extents(0, geometry.disk_size) if unreadable else ():
            place = extent.file_offset
            if extent.kind is not ExtentKind.DATA or place is None:
                continue
            for start, end in self._host.unreadable(place, place + extent.length):
                yield Doubt(extent.offset + start - place, end - start, UNREADABLE_DATA)

    def _named_by_log(self, geometry: Geometry, owners: Owners) -> Iterator[Doubt]:
        """Where entries of the session in force lead that were not replayed, or replayed into a cut file."""
        ring, headers = self._found.ring, self._found.headers
        if ring is None or headers is None or headers.current.log_guid == guids.NIL:
            return
        seen: set[tuple[int, int]] = set()
        for position, header in entry_headers(ring):
            in_force = header.log_guid == headers.current.log_guid.bytes_le
            if not in_force or header.sequence_number <= self._certain_up_to:
                continue
            name = f"entry {header.sequence_number} of the log"
            changes = f"{name} changes what says where it is"
            readable = 0
            for file_offset, length, _ in readable_targets(ring, position, header):
                readable += 1
                if (file_offset, length) not in seen:
                    seen.add((file_offset, length))
                    for blocks in owners.blocks_behind(file_offset, length):
                        yield from _doubtful_blocks(geometry, blocks, changes)
            if readable < header.descriptor_count:
                yield Doubt(0, geometry.disk_size, f"{name} is damaged: what it changes is not known")


def _depends_on_sectors(geometry: Geometry) -> bool:
    """Whether it depends on the size of sectors where blocks stand."""
    return geometry.differencing or geometry.block_count > geometry.chunk_ratio


def _doubtful_blocks(geometry: Geometry, blocks: range, reason: str) -> Iterator[Doubt]:
    start, stop = blocks.start * geometry.block_size, blocks.stop * geometry.block_size
    if blocks:
        yield Doubt(start, min(stop, geometry.disk_size) - start, reason)


def _locator(remains: Remains) -> dict[str, str] | None:
    """What the parent locator says, None if nothing can be made of it."""
    item = remains.item(guids.PARENT_LOCATOR)
    if item is None or locator.locator_type(item) != guids.VHDX_PARENT_LOCATOR:
        return None
    try:
        return locator.unpack(item)
    except locator.MalformedLocatorError:
        return None
