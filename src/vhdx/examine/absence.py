"""What of a block table is empty: entries that are zeros or as good as zeros, whole sectors. Vectorised."""

from __future__ import annotations

import numpy as np

from vhdx.examine.entries import needless_places, say_nothing
from vhdx.extents import BlockState
from vhdx.format.bat import ENTRY_SIZE, FILE_OFFSET_MASK
from vhdx.image.state_masks import are_in
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vhdx.examine.slots import Slots, Window
    from vhdx.geometry import Geometry

_SECTOR_SLOTS = 512 // ENTRY_SIZE
_PLACE = np.uint64(FILE_OFFSET_MASK)
_MANY_PLACES = 8
"""So many places are looked at; a table that is damaged may name millions."""


class Absence(NamedTuple):
    """What is empty in a table: how many blocks have no entry, whether a whole sector of it is empty."""

    blocks: int
    has_empty_sector: bool
    lacks_first: bool
    """Whether the first block is one of them."""
    named: tuple[int, ...] = ()
    """File offsets of places that are named by entries of state NOT_PRESENT, the first ones."""


class AbsenceCount:
    """Counts what is empty, window by window, while somebody reads a table."""

    def __init__(self, slot_count: int, geometry: Geometry) -> None:
        self._geometry = geometry
        self._filled = 0
        self._lacks_first = True
        self._named: list[int] = []
        self._in_sector = np.zeros(-(-slot_count // _SECTOR_SLOTS), dtype=np.int64)

    def add(self, window: Window) -> None:
        """Count the entries of one window."""
        filled = np.ones(len(window.blocks), dtype=bool) if window.is_full else ~say_nothing(window.blocks)
        count = int(np.count_nonzero(filled))
        if not window.is_full and len(self._named) < _MANY_PLACES:
            self._named += _named_places(window)
        if not count:
            return
        self._filled += count
        self._lacks_first &= not (window.first_block == 0 and filled[0])
        self._count_sectors(window.first_block, filled)

    def _count_sectors(self, first_block: int, filled: NDArray[np.bool_]) -> None:
        """Count the entries of a window by sectors of the table, where sector bitmaps stand between them."""
        ratio = self._geometry.chunk_ratio
        grid = np.zeros((-(-len(filled) // ratio), ratio + 1), dtype=np.uint8)
        whole = len(filled) // ratio
        grid[:whole, :ratio] = filled[: whole * ratio].reshape(whole, ratio)
        grid[whole:, : len(filled) - whole * ratio] = filled[whole * ratio :]
        first_sector, before = divmod(self._geometry.payload_index(first_block), _SECTOR_SLOTS)
        borders = np.arange(_SECTOR_SLOTS - before, grid.size, _SECTOR_SLOTS)
        counts = np.add.reduceat(grid.reshape(-1), np.append(0, borders), dtype=np.uint8)
        there = self._in_sector[first_sector : first_sector + len(counts)]
        there += counts[: len(there)]

    def found(self) -> Absence:
        """What is empty in all that was counted."""
        return Absence(
            self._geometry.block_count - self._filled,
            _has_empty_sector(self._in_sector),
            self._lacks_first,
            tuple(self._named[:_MANY_PLACES]),
        )


def absence(slots: Slots, geometry: Geometry) -> Absence:
    """Look through a table for entries that are zeros, or as good as zeros."""
    count = AbsenceCount(slots.count, geometry)
    for window in slots.windows():
        count.add(window)
    return count.found()


def _named_places(window: Window) -> list[int]:
    """The places that entries of state NOT_PRESENT name."""
    needless = window.blocks[needless_places(window.blocks)]
    places: list[int] = (needless[are_in(needless, (BlockState.NOT_PRESENT,))] & _PLACE).tolist()
    return places


def _has_empty_sector(in_sector: NDArray[np.int64]) -> bool:
    """Whether a table is empty, or some sectors of it are in front of and behind ones half full at least.

    In front of the first sector is none.
    """
    filled = np.flatnonzero(in_sector)
    if not len(filled):
        return True
    is_dense = in_sector[filled] * 2 >= _SECTOR_SLOTS
    before = np.concatenate(([-1], filled[:-1]))
    dense_before = np.concatenate(([True], is_dense[:-1]))
    return bool(((filled - before > 1) & is_dense & dense_before).any())
