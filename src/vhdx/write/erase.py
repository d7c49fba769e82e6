"""Zero and trim: ranges that are to read as zeros, exactly or if it costs nothing."""

from __future__ import annotations

import errno
from array import array
from typing import TYPE_CHECKING

from vhdx.extents import BlockState, ExtentKind
from vhdx.format import bat
from vhdx.format.bat import STATE_MASK, file_offset_of, state_of
from vhdx.image.bat import WINDOW
from vhdx.image.pages import PAGE_SIZE
from vhdx.image.states import PRESENT, is_invalid, is_present
from vhdx.pieces import pieces
from vhdx.storage.base import ZEROS
from vhdx.write.transitions import TRANSITIONS, Event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.geometry import Span
    from vhdx.write.blocks import BlockWriter
    from vhdx.write.sectors import Below
    from vhdx.write.session import Session

_SLOTS_IN_PAGE = PAGE_SIZE // bat.ENTRY_SIZE
_INVALID = frozenset(state.value for state in BlockState if is_invalid(state))


class Eraser:
    """Changes the state of whole blocks, and parts of blocks in their place."""

    def __init__(self, session: Session, below: Below | None, blocks: BlockWriter) -> None:
        self._session = session
        self._geometry = session.geometry
        self._reader = session.reader
        self._bat = session.bat
        self._below = below
        self._blocks = blocks

    def zero(self, length: int, offset: int, *, keep_allocated: bool, fast_only: bool) -> None:
        """Make a range read as zeros, exactly.

        ``fast_only`` raises OSError (ENOTSUP) before anything changed where zeros would have to be written.
        """
        session = self._session
        session.transaction.check()
        in_place = keep_allocated or session.keeps_blocks
        with session.lock:
            covered = self._geometry.covered(offset, length)
            whole = range(0) if in_place else covered
            if fast_only and any(self._data_spans(offset, length, whole, covered)):
                raise OSError(errno.ENOTSUP, "zeros would have to be written", session.image.name)
            self._change_states(covered, Event.ZERO, only_absent=in_place)
            for span in self._data_spans(offset, length, whole, covered):
                self._zero_span(span)

    def _data_spans(self, offset: int, length: int, whole: range, covered: range) -> Iterator[Span]:
        """The parts of a range, outside of ``whole`` blocks, that read as data from here or from below.

        Of ``covered`` blocks only those that are present: the others become ZERO.
        """
        for span in self._geometry.spans_outside(offset, length, whole):
            if span.block in covered and not is_present(self._bat.payload(span.block)):
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
        session = self._session
        session.begin()
        place = self._reader.locate(self._geometry.offset_of(span), span.length)
        if place > 0:
            session.transaction.payload_written = True
            session.file.zero(place, span.length)
            return
        for start, length in pieces(span.offset_in_block, span.length, len(ZEROS)):
            part = span._replace(offset_in_block=start, length=length)
            self._blocks.write(part, memoryview(ZEROS)[:length])

    def trim(self, length: int, offset: int) -> None:
        """Let go of a range: whole blocks give their space back, parts of present ones are punched."""
        session = self._session
        session.transaction.check()
        if session.keeps_blocks:
            return  # a fixed image keeps its space
        with session.lock:
            whole = self._geometry.covered(offset, length)
            for span in self._geometry.spans_outside(offset, length, whole):
                self._punch_span(span)
            event = Event.TRIM_OVER_PARENT if self._geometry.differencing else Event.TRIM
            self._change_states(whole, event)

    def _punch_span(self, span: Span) -> None:
        for extent in self._reader.extents(self._geometry.offset_of(span), span.length):
            if extent.kind is ExtentKind.DATA and extent.file_offset is not None:
                self._session.begin()
                self._session.transaction.payload_written = True
                self._session.file.punch(extent.file_offset, extent.length)

    def _change_states(self, blocks: range, event: Event, *, only_absent: bool = False) -> None:
        """Let an event happen to whole blocks, a page of the table at a time."""
        table = TRANSITIONS[event]
        for block, old in self._entries_by_page(blocks):
            alike = old.count(old[0]) == len(old)  # as most pages of large disks are
            states = {entry & STATE_MASK for entry in (old[:1] if alike else old)}
            if not _INVALID.isdisjoint(states):
                for number, entry in enumerate(old, block):
                    self._session.refuse_invalid(number, entry)
            if alike:
                new = array("Q", (_after(old[0], table, only_absent=only_absent),)) * len(old)
            else:
                new = array("Q", (_after(entry, table, only_absent=only_absent) for entry in old))
            if new != old:
                self._put_states(block, old, new, gives_up=not states.isdisjoint(PRESENT))

    def _entries_by_page(self, blocks: range) -> Iterator[tuple[int, array[int]]]:
        """The entries of blocks, those of one page with its first block; read in windows: quicker."""
        for first, length in pieces(blocks.start, len(blocks), WINDOW):
            entries = self._bat.payloads(first, length)
            for block, _, count in self._geometry.slot_runs(first, length, _SLOTS_IN_PAGE):
                yield block, entries[block - first : block - first + count]

    def _put_states(self, block: int, old: array[int], new: array[int], *, gives_up: bool) -> None:
        """Change the entries of blocks in one page; what was present, if anything was, gives up its space."""
        session = self._session
        session.begin()
        session.make_room(1)
        session.put_entries(block, new)
        if gives_up:
            for before, after in zip(old, new, strict=True):
                if before != after and is_present(before):
                    session.space.give_up(file_offset_of(before), self._geometry.block_size)


def _after(entry: int, table: dict[BlockState, BlockState], *, only_absent: bool) -> int:
    state = state_of(entry)
    if state not in table or (only_absent and is_present(entry)):
        return entry
    return bat.pack(table[state], 0)
