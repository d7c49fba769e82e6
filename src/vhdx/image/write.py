"""Changing the disk of one image: a range is resolved, space allocated, written, completed or undone."""

from __future__ import annotations

import contextlib
import errno
import threading
from array import array
from typing import TYPE_CHECKING, Protocol

from vhdx.errors import UnsupportedImageError
from vhdx.extents import BlockState, ExtentKind
from vhdx.format import bat
from vhdx.format.bat import file_offset_of, state_of
from vhdx.geometry import BITMAP_BLOCK_SIZE
from vhdx.image.items import item_changes
from vhdx.image.pages import PAGE_SIZE
from vhdx.image.pins import Pins
from vhdx.image.space import Conflict, survey
from vhdx.image.states import READ_ANSWERS, TRANSITIONS, Answer, Event
from vhdx.image.transaction import Door
from vhdx.storage.base import ZEROS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from vhdx.extents import Extent
    from vhdx.geometry import Span
    from vhdx.image.image import Image
    from vhdx.image.space import Space
    from vhdx.storage.base import Storage

_SLOTS_IN_PAGE = PAGE_SIZE // bat.ENTRY_SIZE
_LAST_SEQUENCE_NUMBER = 2**63
"""No session gets near the end of 64 bits from here."""
_ASKS_BELOW = (BlockState.NOT_PRESENT, BlockState.PARTIALLY_PRESENT)


class Below(Protocol):
    """What lies under a differencing image; zeros past its end."""

    @property
    def size(self) -> int: ...

    def pread(self, length: int, offset: int) -> bytes: ...

    def extents(self, *, offset: int = 0, length: int | None = None) -> Iterator[Extent]: ...


