"""Writing part of a block whose other sectors come from below [MS-VHDX 2.4, 2.5.1.2].

Only whole logical sectors can be in this file. Which are, the sector bitmap says; its changes and those of
the table that belong to them go into one log entry.
"""

from __future__ import annotations

import contextlib
from array import array
from typing import TYPE_CHECKING, Protocol

from vhdx.extents import BlockState
from vhdx.format import bat
from vhdx.format.bat import file_offset_of, state_of
from vhdx.geometry import BITMAP_BLOCK_SIZE
from vhdx.image.pages import PAGE_SIZE
from vhdx.storage.sharing import put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.extents import Extent
    from vhdx.geometry import Span
    from vhdx.storage.sharing import Payload
    from vhdx.write.session import Session


class Below(Protocol):
    """What lies under a differencing image; zeros past its end."""

    @property
    def size(self) -> int: ...

    def pread(self, length: int, offset: int) -> bytes: ...

    def extents(self, *, offset: int = 0, length: int | None = None) -> Iterator[Extent]: ...


def read_below(below: Below | None, length: int, offset: int) -> bytes:
    """Bytes of what lies below, zeros past its end."""
    there = 0 if below is None else max(0, min(length, below.size - offset))
    found = b"" if below is None or not there else below.pread(there, offset)
    return found if there == length else found + bytes(length - there)


class SectorWriter:
    """Writes sectors of partially present blocks. Its callers hold the session's lock."""

    def __init__(self, session: Session, below: Below | None) -> None:
        self._session = session
        self._geometry = session.geometry
        self._reader = session.reader
        self._bat = session.bat
        self._pages = session.pages
        self._below = below

    def write(self, span: Span, data: Payload) -> None:
        """Write to a block that is not present, or partially, and takes the rest from below.

        Torn sectors that are not here yet are filled up from below; torn ones that are here are written in
        part, because other threads may write their other part in place.
        """
        session, chunk = self._session, self._geometry.chunk_of(span.block)
        session.make_room(self._geometry.sectors_per_block // 8 // PAGE_SIZE + 2 + 2)
        was_partial = state_of(self._bat.payload(span.block)) is BlockState.PARTIALLY_PRESENT
        start, filled = self._filled(span, data, was_partial=was_partial)
        with contextlib.ExitStack() as undoing:
            bitmap = self._bitmap_place(chunk, undoing)
            place = file_offset_of(self._bat.payload(span.block))
            if not was_partial:
                place, _ = undoing.enter_context(session.allocated(span.block))
            put(session.file, filled, place + start)
            session.transaction.payload_written = True
            # What belongs together goes into one log entry.
            with session.transaction.failing_for_good(), self._pages.lock:
                self._set_bits(bitmap, span.block, start, len(filled), was_partial=was_partial)
                session.put_bitmap_entry(chunk, bat.pack(bat.BITMAP_PRESENT, bitmap))
                entry = bat.pack(BlockState.PARTIALLY_PRESENT, place)
                session.put_entries(span.block, array("Q", (entry,)))

    def _set_bits(self, bitmap: int, block: int, start: int, length: int, *, was_partial: bool) -> None:
        """Mark the sectors of a range in a block as present, in memory.

        Of a block that was not partially present before all bits are written: what an earlier life left
        in them means nothing.
        """
        size, first_bit = self._geometry.logical_sector_size, self._geometry.first_bit(block)
        first, stop = first_bit + start // size, first_bit + -(-(start + length) // size)
        if was_partial:
            low, high = first // 8, -(-stop // 8)
            bits = int.from_bytes(self._pages.read(high - low, bitmap + low), "little")
        else:
            low, high = first_bit // 8, (first_bit + self._geometry.sectors_per_block) // 8
            bits = 0
        bits |= ((1 << (stop - first)) - 1) << (first - low * 8)
        self._pages.put_all(bits.to_bytes(high - low, "little"), bitmap + low)

    def _filled(self, span: Span, data: Payload, *, was_partial: bool) -> tuple[int, Payload]:
        """Offset in the block and bytes to be written so that no sector that is not here yet is torn."""
        size = self._geometry.logical_sector_size
        start, stop = span.offset_in_block, span.offset_in_block + span.length
        head, tail = start % size, -stop % size
        first_bit = self._geometry.first_bit(span.block)
        if head and was_partial and self._reader.bits(span.block, first_bit + start // size, 1):
            head = 0
        if tail and was_partial and self._reader.bits(span.block, first_bit + stop // size, 1):
            tail = 0
        if not head and not tail:
            return start, data
        disk_offset = self._geometry.offset_of(span)
        before = read_below(self._below, head, disk_offset - head)
        behind = read_below(self._below, tail, disk_offset + span.length)
        return start - head, b"".join((before, bytes(data), behind))

    def _bitmap_place(self, chunk: int, undoing: contextlib.ExitStack) -> int:
        """The place of a chunk's sector bitmap, which is allocated and zeroed if it is not there."""
        entry = self._bat.bitmap(chunk)
        if entry & bat.STATE_MASK == bat.BITMAP_PRESENT:
            return file_offset_of(entry)
        self._refuse_partial_blocks(chunk)
        place, is_zero = undoing.enter_context(
            self._session.taken(BITMAP_BLOCK_SIZE, lambda: file_offset_of(self._bat.bitmap(chunk)))
        )
        if not is_zero:
            self._session.file.zero(place, BITMAP_BLOCK_SIZE)
        return place

    def _refuse_partial_blocks(self, chunk: int) -> None:
        """A new bitmap would say of blocks that lost theirs that all of their sectors are the parent's."""
        blocks = self._geometry.blocks_of_slots(
            chunk * (self._geometry.chunk_ratio + 1), self._geometry.chunk_ratio
        )
        for block, entry in enumerate(self._bat.payloads(blocks.start, len(blocks)), blocks.start):
            if state_of(entry) is BlockState.PARTIALLY_PRESENT:
                self._reader.refuse_missing_bitmap(block)
