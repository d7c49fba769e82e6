"""Reading a damaged VHD: what the file has of each block, zeros else, and which ranges may be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx import rules
from vhdx.extents import BlockState, Doubt, Extent, ExtentKind
from vhdx.format import vhd
from vhdx.image.vhd import VhdImage
from vhdx.image.vhd_load import bitmap_length, block_count
from vhdx.rules import CollectingReport
from vhdx.storage.base import UNREADABLE_DATA, UNREADABLE_STRUCTURE
from vhdx.storage.skipping import SkippingStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.format.vhd import DynamicHeader
    from vhdx.storage.base import ReadableStorage

_WHOLE_DISK = frozenset({rules.VHD_FOOTER_CHECKSUM, rules.VHD_HEADER_CHECKSUM})
"""What is wrong with a structure that says where everything is."""


class SalvagedVhd(VhdImage):
    """A VHD that gives what is there. Raises CorruptImageError only where nothing says what the file is."""

    def __init__(self, storage: ReadableStorage, *, uses_bitmaps: bool = True) -> None:
        self._report = CollectingReport()
        self._host = SkippingStorage(storage)
        super().__init__(self._host, self._report, uses_bitmaps=uses_bitmaps)

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """What a range is made of: zeros, never the parent's bytes, where the file has not got a block's."""
        file_size = self.storage.size()
        for extent in super().extents(offset, length):
            place = extent.file_offset
            if place is None or place + extent.length <= file_size:
                yield extent
                continue
            there = max(0, min(extent.length, file_size - place))
            if there:
                yield extent.part(extent.offset, extent.offset + there)
            yield _zeros(extent.offset + there, extent.length - there)

    def _block_extents(self, header: DynamicHeader, block: int, offset: int, length: int) -> Iterator[Extent]:
        place = self.named_place(header, block)
        if place is not None and self._is_unreadable(header, place, self.fault(header, block, place)):
            yield _zeros(offset, length)
        else:
            yield from super()._block_extents(header, block, offset, length)

    def _place(self, header: DynamicHeader, block: int) -> int | None:
        return self.named_place(header, block)

    def _is_unreadable(self, header: DynamicHeader, place: int, fault: rules.Finding | None) -> bool:
        """Whether nothing of a block can be read: it can be none, or its bitmap is gone."""
        if fault is None:
            return False
        return fault.rule is rules.VHD_ENTRY_PLACE or place + bitmap_length(header) > self.storage.size()

    def doubts(self) -> Iterator[Doubt]:
        """The ranges that may be wrong, and why, by the structures of this file."""
        for finding in self._report.findings:
            if finding.rule in _WHOLE_DISK:
                yield Doubt(0, self.size, f"{finding.place.structure}: {finding.detail}")
        if self.header is None:
            yield from self._unreadable_data()
            there = min(self.size, self.storage.size())
            if there < self.size:
                yield Doubt(there, self.size - there, "the file ends before it; zeros are read")
            return
        yield from self._doubtful_blocks(self.header)
        yield from self._unreadable_data()

    def _unreadable_data(self) -> Iterator[Doubt]:
        """What the host could not read so far of the contents of blocks."""
        extents = self.extents(0, self.size) if self._host.unreadable(0, self._host.size()) else ()
        for extent in extents:
            place = extent.file_offset
            if place is not None:
                for start, end in self._host.unreadable(place, place + extent.length):
                    yield Doubt(extent.offset + start - place, end - start, UNREADABLE_DATA)

    def _is_told_by_unreadable(self, header: DynamicHeader, block: int, place: int | None) -> bool:
        """Whether the host could not read the entry of a block, or which of its sectors are stored."""
        entry = header.table_offset + block * vhd.ENTRY_SIZE
        if self._host.unreadable(entry, entry + vhd.ENTRY_SIZE):
            return True
        return place is not None and bool(self._host.unreadable(place, place + bitmap_length(header)))

    def _doubtful_blocks(self, header: DynamicHeader) -> Iterator[Doubt]:
        blocks = block_count(header, self.footer)
        known = max(0, self.storage.size() - header.table_offset) // vhd.ENTRY_SIZE
        for block in range(min(blocks, known)):
            place = self.named_place(header, block)
            fault = None if place is None else self.fault(header, block, place)
            start = block * header.block_size
            if self._is_told_by_unreadable(header, block, place):
                yield Doubt(start, min(header.block_size, self.size - start), UNREADABLE_STRUCTURE)
            if fault is not None:
                yield Doubt(start, min(header.block_size, self.size - start), fault.detail)
        if known < blocks:
            start = known * header.block_size
            detail = "the file ends before the entries of these blocks; zeros are read"
            yield Doubt(start, self.size - start, detail)


def _zeros(offset: int, length: int) -> Extent:
    return Extent(offset, length, ExtentKind.ZERO, BlockState.ZERO, 1, None)
