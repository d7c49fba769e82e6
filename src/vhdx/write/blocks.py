"""Writing to one block: in its place, into new space, or some of its sectors."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from vhdx.extents import BlockState
from vhdx.format import bat
from vhdx.format.bat import file_offset_of, state_of
from vhdx.image.read import SPLIT
from vhdx.storage.sharing import put
from vhdx.write.sectors import SectorWriter

if TYPE_CHECKING:
    from vhdx.geometry import Span
    from vhdx.storage.sharing import Payload
    from vhdx.write.sectors import Below
    from vhdx.write.session import Session

_ASKS_BELOW = (BlockState.NOT_PRESENT, BlockState.PARTIALLY_PRESENT)


class BlockWriter:
    """Resolves, allocates, writes, and completes or undoes."""

    def __init__(self, session: Session, below: Below | None) -> None:
        self._session = session
        self._file = session.file
        self._geometry = session.geometry
        self._transaction = session.transaction
        self._pins = session.pins
        self._locate = session.reader.locate
        self._sectors = SectorWriter(session, below)

    def write_in_place(self, data: Payload, offset: int) -> bool:
        """Write a range that lies in one present block, all its sectors here; False if it does not.

        The pin comes before the look into the table: while it is held, space that the range resolves to
        gets no other owner. And before the look whether contents may be changed: who closes waits for pins.
        """
        pin, place = object(), SPLIT
        try:  # entered inside, left before any other call: wherever an interrupt comes, no pin stays behind
            self._pins.enter(pin)
            if self._transaction.contents_began:
                place = self._locate(offset, len(data))
            if place > 0:
                put(self._file, data, place)
        finally:
            # Set when the bytes are there and not before: a flush that runs meanwhile may have missed them.
            # And before the pin goes: whoever waits for it flushes next.
            self._transaction.payload_written = True
            self._pins.leave(pin)
        return place > 0

    def write(self, span: Span, data: Payload) -> None:
        """Write to a block that was not present, or not wholly, a moment ago."""
        session = self._session
        with session.lock:
            session.begin()
            if self.write_in_place(data, self._geometry.offset_of(span)):
                return
            entry = session.bat.payload(span.block)
            session.refuse_invalid(span.block, entry)
            whole = span.length == self._geometry.block_length(span.block)
            if self._geometry.differencing and state_of(entry) in _ASKS_BELOW and not whole:
                self._sectors.write(span, data)
            elif state_of(entry) is BlockState.PARTIALLY_PRESENT:
                self._complete_block(span, data, file_offset_of(entry))
            else:
                self._allocate_block(span, data)

    def _complete_block(self, span: Span, data: Payload, place: int) -> None:
        """Write all of a partially present block, which becomes full in its place."""
        self._session.make_room(1)
        put(self._file, data, place)
        self._transaction.payload_written = True
        self._put(span.block, place)

    def _allocate_block(self, span: Span, data: Payload) -> None:
        """Write to a block without space; what is not written reads as zeros."""
        session = self._session
        session.make_room(1)
        with session.allocated(span.block) as (place, is_zero):
            if not is_zero and span.length < self._geometry.block_size:
                self._clear(place)
            put(self._file, data, place + span.offset_in_block)
            self._put(span.block, place)

    def _clear(self, place: int) -> None:
        """The old owner's bytes must not show through; before the data, so that these win."""
        if not self._file.punch(place, self._geometry.block_size):
            self._file.zero(place, self._geometry.block_size)

    def _put(self, block: int, place: int) -> None:
        entry = bat.pack(BlockState.FULLY_PRESENT, place)
        self._session.put_entries(block, array("Q", (entry,)))
