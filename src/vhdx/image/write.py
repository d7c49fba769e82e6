"""Changing the disk of one image: a range is resolved, space allocated, written, completed or undone."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from vhdx.errors import UnsupportedImageError
from vhdx.extents import BlockState
from vhdx.format import bat
from vhdx.format.bat import file_offset_of, state_of
from vhdx.image.erase import Eraser
from vhdx.image.items import item_changes
from vhdx.image.pages import PAGE_SIZE
from vhdx.image.sectors import SectorWriter
from vhdx.image.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from vhdx.geometry import Span
    from vhdx.image.image import Image
    from vhdx.image.sectors import Below
    from vhdx.storage.base import Storage

_ASKS_BELOW = (BlockState.NOT_PRESENT, BlockState.PARTIALLY_PRESENT)


class Writer:
    """Writes into one image. Safe to use from several threads.

    Writes into present blocks run in parallel; everything that changes the table or a bitmap is ordered by
    the session's lock. Nothing is modified before the first change.
    """

    def __init__(
        self, file: Storage, image: Image, on_failure: Callable[[], None], below: Below | None = None
    ) -> None:
        self._file = file
        self._image = image
        self._geometry = image.geometry
        self._session = Session(file, image, on_failure)
        self._door = self._session.door
        self._pins = self._session.pins
        self._locate = image.reader.locate
        self._sectors = SectorWriter(self._session, below)
        eraser = Eraser(self._session, below, self._write_block)
        self.zero = eraser.zero
        self.trim = eraser.trim
        self.close = self._session.close

    def check(self) -> None:
        """Raise ImageFailedError after a failure that could not be undone."""
        self._door.check()

    def pwrite(self, data: bytes | memoryview, offset: int) -> None:
        """Write bytes of a range inside the disk."""
        if not self._door.contents_began:
            self._session.begin()
        if self._write_in_place(data, offset):
            return
        data = memoryview(data)
        for span in self._geometry.spans(offset, len(data)):
            start = self._geometry.offset_of(span) - offset
            piece = data[start : start + span.length]
            if not self._write_in_place(piece, offset + start):
                self._write_block(span, piece)

    def _write_in_place(self, data: bytes | memoryview, offset: int) -> bool:
        """Write a range that lies in one present block, all its sectors here; False if it does not.

        The pin comes before the look into the table: while it is held, space that the range resolves to
        gets no other owner.
        """
        pin = object()
        self._pins.enter(pin)
        try:
            place = self._locate(offset, len(data))
            if place > 0:
                self._file.write_at(data, place)
        finally:
            # Set when the bytes are there and not before: a flush that runs meanwhile may have missed them.
            self._door.payload_written = True
            self._pins.leave(pin)
        return place > 0

    def _write_block(self, span: Span, data: memoryview) -> None:
        """Write to a block that was not present, or not wholly, a moment ago."""
        session = self._session
        with session.lock:
            session.door.check()
            if self._write_in_place(data, self._geometry.offset_of(span)):
                return
            session.refuse_invalid(span.block)
            entry = session.bat.payload(span.block)
            whole = span.length == self._geometry.block_length(span.block)
            if self._geometry.differencing and state_of(entry) in _ASKS_BELOW and not whole:
                self._sectors.write(span, data)
            elif state_of(entry) is BlockState.PARTIALLY_PRESENT:
                self._complete_block(span, data, file_offset_of(entry))
            else:
                self._allocate_block(span, data)

    def _complete_block(self, span: Span, data: memoryview, place: int) -> None:
        """Write all of a partially present block, which becomes full in its place."""
        self._session.make_room(1)
        self._file.write_at(data, place)
        self._door.payload_written = True
        self._put(span.block, place)

    def _allocate_block(self, span: Span, data: memoryview) -> None:
        """Write to a block without space; what is not written reads as zeros."""
        session = self._session
        session.make_room(1)
        with session.allocated(span.block) as (place, is_zero):
            if not is_zero and span.length < self._geometry.block_size:
                # The old owner's bytes must not show through; before the data, so that these win.
                self._file.zero(place, self._geometry.block_size)
            self._file.write_at(data, place + span.offset_in_block)
            self._put(span.block, place)

    def _put(self, block: int, place: int) -> None:
        entry = bat.pack(BlockState.FULLY_PRESENT, place)
        self._session.put_entries(block, array("Q", (entry,)))

    def flush(self) -> None:
        """Return when everything written before is durable."""
        self._door.check()
        with self._session.lock:
            self._session.commit()

    def mend(self) -> bool:
        """Replay a dirty log and put right what disagrees, contents untouched; whether it was needed."""
        with self._session.lock:
            if not self._image.needs_mending:
                return False
            self._session.begin(contents=False)
            self._session.commit()
            return True

    def replace_item(self, item_id: UUID, value: bytes) -> None:
        """Give a system metadata item another value, durably. Does not count as a change of contents."""
        session = self._session
        with session.lock:
            changes = item_changes(self._image.metadata, item_id, value)
            session.begin(contents=False)
            session.commit()  # so that what belongs together has half the log for itself
            if not session.door.has_room(sum(len(data) // PAGE_SIZE + 2 for _, data in changes)):
                raise UnsupportedImageError("the log is too small for this item", image=self._image.name)
            with session.door.failing_for_good():
                for file_offset, data in changes:
                    session.pages.put_all(data, file_offset)
            session.commit()