class Writer:
    """Writes into one image. Safe to use from several threads.

    Writes into present blocks run in parallel; everything that changes the table or a bitmap is ordered by
    one lock. Nothing is modified before the first change.
    """

    def __init__(
        self, file: Storage, image: Image, on_failure: Callable[[], None], below: Below | None = None
    ) -> None:
        _refuse_unwritable(image)
        self._file = file
        self._image = image
        self._geometry = image.geometry
        self._reader = image.reader
        self._bat = image.bat
        self._pages = image.pages
        self._below = below
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

    def _begin(self, *, contents: bool = True) -> None:
        """Before the first change: the image is sound, its headers say that it is being written to."""
        self._door.check()
        with self._lock:
            first = not self._door.began
            _ = self._space  # an image that contradicts itself is not modified at all
            self._door.begin(contents=contents)
            if first:
                self._door.mend()

    def mend(self) -> bool:
        """Replay a dirty log and put right what disagrees, contents untouched; whether it was needed."""
        with self._lock:
            if not self._image.needs_mending:
                return False
            self._begin(contents=False)
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
        """Write a range that lies in one present block, all its sectors here; False if it does not.

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
        """Write to a block that was not present, or not wholly, a moment ago."""
        with self._lock:
            self._door.check()
            if self._write_in_place(data, self._geometry.offset_of(span)):
                return
            entry = self._bat.payload(span.block)
            self._refuse_invalid(entry, span.block)
            whole = span.length == self._geometry.block_length(span.block)
            if self._geometry.differencing and state_of(entry) in _ASKS_BELOW and not whole:
                self._write_sectors(span, data)
                return
            self._make_room(1)
            if (
                state_of(entry) is BlockState.PARTIALLY_PRESENT
            ):  # all of it is written: it becomes full in place
                self._file.write_at(data, file_offset_of(entry))
                self._door.payload_written = True
                self._put_entries(span.block, _entry(BlockState.FULLY_PRESENT, file_offset_of(entry)))
                return
            with self._allocated(span.block) as (place, is_zero):
                if not is_zero and span.length < self._geometry.block_size:
                    # The old owner's bytes must not show through; before the data, so that these win.
                    self._file.zero(place, self._geometry.block_size)
                self._file.write_at(data, place + span.offset_in_block)
                self._put_entries(span.block, _entry(BlockState.FULLY_PRESENT, place))

    def _write_sectors(self, span: Span, data: memoryview) -> None:
        """Write to a block that takes the rest of its sectors from below [MS-VHDX 2.4].

        Only whole sectors can be here. Torn ones that are not here yet are filled up from below; torn ones
        that are here are written in part, because other threads may write their other part in place.
        """
        chunk = self._geometry.chunk_of(span.block)
        self._make_room(self._geometry.sectors_per_block // 8 // PAGE_SIZE + 2 + 2)
        was_partial = state_of(self._bat.payload(span.block)) is BlockState.PARTIALLY_PRESENT
        start, filled = self._filled_sectors(span, data, was_partial=was_partial)
        with contextlib.ExitStack() as undoing:
            bitmap = self._bitmap_place(chunk, undoing)
            place = file_offset_of(self._bat.payload(span.block))
            if not was_partial:
                place, _ = undoing.enter_context(self._allocated(span.block))
            self._file.write_at(filled, place + start)
            self._door.payload_written = True
            # What belongs together goes into one log entry.
            with self._door.failing_for_good(), self._pages.lock:
                self._set_bits(bitmap, span.block, start, len(filled), was_partial=was_partial)
                self._bat.put_bitmap(chunk, bat.pack(bat.BITMAP_PRESENT, bitmap))
                self._put_entries(span.block, _entry(BlockState.PARTIALLY_PRESENT, place))

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

    def _filled_sectors(
        self, span: Span, data: memoryview, *, was_partial: bool
    ) -> tuple[int, bytes | memoryview]:
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
        before = self._read_below(head, disk_offset - head)
        behind = self._read_below(tail, disk_offset + span.length)
        return start - head, b"".join((before, data, behind))

    def _read_below(self, length: int, offset: int) -> bytes:
        size = 0 if self._below is None else self._below.size
        there = max(0, min(length, size - offset))
        found = b"" if self._below is None or not there else self._below.pread(there, offset)
        return found + bytes(length - there)

    def _bitmap_place(self, chunk: int, undoing: contextlib.ExitStack) -> int:
        """The place of a chunk's sector bitmap, which is allocated and zeroed if it is not there."""
        entry = self._bat.bitmap(chunk)
        if entry & bat.STATE_MASK == bat.BITMAP_PRESENT:
            return file_offset_of(entry)
        place, is_zero = undoing.enter_context(
            self._taken(BITMAP_BLOCK_SIZE, lambda: file_offset_of(self._bat.bitmap(chunk)))
        )
        if not is_zero:
            self._file.zero(place, BITMAP_BLOCK_SIZE)
        return place

    def _allocated(self, block: int) -> contextlib.AbstractContextManager[tuple[int, bool]]:
        """Space for a block, and whether it reads as zeros."""
        return self._taken(self._geometry.block_size, lambda: file_offset_of(self._bat.payload(block)))

    @contextlib.contextmanager
    def _taken(self, length: int, named: Callable[[], int]) -> Iterator[tuple[int, bool]]:
        """Space, and whether it reads as zeros; given back unless ``named`` by the table at the end."""
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
            if named() != place:
                self._space.give_back(place, length)

    def _put_entries(self, block: int, entries: array[int]) -> None:
        with self._pages.lock:
            self._bat.put(block, entries)
            self._reader.forget(block, len(entries))

    def _refuse_invalid(self, entry: int, block: int) -> None:
        answer = READ_ANSWERS[state_of(entry)]
        if answer is Answer.INVALID or (answer is Answer.BITMAP and not self._geometry.differencing):
            self._reader.refuse_state(entry, block)

    def zero(self, length: int, offset: int, *, keep_allocated: bool, fast_only: bool) -> None:
        """Make a range read as zeros, exactly.

        ``fast_only`` raises OSError (ENOTSUP) before anything changed where zeros would have to be written.
        """
        self._door.check()
        in_place = keep_allocated or self._keeps_blocks
        with self._lock:
            covered = self._geometry.covered(offset, length)
            whole = range(0) if in_place else covered
            if fast_only and any(self._data_spans(offset, length, whole, covered)):
                raise OSError(errno.ENOTSUP, "zeros would have to be written", self._image.name)
            self._change_states(covered, Event.ZERO, only_absent=in_place)
            for span in self._data_spans(offset, length, whole, covered):
                self._zero_span(span)

    def _data_spans(self, offset: int, length: int, whole: range, covered: range) -> Iterator[Span]:
        """The parts of a range, outside of ``whole`` blocks, that read as data from here or from below.

        Of ``covered`` blocks only those that are present: the others become ZERO.
        """
        for span in self._geometry.spans_outside(offset, length, whole):
            if span.block in covered and not _is_present(self._bat.payload(span.block)):
                continue
            for extent in self._reader.extents(self._geometry.offset_of(span), span.length):
                if extent.kind is ExtentKind.DATA:
                    yield from self._geometry.spans(extent.offset, extent.length)
                elif extent.kind is ExtentKind.UNALLOCATED:
                    yield from self._spans_below(extent.offset, extent.length)

    def _spans_below(self, offset: int, length: int) -> Iterator[Span]:
        if self._below is None or offset >= self._below.size:
            return
        for extent in self._below.extents(offset=offset, length=min(length, self._below.size - offset)):
            if extent.kind is ExtentKind.DATA:
                yield from self._geometry.spans(extent.offset, extent.length)

    def _zero_span(self, span: Span) -> None:
        self._begin_once()
        place = self._reader.locate(self._geometry.offset_of(span), span.length)
        if place > 0:
            self._door.payload_written = True
            self._file.zero(place, span.length)
            return
        for start in range(0, span.length, len(ZEROS)):
            length = min(len(ZEROS), span.length - start)
            part = span._replace(offset_in_block=span.offset_in_block + start, length=length)
            self._write_block(part, memoryview(ZEROS)[:length])

    def _begin_once(self) -> None:
        if not self._door.contents_began:
            self._begin()

    def trim(self, length: int, offset: int) -> None:
        """Let go of a range: whole blocks give their space back, parts of present ones are punched."""
        self._door.check()
        if self._keeps_blocks:
            return  # a fixed image keeps its space
        with self._lock:
            whole = self._geometry.covered(offset, length)
            for span in self._geometry.spans_outside(offset, length, whole):
                for extent in self._reader.extents(self._geometry.offset_of(span), span.length):
                    if extent.kind is ExtentKind.DATA and extent.file_offset is not None:
                        self._begin_once()
                        self._door.payload_written = True
                        self._file.punch(extent.file_offset, extent.length)
            self._change_states(whole, Event.TRIM_OVER_PARENT if self._geometry.differencing else Event.TRIM)

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
                if before != after and _is_present(before):
                    self._space.give_up(file_offset_of(before), self._geometry.block_size)

    def replace_item(self, item_id: UUID, value: bytes) -> None:
        """Give a system metadata item another value, durably. Does not count as a change of contents."""
        with self._lock:
            changes = item_changes(self._image.metadata, item_id, value)
            self._begin(contents=False)
            self._commit()  # so that what belongs together has half the log for itself
            if not self._door.has_room(sum(len(data) // PAGE_SIZE + 2 for _, data in changes)):
                raise UnsupportedImageError("the log is too small for this item", image=self._image.name)
            with self._door.failing_for_good():
                for file_offset, data in changes:
                    self._pages.put_all(data, file_offset)
            self._commit()

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


def _entry(state: BlockState, place: int) -> array[int]:
    return array("Q", (bat.pack(state, place),))


def _is_present(entry: int) -> bool:
    return state_of(entry) in (BlockState.FULLY_PRESENT, BlockState.PARTIALLY_PRESENT)


def _after(entry: int, table: dict[BlockState, BlockState], *, only_absent: bool) -> int:
    state = state_of(entry)
    if state not in table or (only_absent and _is_present(entry)):
        return entry
    return bat.pack(table[state], 0)
