"""What is left of an image's structures: each is looked for on its own, and damage in one hides no other.

For looking inside and for salvage. Nothing here raises for what a file says; what cannot be found is None.
Values are bounded, but nobody should trust them: `image.load` is for that.
"""

from __future__ import annotations

from functools import cached_property

from vhdx.format import guids, metadata, region
from vhdx.format.bat import ENTRY_SIZE
from vhdx.format.header import FILE_OFFSET_LIMIT, HEADER_SECTION_SIZE
from vhdx.format.log import SECTOR_SIZE
from vhdx.geometry import Geometry
from vhdx.image import headers, regions
from vhdx.image.bat import Bat
from vhdx.image.pages import PAGE_SIZE, Pages
from vhdx.journal.ring import Ring
from vhdx.storage.base import HostReadError
from vhdx.storage.overlay import Overlay
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

    from vhdx.format.metadata import MetadataEntry
    from vhdx.format.region import RegionEntry
    from vhdx.image.headers import Headers
    from vhdx.rules import Finding
    from vhdx.storage.base import ReadableStorage


class Remains:
    """The structures of one file, found when they are asked for."""

    def __init__(self, storage: ReadableStorage) -> None:
        self.storage = storage
        self.size = storage.size()
        self.findings: list[Finding] = []
        """What was wrong with the headers."""

    @property
    def name(self) -> str:
        """What messages call the file."""
        return self.storage.name

    def peek(self, length: int, file_offset: int) -> bytes:
        """The bytes of a range as far as the file has them."""
        there = min(length, self.size - file_offset)
        return self.storage.read(there, file_offset) if there > 0 else b""  # no host reads at 2^63 and more

    def padded(self, length: int, file_offset: int) -> bytes:
        """The bytes of a range, zeros where the file has no more."""
        return self.peek(length, file_offset).ljust(length, b"\0")

    @cached_property
    def headers(self) -> Headers | None:
        """The current header, also if what it says cannot be."""
        return headers.load(self.storage, self.findings.append)

    @cached_property
    def ring(self) -> Ring | None:
        """The log that the header names, zeros where the file has no more; None if it names none."""
        current = self.headers.current if self.headers else None
        if current is None or not current.log_length:
            return None
        if current.log_offset % SECTOR_SIZE or current.log_length % SECTOR_SIZE:
            return None
        return Ring(current.log_offset, current.log_length, self.padded)

    @cached_property
    def region_entries(self) -> tuple[RegionEntry, ...]:
        """The entries of the best copy: one that is whole, else one that names a known region."""
        copies = regions.read_copies(self.storage)
        for copy in copies:
            if region.damage(copy) is None:
                return region.unpack(copy)
        for copy in copies:
            entries = _entries_of(copy)
            if any(entry.guid in (guids.BAT_REGION, guids.METADATA_REGION) for entry in entries):
                return entries
        return ()

    def region(self, guid: UUID) -> RegionEntry | None:
        """The first entry for a region that lies where regions may lie."""
        for entry in self.region_entries:
            if (
                entry.guid == guid
                and entry.file_offset >= HEADER_SECTION_SIZE
                and not entry.file_offset % region.ALIGNMENT
                and entry.length
                and entry.end <= FILE_OFFSET_LIMIT
            ):
                return entry
        return None

    @cached_property
    def metadata_table(self) -> bytes:
        """The bytes of the metadata table, filled up with zeros where the file has no more."""
        found = self.region(guids.METADATA_REGION)
        table = b"" if found is None else self.peek(metadata.TABLE_SIZE, found.file_offset)
        return table.ljust(metadata.TABLE_SIZE, b"\0")

    @cached_property
    def metadata_entries(self) -> tuple[MetadataEntry, ...]:
        """The entries of the metadata table, none if it has more than fit."""
        if metadata.table_count(self.metadata_table) > metadata.MAXIMUM_ENTRIES:
            return ()
        return metadata.unpack_table(self.metadata_table)

    def item_bytes(self, entry: MetadataEntry) -> bytes:
        """The bytes of an item as far as it may be long and the file has them."""
        found = self.region(guids.METADATA_REGION)
        if found is None or entry.length > metadata.ITEM_SIZE_LIMIT or entry.end > found.length:
            return b""
        if entry.offset < metadata.TABLE_SIZE:
            return b""
        return self.peek(entry.length, found.file_offset + entry.offset)

    def item(self, guid: UUID) -> bytes | None:
        """The first known item of that id that has the length it must have."""
        length = metadata.KNOWN_ITEMS[guid].length
        for entry in self.metadata_entries:
            if entry.item_id == guid and not entry.is_user:
                item = self.item_bytes(entry)
                if len(item) == (entry.length if length is None else length):
                    return item
        return None

    def number(self, guid: UUID) -> int:
        """The value of an item that is a number; 0 if there is none."""
        return int.from_bytes(self.item(guid) or b"", "little")

    @cached_property
    def parameters(self) -> tuple[int, int] | None:
        """Block size, if it is a legal one, and flags."""
        item = self.item(guids.FILE_PARAMETERS)
        if item is None:
            return None
        size, flags = metadata.unpack_file_parameters(item)
        return (size, flags) if metadata.is_block_size(size) else None

    @cached_property
    def geometry(self) -> Geometry | None:
        """The sizes of the disk, if all of them are legal."""
        return self.geometry_with(self.number(guids.LOGICAL_SECTOR_SIZE))

    @property
    def disk_size(self) -> int | None:
        """The size of the disk in bytes, if the image says one that is legal and the host can read it."""
        try:
            return self.geometry.disk_size if self.geometry else None
        except HostReadError:  # of the metadata; what is asked for beside this size may be readable
            return None

    def geometry_with(self, sector: int) -> Geometry | None:
        """The sizes of the disk if its logical sectors had this size."""
        disk_size = self.number(guids.VIRTUAL_DISK_SIZE)
        if self.parameters is None or sector not in metadata.SECTOR_SIZES or disk_size % sector:
            return None
        if not 0 < disk_size <= metadata.MAXIMUM_DISK_SIZE:
            return None
        block_size, flags = self.parameters
        return Geometry(disk_size, block_size, sector, bool(flags & metadata.HAS_PARENT))

    @cached_property
    def bat(self) -> Bat | None:
        """The table, zeros where the file has no more, if it is known where it is and how long."""
        found = self.region(guids.BAT_REGION)
        if found is None or self.geometry is None:
            return None
        end = max(found.end, found.file_offset + self.geometry.bat_entry_count * ENTRY_SIZE + PAGE_SIZE)
        return Bat(Pages(filled_up(self.storage, end)), found.file_offset, self.geometry)


def filled_up(storage: ReadableStorage, size: int) -> Overlay:
    """The storage with zeros behind its end up to ``size`` bytes."""
    overlay = Overlay(storage, 0)
    overlay.extend(size)
    overlay.seal()
    return overlay


def _entries_of(copy: bytes) -> tuple[RegionEntry, ...]:
    """The entries of a copy that need not be whole."""
    if len(copy) < region.TABLE_SIZE or region.count(copy) > region.MAXIMUM_ENTRIES:
        return ()
    return region.unpack(copy)
