"""Which structure a place of a file belongs to, in words."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from vhdx.format import guids, header, metadata, region
from vhdx.format.bat import BITMAP_PRESENT, ENTRY_SIZE, STATE_MASK, file_offset_of
from vhdx.geometry import BITMAP_BLOCK_SIZE
from vhdx.image.bat import WINDOW
from vhdx.image.states import is_present

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vhdx.examine.remains import Remains
    from vhdx.geometry import Geometry

_BAT = guids.NAMES[guids.BAT_REGION]
_SAY_SOMETHING_ABOUT_ALL = frozenset({"region table 1", "region table 2", "metadata table", "metadata items"})


class Owner(NamedTuple):
    """A part of a file and whose it is; ``chunk`` is told of sector bitmaps only. Offsets in bytes."""

    start: int
    end: int
    name: str
    chunk: int | None = None


class Owners:
    """The parts of one file, as far as its structures tell them."""

    def __init__(self, remains: Remains) -> None:
        self._remains = remains

    def of(self, file_offset: int) -> Owner:
        """Whose a byte of the file is; of a place that nobody is known to own, up to the next owner."""
        for parts in (self._structures, self._bitmaps, self._blocks):
            before = bisect_right(parts, file_offset, key=lambda owner: owner.start) - 1
            if before >= 0 and parts[before].end > file_offset:
                return parts[before]
        return Owner(file_offset, file_offset + 1, self._nobody)

    @cached_property
    def _nobody(self) -> str:
        return "free space" if self._knows_blocks else "free space or a payload block"

    @cached_property
    def _structures(self) -> list[Owner]:
        """The header section, the log and the regions."""
        parts = [
            Owner(at, at + region.TABLE_SIZE, f"region table {copy}")
            for copy, at in enumerate(region.TABLE_OFFSETS, 1)
        ]
        parts.append(Owner(parts[-1].end, header.HEADER_SECTION_SIZE, "the header section"))
        if self._remains.ring is not None:
            parts.append(Owner(self._remains.ring.file_offset, self._remains.ring.end, "the log"))
        parts += self._regions()
        return sorted(parts)

    def _regions(self) -> Iterator[Owner]:
        for entry in self._remains.region_entries:
            if entry.guid == guids.METADATA_REGION:
                table_end = min(entry.end, entry.file_offset + metadata.TABLE_SIZE)
                yield Owner(entry.file_offset, table_end, "metadata table")
                yield Owner(table_end, entry.end, "metadata items")
            else:
                yield Owner(entry.file_offset, entry.end, guids.NAMES.get(entry.guid, f"region {entry.guid}"))

    @cached_property
    def _bitmaps(self) -> list[Owner]:
        table, geometry = self._remains.bat, self._remains.geometry
        if table is None or geometry is None or not geometry.differencing:
            return []
        entries = ((chunk, table.bitmap(chunk)) for chunk in range(geometry.chunk_count))
        return sorted(
            Owner(
                file_offset_of(entry),
                file_offset_of(entry) + BITMAP_BLOCK_SIZE,
                f"sector bitmap of chunk {chunk}",
                chunk,
            )
            for chunk, entry in entries
            if entry & STATE_MASK == BITMAP_PRESENT
        )

    @cached_property
    def _knows_blocks(self) -> bool:
        """Whether the table is small enough to be turned round."""
        geometry = self._remains.geometry
        return geometry is not None and geometry.bat_entry_count <= WINDOW

    @cached_property
    def _blocks(self) -> list[Owner]:
        table, geometry = self._remains.bat, self._remains.geometry
        if table is None or geometry is None or not self._knows_blocks:
            return []
        return sorted(
            Owner(place, place + geometry.block_size, f"payload block {block}")
            for block, entry in enumerate(table.payloads(0, geometry.block_count))
            if is_present(entry) and (place := file_offset_of(entry))
        )

    def blocks_behind(self, file_offset: int, length: int) -> Iterator[range]:
        """The blocks of the disk that a range of the file says something about, structure by structure."""
        geometry = self._remains.geometry
        if geometry is None:
            return
        end = file_offset + length
        for owner in chain(self._say_something, self._bitmaps_in(file_offset, end)):
            start, stop = max(file_offset, owner.start), min(end, owner.end)
            if start < stop:
                yield _blocks_said(owner, range(start - owner.start, stop - owner.start), geometry)

    @cached_property
    def _say_something(self) -> list[Owner]:
        """The structures that say something about blocks, but for the bitmaps, which may be many."""
        names = {*_SAY_SOMETHING_ABOUT_ALL, _BAT}
        return sorted({owner for owner in self._structures if owner.name in names})

    def _bitmaps_in(self, start: int, end: int) -> Sequence[Owner]:
        first = bisect_right(self._bitmaps, start - BITMAP_BLOCK_SIZE, key=lambda owner: owner.start)
        return self._bitmaps[first : bisect_left(self._bitmaps, end, key=lambda owner: owner.start)]

    def describe(self, file_offset: int, length: int) -> str:
        """Whose a range of the file is; of the BAT, which entries."""
        owner = self.of(file_offset)
        last = self.of(file_offset + max(0, length - 1))
        if owner.name != last.name:
            return f"{owner.name} to {last.name}"
        if owner.name != _BAT:
            return owner.name
        first = (file_offset - owner.start) // ENTRY_SIZE
        return f"BAT entries {first} to {first + length // ENTRY_SIZE - 1}"


def _blocks_said(owner: Owner, part: range, geometry: Geometry) -> range:
    """The blocks that a part of a structure, bytes from its start on, says something about."""
    if owner.name in _SAY_SOMETHING_ABOUT_ALL:
        return range(geometry.block_count)
    if owner.chunk is None:
        first = part.start // ENTRY_SIZE
        return geometry.blocks_of_slots(first, -(-part.stop // ENTRY_SIZE) - first)
    first = owner.chunk * geometry.chunk_ratio
    start = first + part.start * 8 // geometry.sectors_per_block
    stop = first + -(-part.stop * 8 // geometry.sectors_per_block)
    return range(start, min(stop, geometry.block_count))
