"""Reading blocks whose entries break a rule: what the file has at their place, never an error.

Of what it does not have zeros are read; in a child what the parent has, as most of a disk is what it was
there, but for sectors that a sound bitmap calls the child's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx import rules
from vhdx.errors import CorruptImageError
from vhdx.extents import BlockState, Doubt, Extent, ExtentKind
from vhdx.format.bat import FILE_OFFSET_MASK, RESERVED_MASK, STATE_MASK, file_offset_of, state_of
from vhdx.image.bat import WINDOW
from vhdx.image.claims import claims_by_mib
from vhdx.image.read import SPLIT, Reader
from vhdx.image.states import PRESENT, READ_ANSWERS, Answer
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from vhdx.image.bat import BlockRun

_CLAIMED_TWICE = "its space is claimed by another block, too"


class SalvageReader(Reader):
    """A reader that raises for no block, and tells which blocks it should have raised for."""

    needs_closer_look = True

    def _place_of_block(self, block: int) -> int:
        try:
            place = super()._place_of_block(block)
            if place < SPLIT:  # partially present: its bitmap is looked at now, not when it is too late
                self._bitmap_place(block)
        except CorruptImageError:
            return SPLIT
        return SPLIT if _is_noise(self._bat.payload(block)) else place

    def _run_extents(self, run: BlockRun, offset: int, end: int) -> Iterator[Extent]:
        if _is_noise(run.entry):
            start = run.first_block << self._block_shift
            length = min(run.block_count << self._block_shift, self._disk_size - start)
            yield self._missing(Extent(start, length, ExtentKind.ZERO, state_of(run.entry), 1, None))
            return
        try:  # the first extent is only told once everything about the run is known to be right
            yield from super()._run_extents(run, offset, end)
        except CorruptImageError:
            for extent in self._named_extents(run, offset, end):
                yield from self._as_far_as_there(extent)

    def _named_extents(self, run: BlockRun, offset: int, end: int) -> Iterator[Extent]:
        """What the entries of a faulty run name, unchecked."""
        state, place = state_of(run.entry), file_offset_of(run.entry)
        start = run.first_block << self._block_shift
        length = min(run.block_count << self._block_shift, self._disk_size - start)
        answer = READ_ANSWERS[state]
        if answer is Answer.BITMAP and self._bitmap_fault(run.first_block) is None:
            yield from self._sector_extents(run.first_block, place, offset, end)
        elif answer in (Answer.THIS_FILE, Answer.BITMAP):
            yield Extent(start, length, ExtentKind.DATA, state, 1, place)
        else:
            yield self._missing(Extent(start, length, ExtentKind.ZERO, state, 1, None))

    def _missing(self, extent: Extent) -> Extent:
        """An extent of whose bytes nothing is known here."""
        if self._asks_parent(extent.offset >> self._block_shift, extent.state):
            return extent._replace(kind=ExtentKind.UNALLOCATED, depth=0, file_offset=None)
        return extent._replace(kind=ExtentKind.ZERO, file_offset=None)

    def _asks_parent(self, block: int, state: BlockState) -> bool:
        """Whether the parent may have what is missing of a block."""
        is_told = state is BlockState.PARTIALLY_PRESENT and self._bitmap_fault(block) is None
        return self._geometry.differencing and not is_told

    def _instead(self, block: int, state: BlockState) -> str:
        return "the parent is read" if self._asks_parent(block, state) else "zeros are read"

    def _as_far_as_there(self, extent: Extent) -> Iterator[Extent]:
        """An extent of data that may reach behind the end of the file."""
        place = extent.file_offset
        if extent.kind is not ExtentKind.DATA or place is None:
            yield extent
            return
        there = max(0, min(extent.length, self.file_size - place)) if place else 0
        if there:
            yield extent.part(extent.offset, extent.offset + there)
        if there < extent.length:
            yield self._missing(extent.part(extent.offset + there, extent.end))

    def _bitmap_fault(self, block: int) -> str | None:
        """Why nobody can say which sectors of a partially present block are in this file."""
        try:
            self._bitmap_place(block)
        except CorruptImageError as error:
            return f"which of its sectors are in this file cannot be read: {error.message}"
        return None

    def block_doubts(self, block_count: int) -> Iterator[Doubt]:
        """What is doubtful about the first blocks, looking at their entries only; neighbours made one."""
        claims = claims_by_mib(self._bat, self._geometry, self.file_size)
        for block in range(0, block_count, WINDOW):
            yield from self._window_doubts(block, min(WINDOW, block_count - block), claims)

    def _window_doubts(self, block: int, count: int, claims: NDArray[np.uint8]) -> Iterator[Doubt]:
        import numpy as np  # noqa: PLC0415  who has arrays has paid for it

        entries = np.frombuffer(self._bat.payloads(block, count), dtype=np.uint64)
        states, places = entries & np.uint64(STATE_MASK), entries & np.uint64(FILE_OFFSET_MASK)
        full = states == BlockState.FULLY_PRESENT.value
        partial = states == BlockState.PARTIALLY_PRESENT.value
        present = full | partial
        twice = self._are_shared(places, present, claims)
        # Partially present blocks depend on their bitmaps, too: each is looked at.
        suspects = (present & self.faulty_places(places)) | partial | twice
        suspects |= states == BlockState.RESERVED_4.value
        suspects |= ~present & (entries & np.uint64(RESERVED_MASK) != 0)
        for index in np.flatnonzero(suspects).tolist():
            number, entry = block + index, int(entries[index])
            yield from self._doubt(number, entry, shared=bool(twice[index]))
            if partial[index]:
                yield from self._doubt_bits(number, claims)

    def _are_shared(
        self, places: NDArray[np.uint64], present: NDArray[np.bool_], claims: NDArray[np.uint8]
    ) -> NDArray[np.bool_]:
        """Which of the blocks claim a MiB that another block claims, too."""
        import numpy as np  # noqa: PLC0415  who has arrays has paid for it

        shared = np.zeros(len(places), dtype=np.bool_)
        firsts = (places >> np.uint64(MIB.bit_length() - 1)).astype(np.int64)
        for offset in range(self._block_size // MIB):
            inside = present & (firsts + offset < len(claims))
            shared[inside] |= claims[firsts[inside] + offset] > 1
        return shared

    def _doubt(self, block: int, entry: int, *, shared: bool) -> Iterator[Doubt]:
        state, place = state_of(entry), file_offset_of(entry)
        start, length = block << self._block_shift, self._geometry.block_length(block)
        if _is_noise(entry):
            reason = f"its entry in the table has bits that none may have; {self._instead(block, state)}"
            yield Doubt(start, length, reason)
            return
        if state is BlockState.RESERVED_4:
            reason = f"the block is in state {state.value}, which is reserved; {self._instead(block, state)}"
            yield Doubt(start, length, reason)
            return
        fault = self._run_fault(block, 1, place)
        if fault is not None and fault[0] is rules.BAT_PAST_END:
            there = max(0, min(length, self.file_size - place))
            reason = f"its place is behind the end of the file; {self._instead(block, state)}"
            yield Doubt(start + there, length - there, reason)
        elif fault is not None:
            area = self._regions.area_touching(place, self._block_size)
            where = f"lies in {area.name}" if area else "is none that a file can have"
            yield Doubt(start, length, f"its place {where}")
        if shared:
            yield Doubt(start, length, _CLAIMED_TWICE)

    def _doubt_bits(self, block: int, claims: NDArray[np.uint8]) -> Iterator[Doubt]:
        """What is doubtful about which sectors of a partially present block are in this file."""
        start, length = block << self._block_shift, self._geometry.block_length(block)
        unknown = self._bitmap_fault(block)
        if unknown is not None:
            yield Doubt(start, length, f"{unknown}; all are read from it")
        elif claims[self._bitmap_place(block) // MIB] > 1:
            yield Doubt(start, length, "the space of its sector bitmap is claimed by another block, too")


def _is_noise(entry: int) -> bool:
    """Whether an entry that names no contents was written over: everybody writes 0 into its reserved bits."""
    return bool(entry & RESERVED_MASK) and state_of(entry) not in PRESENT


def joined(doubts: Iterable[Doubt]) -> Iterator[Doubt]:
    """The same doubts, neighbours with the same reason made one."""
    open_ones: dict[str, Doubt] = {}
    for doubt in doubts:
        before = open_ones.pop(doubt.reason, None)
        if before is not None and before.offset + before.length == doubt.offset:
            doubt = before._replace(length=before.length + doubt.length)  # noqa: PLW2901  it has grown
        elif before is not None:
            yield before
        if len(open_ones) >= _OPEN_REASONS:
            yield open_ones.pop(next(iter(open_ones)))
        open_ones[doubt.reason] = doubt
    yield from open_ones.values()


_OPEN_REASONS = 16
