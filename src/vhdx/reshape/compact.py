"""Giving space back: what keeps it for nothing, what is zeros, and then the gaps that this leaves.

What a read returns stays as it is. Decides what is done; `Changes` does it, or only counts it. Nobody else
reads or writes through the same session meanwhile.
"""

from __future__ import annotations

from array import array
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, Protocol

from vhdx.extents import BlockState
from vhdx.format.bat import BITMAP_PRESENT, ENTRY_SIZE, STATE_MASK, file_offset_of
from vhdx.geometry import BITMAP_BLOCK_SIZE
from vhdx.image.bat import WINDOW
from vhdx.image.pages import PAGE_SIZE
from vhdx.image.state_masks import are_in
from vhdx.image.states import PRESENT, is_invalid
from vhdx.reshape.file_layout import FileLayout
from vhdx.reshape.scan import Scanner
from vhdx.units import MIB

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vhdx.image.image import Image
    from vhdx.progress import Advance
    from vhdx.reshape.packing import Move
    from vhdx.reshape.scan import Replacement
    from vhdx.write.sectors import Below
    from vhdx.write.space import Space

    Numbers = NDArray[np.uint64]

SLOTS_IN_PAGE = PAGE_SIZE // ENTRY_SIZE
_FULL, _PARTIAL = PRESENT


class Changes(Protocol):
    """What can be done to an image; but for `trim` without any read noticing."""

    image: Image

    @property
    def space(self) -> Space:
        """Which space is taken: up to date after `settle`."""

    def trim(self, length: int, offset: int) -> None:
        """Let go of a range of the disk whose contents nobody needs; reads may notice."""

    def drop_places(self, block: int, entries: array[int]) -> None:
        """Give neighbouring blocks entries of which those without contents name no space any more."""

    def give_back(self, block: int, entry: int, replacement: Replacement) -> None:
        """Let a present block become what takes less space."""

    def drop_bitmap(self, chunk: int, place: int) -> None:
        """Let go of the sector bitmap of a chunk in which no block is partially present."""

    def add_bitmap(self, chunk: int) -> bool:
        """Give a chunk a sector bitmap in free space; False if there is none."""

    def settle(self) -> None:
        """Make it durable. From then on all space that no entry names is free."""

    def move(self, move: Move) -> None:
        """Put a payload block or a sector bitmap into a gap."""

    def punch(self, file_offset: int, length: int) -> bool:
        """Give a range that nobody reads, or that is zeros, back to the host; False where that cannot be."""


class Given(NamedTuple):
    """What was given back and moved; ``moved_size`` is in bytes."""

    freed_blocks: int
    moved_blocks: int
    moved_size: int


