"""One VHD file, fixed, dynamic or differencing: what a range of its disk is made of.

A block is a sector bitmap and the data behind it. A clear bit asks the parent, or is zeros where there is
none. Nothing is trusted before it is bounded; the table and the bitmaps are read when they are needed.
"""

from __future__ import annotations

import sys
from array import array
from functools import cached_property
from itertools import pairwise

from vhdx import rules
from vhdx.errors import CorruptImageError
from vhdx.extents import BlockState, Doubt, Extent, ExtentKind
from vhdx.format import vhd
from vhdx.image.bitmap import bit_runs
from vhdx.image.vhd_load import bitmap_length, block_count, load_footer, load_header, table_length
from vhdx.rules import Finding, OpeningReport, Place
from vhdx.text import command
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.format.vhd import DynamicHeader
    from vhdx.rules import Report
    from vhdx.storage.base import ReadableStorage

_WINDOW = 16 * 1024
"""Entries of the table that are kept: of blocks of 2 MiB, those of 32 GiB."""
_COMPARED_TABLE = 1024 * 1024
"""The longest table, in bytes, whose blocks are compared with each other when the first one is read."""
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Bitmaps of a VHD begin with the most significant bit of a byte, those of a VHDX with the least."""


class VhdImage:
    """One opened file.

    A table's 32-bit sector numbers bound the file, to 2 TiB, and not the disk, which may be larger, though
    Hyper-V makes none of more than 2040 GiB.

    ``report`` hears what is wrong with its structures: the one of opening, which is the default, raises
    CorruptImageError or UnsupportedImageError. Without ``uses_bitmaps`` every sector of a block counts as
    stored, as QEMU reads images without a parent.
    """

    def __init__(
        self, storage: ReadableStorage, report: Report | None = None, *, uses_bitmaps: bool = True
    ) -> None:
        opening = OpeningReport(storage.name)
        heard = opening if report is None else report
        footer = load_footer(storage, heard)
        if footer is None:
            raise CorruptImageError("nothing says what it is", image=storage.name, structure="footer")
        self.storage = storage
        self.footer = footer
        self.header = None if footer.disk_type == vhd.FIXED else load_header(storage, footer, heard)
        if self.header is None and footer.disk_type != vhd.FIXED:
            raise CorruptImageError(
                "nothing says where its blocks are", image=storage.name, structure="dynamic disk header"
            )
        self.findings = [finding.detail for finding in opening.findings]
        """What is unusual, in words."""
        self.uses_bitmaps = uses_bitmaps or self.has_parent
        self._window = (-1, b"")
        """The part of the table that was read last: its first block, its bytes. Replaced as a whole."""

    @property
    def name(self) -> str:
        """What messages call the file."""
        return self.storage.name

    @property
    def size(self) -> int:
        """The capacity of the disk in bytes.

        It is what the footer says, as for Hyper-V, Azure and libvhdi. Virtual PC, and QEMU for images of
        Virtual PC, show what the geometry addresses, which is up to a cylinder less.
        """
        return self.footer.current_size

    @property
    def disk_type(self) -> str:
        """``"fixed"``, ``"dynamic"`` or ``"differencing"``."""
        return vhd.DISK_TYPES[self.footer.disk_type]

    @property
    def has_parent(self) -> bool:
        """Whether clear bits ask a parent."""
        return self.footer.disk_type == vhd.DIFFERENCING

    def parent_names(self) -> Iterator[tuple[bytes, str]]:
        """(platform, name) of every locator that can be read as text; at most 64 KiB each are."""
        for locator in self.header.locators if self.header else ():
            encoding = {b"W2ru": "utf-16-le", b"W2ku": "utf-16-le"}.get(locator.platform, "utf-8")
            if locator.length <= 64 * 1024 and locator.file_offset + locator.length <= self.storage.size():
                data = self.storage.read(locator.length, locator.file_offset)
                yield locator.platform, data.decode(encoding, "replace").partition("\0")[0]

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """What a range inside the disk is made of; UNALLOCATED where this file says nothing."""
        header = self.header
        if header is None:
            if length:
                yield _data(offset, length, offset, BlockState.FULLY_PRESENT)
            return
        end = offset + length
        while offset < end:
            block, in_block = divmod(offset, header.block_size)
            count = min(header.block_size - in_block, end - offset)
            yield from self._block_extents(header, block, offset, count)
            offset += count

    def _block_extents(self, header: DynamicHeader, block: int, offset: int, length: int) -> Iterator[Extent]:
        """What a range inside one block is made of."""
        place = self._place(header, block)
        if place is None:
            yield _nothing(offset, length)
        else:
            yield from self._in_block(header, place, offset, length)

    def _place(self, header: DynamicHeader, block: int) -> int | None:
        """The file offset of a block's bitmap, None if the block is not there. Raises CorruptImageError."""
        place = self.named_place(header, block)
        if place is None:
            return None
        fault = self.fault(header, block, place)
        if fault is not None:
            raise fault.error(self.name)
        return place

    def named_place(self, header: DynamicHeader, block: int) -> int | None:
        """The file offset that the entry of a block names, whatever is there; None if it is unused.

        An entry of 0 is one, too: the copy of the footer stands there, and tools that made a table longer
        left such entries.
        """
        entry = self._entry(header, block)
        return None if entry in (vhd.UNUSED_ENTRY, 0) else entry * vhd.SECTOR_SIZE

    def fault(self, header: DynamicHeader, block: int, place: int) -> Finding | None:
        """Why a place can be no block's, or is not this block's alone; None if it can be."""
        where = Place("BAT", header.table_offset + block * vhd.ENTRY_SIZE)
        if any(start < place + self.stored_length(header) and place < end for start, end in self.structures):
            detail = f"block {block} stands at {place}, where another structure stands"
            return Finding(rules.VHD_ENTRY_PLACE, where, detail)
        needed = bitmap_length(header) + min(header.block_size, self.size - block * header.block_size)
        if place + needed > self.storage.size():
            detail = f"block {block} stands at {place}, not inside the file"
            return Finding(rules.VHD_ENTRY_PAST_END, where, detail)
        if place in self._overlapping:
            detail = f"block {block} at {place}: the space is claimed by another block, too"
            return Finding(rules.VHD_BLOCK_OVERLAP, where, detail)
        return None

    def stored_length(self, header: DynamicHeader) -> int:
        """The bytes of a block in the file: its bitmap and its data."""
        return bitmap_length(header) + header.block_size

    @cached_property
    def structures(self) -> tuple[tuple[int, int], ...]:
        """Where (start, end) no block can be: the copy of the footer, the header, the table."""
        if self.header is None:
            return ()
        header, table = self.footer.header_offset, self.header.table_offset
        return (
            (0, vhd.FOOTER_SIZE),
            (header, header + vhd.HEADER_SIZE),
            (table, table + table_length(self.header, self.footer)),
        )

    def doubts(self) -> Iterator[Doubt]:
        """None: what cannot be read right raises."""
        return iter(())

    def all_findings(self) -> list[str]:
        """What is unusual, with what the entries of a short table say."""
        header = self.header
        if header is None or table_length(header, self.footer) > _COMPARED_TABLE:
            return self.findings
        found = list(self.findings)
        if zeros := sum(not entry for entry in self._entries(header)):
            found.append(
                f"{zeros} entries of the table are 0, which can be no block: they are taken for unused"
            )
        if self._overlapping:
            advice = command("check {}", self.name)
            found.append(f"{len(self._overlapping)} blocks share space with another: {advice}")
        return found

    @cached_property
    def _overlapping(self) -> frozenset[int]:
        """The places of blocks that share bytes with another; not looked for in long tables."""
        header = self.header
        if header is None or table_length(header, self.footer) > _COMPARED_TABLE:
            return frozenset()
        length = self.stored_length(header)
        unused = (0, vhd.UNUSED_ENTRY)
        entries = self._entries(header)
        sectors = sorted(entry for entry in entries if entry not in unused)
        last = entries[-1]  # its block may be stored as far as the disk has it
        short = bitmap_length(header) + self.size - (len(entries) - 1) * header.block_size
        pairs = (
            (one, other)
            for one, other in pairwise(sectors)
            if (other - one) * vhd.SECTOR_SIZE < (short if one == last else length)
        )
        return frozenset(sector * vhd.SECTOR_SIZE for pair in pairs for sector in pair)

    def _entries(self, header: DynamicHeader) -> array[int]:
        """The whole of a short table."""
        entries = array("I", self.table_bytes(header, 0, block_count(header, self.footer)))
        if sys.byteorder == "little":
            entries.byteswap()
        return entries

    def table_bytes(self, header: DynamicHeader, first: int, count: int) -> bytes:
        """The entries of ``count`` blocks as they stand; those behind the end of the file read as unused."""
        offset, length = header.table_offset + first * vhd.ENTRY_SIZE, count * vhd.ENTRY_SIZE
        there = max(0, min(length, self.storage.size() - offset))
        return self.storage.read(there, offset).ljust(length, b"\xff") if there else b"\xff" * length

    def _entry(self, header: DynamicHeader, block: int) -> int:
        first = block - block % _WINDOW
        start, entries = self._window
        if start != first:
            count = min(_WINDOW, block_count(header, self.footer) - first)
            entries = self.table_bytes(header, first, count)
            self._window = (first, entries)
        index = (block - first) * vhd.ENTRY_SIZE
        return int.from_bytes(entries[index : index + vhd.ENTRY_SIZE], "big")

    def _in_block(self, header: DynamicHeader, place: int, offset: int, length: int) -> Iterator[Extent]:
        """The runs of one block, by its bitmap."""
        start_of_block = offset - offset % header.block_size
        data = place + bitmap_length(header)
        if not self.uses_bitmaps:
            yield _data(offset, length, data + offset - start_of_block, BlockState.FULLY_PRESENT)
            return
        first = (offset - start_of_block) // vhd.SECTOR_SIZE
        last = -(-(offset - start_of_block + length) // vhd.SECTOR_SIZE)
        bitmap = self.storage.read(-(-last // 8), place).translate(_REVERSED)
        mixed = any(bitmap) and bitmap.count(0xFF) != len(bitmap)
        state = BlockState.PARTIALLY_PRESENT if mixed else BlockState.FULLY_PRESENT
        for run in bit_runs(lambda size, at: bitmap[at : at + size], first, last - first):
            start = max(offset, start_of_block + run.first_bit * vhd.SECTOR_SIZE)
            stop = start_of_block + (run.first_bit + run.bit_count) * vhd.SECTOR_SIZE
            count = min(offset + length, stop) - start
            if run.is_set:
                yield _data(start, count, data + start - start_of_block, state)
            else:
                yield _nothing(start, count)


def _data(offset: int, length: int, file_offset: int, state: BlockState) -> Extent:
    return Extent(offset, length, ExtentKind.DATA, state, 1, file_offset)


def _nothing(offset: int, length: int) -> Extent:
    return Extent(offset, length, ExtentKind.UNALLOCATED, BlockState.NOT_PRESENT, 0, None)
