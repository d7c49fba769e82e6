"""Changing the disk of one image: a range is resolved, space allocated, written, completed or undone."""

from __future__ import annotations

import contextlib
import errno
import threading
from array import array
from typing import TYPE_CHECKING

from vhdx.errors import UnsupportedImageError
from vhdx.extents import BlockState
from vhdx.format import bat
from vhdx.format.bat import file_offset_of, state_of
from vhdx.image.pages import PAGE_SIZE
from vhdx.image.pins import Pins
from vhdx.image.space import Conflict, survey
from vhdx.image.states import READ_ANSWERS, TRANSITIONS, Answer, Event
from vhdx.image.transaction import Door

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdx.geometry import Span
    from vhdx.image.image import Image
    from vhdx.image.space import Space
    from vhdx.storage.base import Storage

_SLOTS_IN_PAGE = PAGE_SIZE // bat.ENTRY_SIZE
_LAST_SEQUENCE_NUMBER = 2**63
"""No session gets near the end of 64 bits from here."""


class Writer:
    """Writes into one fixed or dynamic image. Safe to use from several threads.

    Writes into present blocks run in parallel; everything that changes the table is ordered by one lock.
    Nothing is modified before the first change.
    """

    def __init__(self, file: Storage, image: Image, on_failure: Callable[[], None]) -> None:
        _refuse_unwritable(image)
        self._file = file
        self._image = image
        self._geometry = image.geometry
        self._reader = image.reader
        self._bat = image.bat
        self._pages = image.pages
        self._keeps_blocks = image.metadata.disk_type == "fixed"
        self._lock = threading.RLock()
        self._pins = Pins()
        self._door = Door(file, image, on_failure)
        self._known_space: Space | None = None

    def check(self) -> None:
        """Raise ImageFailedError after a failure that could not be undone."""
        self._door.check()

    @property
    def _space(self) -> Space:
        """Which space is free. Raises CorruptImageError where the image contradicts itself."""
        if self._known_space is None:
            try:
                self._known_space = survey(
                    self._image.regions, self._bat, self._geometry, self._reader.file_size
                )
            except Conflict as conflict:
                raise conflict.finding.error(self._image.name) from None
        return self._known_space

    def _begin(self) -> None:
        """Before contents change: the image is sound, its headers say that it is being written to."""
        self._door.check()
        with self._lock:
            first = not self._door.began
            _ = self._space  # an image that contradicts itself is not modified at all
            self._door.begin(contents=True)
            if first:
                self._door.mend()

    def mend(self) -> bool:
        """Replay a dirty log and put right what disagrees, contents untouched; whether it was needed."""
        with self._lock:
            if not self._image.needs_mending:
                return False
            _ = self._space
            self._door.begin(contents=False)
            self._door.mend()
            self._commit()
            return True

    def pwrite(self, data: bytes | memoryview, offset: int) -> None:
        """Write bytes of a range inside the disk."""
        if not self._door.contents_began:
            self._begin()
        if self._write_in_place(data, offset):
            return
        data = memoryview(data)
        for span in self._geometry.spans(offset, len(data)):
            start = self._geometry.offset_of(span) - offset
            piece = data[start : start + span.length]
            if not self._write_in_place(piece, offset + start):
                self._write_block(span, piece)

    def _write_in_place(self, data: bytes | memoryview, offset: int) -> bool:
        """Write a range that lies in one present block; False if it does not.

        The pin comes before the look into the table: while it is held, space that the range resolves to
        gets no other owner.
        """
        pin = object()
        self._pins.enter(pin)
        try:
            place = self._reader.locate(offset, len(data))
            if place > 0:
                self._file.write_at(data, place)
        finally:
            # Set when the bytes are there and not before: a flush that runs meanwhile may have missed them.
            self._door.payload_written = True
            self._pins.leave(pin)
        return place > 0

    def _write_block(self, span: Span, data: memoryview) -> None:
        """Write to a block that was not present a moment ago."""
        with self._lock:
            self._door.check()
            if self._write_in_place(data, self._geometry.offset_of(span)):
                return
            self._refuse_invalid(self._bat.payload(span.block), span.block)
            self._make_room(1)
            with self._allocated(span.block) as (place, is_zero):
                if not is_zero and span.length < self._geometry.block_size:
                    # The old owner's bytes must not show through; before the data, so that these win.
                    self._file.zero(place, self._geometry.block_size)
                self._file.write_at(data, place + span.offset_in_block)
                self._put_entries(span.block, array("Q", [bat.pack(BlockState.FULLY_PRESENT, place)]))

    @contextlib.contextmanager
    def _allocated(self, block: int) -> Iterator[tuple[int, bool]]:
        """Space for a block, and whether it reads as zeros; given back unless the table names it then."""
        length = self._geometry.block_size
        place = self._space.take(length)
        is_new = place is None
        if place is None:
            place = self._space.extend(length)
        try:
            if place + length > self._reader.file_size:
                self._file.resize(place + length)
                self._reader.file_size = place + length
            self._door.payload_written = True
            yield place, is_new
        finally:
            if file_offset_of(self._bat.payload(block)) != place:
                self._space.give_back(place, length)

    def _put_entries(self, block: int, entries: array[int]) -> None:
        with self._pages.lock:
            self._bat.put(block, entries)
            self._reader.forget(block, len(entries))

    def _refuse_invalid(self, entry: int, block: int) -> None:
        if READ_ANSWERS[state_of(entry)] in (Answer.INVALID, Answer.BITMAP):
            self._reader.refuse_state(entry, block)

    def zero(self, length: int, offset: int, *, keep_allocated: bool, fast_only: bool) -> None:
        """Make a range read as zeros, exactly.

        ``fast_only`` raises OSError (ENOTSUP) before anything changed where zeros would have to be written.
        """
        in_place = keep_allocated or self._keeps_blocks
        with self._lock:
            self._door.check()
            covered = self._geometry.covered(offset, length)
            whole = range(0) if in_place else covered
            if fast_only and any(self._present_spans(offset, length, whole)):
                raise OSError(errno.ENOTSUP, "zeros would have to be written", self._image.name)
            for span in self._present_spans(offset, length, whole):
                self._begin_once()
                self._door.payload_written = True
                self._file.zero(self._place_of(span), span.length)
            self._change_states(covered, Event.ZERO, only_absent=in_place)

    def _present_spans(self, offset: int, length: int, whole: range) -> Iterator[Span]:
        """The parts of a range, outside of ``whole`` blocks, that stand in the file."""
        for span in self._geometry.spans_outside(offset, length, whole):
            self._refuse_invalid(self._bat.payload(span.block), span.block)
            if self._place_of(span) > 0:
                yield span

    def _place_of(self, span: Span) -> int:
        return self._reader.locate(self._geometry.offset_of(span), span.length)

    def _begin_once(self) -> None:
        if not self._door.contents_began:
            self._begin()

    def trim(self, length: int, offset: int) -> None:
        """Let go of a range: whole blocks give their space back, parts of present ones are punched."""
        if self._keeps_blocks:
            return  # a fixed image keeps its space
        with self._lock:
            self._door.check()
            whole = self._geometry.covered(offset, length)
            for span in self._present_spans(offset, length, whole):
                self._begin_once()
                self._door.payload_written = True
                self._file.punch(self._place_of(span), span.length)
            self._change_states(whole, Event.TRIM)

    def _change_states(self, blocks: range, event: Event, *, only_absent: bool = False) -> None:
        """Let an event happen to whole blocks, a page of the table at a time."""
        table = TRANSITIONS[event]
        for block, _, count in self._geometry.slot_runs(blocks.start, len(blocks), _SLOTS_IN_PAGE):
            old = self._bat.payloads(block, count)
            new = array("Q", (_after(entry, table, only_absent=only_absent) for entry in old))
            if new == old:
                continue
            self._begin_once()
            self._make_room(1)
            self._put_entries(block, new)
            for before, after in zip(old, new, strict=True):
                if before != after and state_of(before) is BlockState.FULLY_PRESENT:
                    self._space.give_up(file_offset_of(before), self._geometry.block_size)

    def _make_room(self, pages: int) -> None:
        """Commit early if so many more changed pages would not fit half the log."""
        if not self._door.has_room(pages):
            self._commit()

    def flush(self) -> None:
        """Return when everything written before is durable."""
        self._door.check()
        with self._lock:
            self._commit()

    def _commit(self) -> None:
        """Commit, then free what waited: the entries that named it are durably gone now."""
        if self._door.commit():
            self._release()

    def _release(self) -> None:
        """Only when no write that resolved to it still runs; reads that did notice by the generation."""
        if self._known_space is None or not self._known_space.waiting:
            return
        self._pins.drain()
        self._reader.generation += 1
        for file_offset, length in self._known_space.waiting:
            self._file.punch(file_offset, length)
        self._known_space.release_waiting()

    def close(self) -> None:
        """Commit, empty the log, cut the file behind its last used MiB. Does nothing to an unchanged file."""
        with self._lock:
            if self._door.failure is not None:
                return
            self._commit()
            cut = not self._keeps_blocks and self._known_space is not None
            self._door.close(self._known_space.used_end if cut and self._known_space else None)


def _refuse_unwritable(image: Image) -> None:
    reason = None
    if image.header.log_length == 0:
        reason = "the image has no log, so it cannot be changed safely"
    elif image.header.sequence_number > _LAST_SEQUENCE_NUMBER:
        reason = "the header's sequence number cannot grow any more"
    if reason is not None:
        raise UnsupportedImageError(reason, image=image.name)


def _after(entry: int, table: dict[BlockState, BlockState], *, only_absent: bool) -> int:
    state = state_of(entry)
    if state not in table or (only_absent and state is BlockState.FULLY_PRESENT):
        return entry
    return bat.pack(table[state], 0)