class Compaction:
    """One run over one image. ``advance`` is called with bytes done and bytes added to what is to be done."""

    def __init__(self, changes: Changes, advance: Advance) -> None:
        self._changes = changes
        self._image = changes.image
        self._geometry = changes.image.geometry
        self._bat = changes.image.bat
        self._advance = advance
        self._freed = 0
        self._partial_chunks: set[int] = set()
        self._thinnable: list[tuple[int, int]] = []
        """Blocks whose chunk has no bitmap, and how many bytes they could do without."""

    def run(self, below: Below | None, *, scan_zeros: bool) -> Given:
        """Give back, then move. Raises CorruptImageError, before anything changed, where blocks overlap.

        ``below`` is what lies under a differencing image; None leaves it out of account.
        """
        scanner = Scanner(self._image, below) if scan_zeros else None
        self.give_back(scanner)
        if scanner is not None:
            self._thin(scanner)
        layout = FileLayout(self._image, self._changes.space)
        self._advance(0, layout.moved_size)
        count = size = 0
        for move in layout.moves():
            self._changes.move(move)
            self._advance(move.piece.length * MIB, 0)
            count, size = count + 1, size + move.piece.length * MIB
        self._changes.settle()
        return Given(self._freed, count, size)

    def give_back(self, scanner: Scanner | None) -> None:
        """Let go of space that blocks without contents keep, and of what a scanner finds, durably."""
        _ = self._changes.space  # an image that contradicts itself is not modified at all
        import numpy as np  # noqa: PLC0415  slow to import, and of no use to those who do not compact

        for block in range(0, self._geometry.block_count, WINDOW):
            count = min(WINDOW, self._geometry.block_count - block)
            values = np.frombuffer(self._bat.payloads(block, count), dtype=np.uint64)
            states = values & np.uint64(STATE_MASK)
            present = (states == _FULL) | (states == _PARTIAL)
            self._refuse_invalid(block, values, states)
            self._drop_places(block, values, states, ~present & (values != states))
            if scanner is not None:
                self._scan(block, values, np.flatnonzero(present), scanner)
            elif self._geometry.differencing:
                partial = np.flatnonzero(states == _PARTIAL) + block
                self._partial_chunks.update(np.unique(partial // self._geometry.chunk_ratio).tolist())
        if self._geometry.differencing:
            self._drop_bitmaps()
        self._changes.settle()

    def _refuse_invalid(self, block: int, values: Numbers, states: Numbers) -> None:
        import numpy as np  # noqa: PLC0415  who has arrays has paid for it

        invalid = [state.value for state in BlockState if is_invalid(state)]
        for index in np.flatnonzero(are_in(states, invalid))[:1].tolist():
            self._image.reader.refuse_state(int(values[index]), block + index)

    def _drop_places(self, block: int, values: Numbers, states: Numbers, idle: NDArray[np.bool_]) -> None:
        """Entries of blocks without contents that name space, a page of the table at a time."""
        if not idle.any():
            return
        for first, _, count in self._geometry.slot_runs(block, len(values), SLOTS_IN_PAGE):
            part = slice(first - block, first - block + count)
            if idle[part].any():
                entries = values[part].copy()
                entries[idle[part]] = states[part][idle[part]]
                self._changes.drop_places(first, array("Q", entries.tolist()))

    def _scan(self, block: int, values: Numbers, present: NDArray[np.int64], scanner: Scanner) -> None:
        present = present[self._changes.space.is_used(values[present] // MIB)]
        lengths = {index: self._geometry.block_length(block + index) for index in present.tolist()}
        self._advance(0, sum(lengths.values()))
        for index, length in lengths.items():
            number, entry = block + index, int(values[index])
            replacement = scanner.replacement(number, entry)
            if replacement is not None and replacement.bits is not None and not self._has_bitmap(number):
                self._thinnable.append((number, replacement.sectors * self._geometry.logical_sector_size))
                replacement = None
            if replacement is not None:
                self._changes.give_back(number, entry, replacement)
                self._freed += replacement.state != _PARTIAL
            if (entry & STATE_MASK if replacement is None else replacement.state) == _PARTIAL:
                self._partial_chunks.add(self._geometry.chunk_of(number))
            self._advance(length, 0)

    def _has_bitmap(self, block: int) -> bool:
        return self._bat.bitmap(self._geometry.chunk_of(block)) & STATE_MASK == BITMAP_PRESENT

    def _thin(self, scanner: Scanner) -> None:
        """Where a chunk has no sector bitmap one is made if that gives back more than it takes.

        Only in free space: the file does not grow for it. Before anything moves: the log has written to no
        free space yet.
        """
        for chunk, found in groupby(self._thinnable, key=lambda row: self._geometry.chunk_of(row[0])):
            rows = list(found)
            if sum(size for _, size in rows) <= BITMAP_BLOCK_SIZE or not self._changes.add_bitmap(chunk):
                continue
            for block, _ in rows:
                entry = self._bat.payload(block)
                replacement = scanner.replacement(block, entry)
                if replacement is not None:
                    self._changes.give_back(block, entry, replacement)
        self._changes.settle()

    def _drop_bitmaps(self) -> None:
        for chunk in range(self._geometry.chunk_count):
            entry = self._bat.bitmap(chunk)
            if entry & STATE_MASK == BITMAP_PRESENT and chunk not in self._partial_chunks:
                self._changes.drop_bitmap(chunk, file_offset_of(entry))
