"""Extents of many whole blocks, a window of the table at a time: what each run alone would say, vectorised.

Runs that need a closer look (a place that is not sound, space that is kept without contents, parts of blocks)
are left to whoever looks at single ones.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from vhdx.extents import BlockState, Extent, ExtentKind
from vhdx.format.bat import FILE_OFFSET_MASK, STATE_MASK
from vhdx.image.bat import WINDOW, BlockRun, run_starts
from vhdx.image.states import KEEPS_SPACE, READ_ANSWERS, Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from vhdx.geometry import Geometry
    from vhdx.image.bat import Bat

    Entries = NDArray[np.uint64]
    AreFaulty = Callable[[Entries], NDArray[np.bool_]]
    OneByOne = Callable[[BlockRun], Iterator[Extent]]

_KINDS = {
    Answer.THIS_FILE: ExtentKind.DATA,
    Answer.ZEROS: ExtentKind.ZERO,
    Answer.NOBODY: ExtentKind.UNALLOCATED,
}
_KIND_OF = [_KINDS.get(READ_ANSWERS[state]) for state in BlockState]
_STATES = [*BlockState]
_IS_PLAIN = [kind is not None for kind in _KIND_OF]
_MAY_KEEP = [state in KEEPS_SPACE for state in BlockState]
_extent_of = partial(tuple.__new__, Extent)
"""`Extent._make` without a frame of Python for each."""
_FULL, _ABSENT = BlockState.FULLY_PRESENT.value, BlockState.NOT_PRESENT.value


class WholeBlocks:
    """The blocks of one image.

    ``are_faulty`` tells which places of whole blocks may not be read, ``one_by_one`` the extents of any run.
    """

    def __init__(self, bat: Bat, geometry: Geometry, are_faulty: AreFaulty, one_by_one: OneByOne) -> None:
        self._are_faulty = are_faulty
        self._bat = bat
        self._geometry = geometry
        self._one_by_one = one_by_one

    def extents(self, block: int, count: int, *, said: bool) -> Iterator[Extent]:
        """Extents of ``count`` whole blocks, in order; with ``said`` not of those that nothing is said of."""
        for start in range(block, block + count, WINDOW):
            length = min(WINDOW, block + count - start)
            if not self._bat.are_absent(start, length):
                yield from self._window(start, length, said=said)
            elif not said:
                yield from self._one_by_one(BlockRun(start, length, 0))

    def _window(self, block: int, count: int, *, said: bool) -> Iterator[Extent]:
        import numpy as np  # noqa: PLC0415  slow to import, and of no use for small tables

        values = np.frombuffer(self._bat.payloads(block, count), dtype=np.uint64)
        if said:
            blocks = np.flatnonzero(
                (values & np.uint64(STATE_MASK)) != 0
            )  # numbers would take three times as long
            values = values[blocks]
        else:
            blocks = np.arange(count)
        if not len(blocks):
            return
        starts = run_starts(values, self._geometry.block_size, blocks)
        runs = _Runs(block + blocks[starts], np.diff(starts, append=len(values)), values[starts])
        plain = np.logical_and.reduceat(self._are_plain(values), starts)
        borders = [0, *(np.flatnonzero(plain[1:] != plain[:-1]) + 1).tolist(), len(starts)]
        for first, stop in pairwise(borders):
            part = runs.part(first, stop)
            yield from self._plain(part) if plain[first] else self._others(part)

    def _are_plain(self, values: Entries) -> NDArray[np.bool_]:
        """Which blocks can be told of by their entries alone."""
        import numpy as np  # noqa: PLC0415  who has arrays has paid for it

        states, places = values & np.uint64(STATE_MASK), values & np.uint64(FILE_OFFSET_MASK)
        plain: NDArray[np.bool_] = np.array(_IS_PLAIN)[states]
        plain &= (places == 0) | ~np.array(_MAY_KEEP)[states]
        full = states == _FULL
        if full.any():
            plain[full] = ~self._are_faulty(places[full])
        return plain

    def _plain(self, runs: _Runs) -> Iterator[Extent]:
        """One extent for each run."""
        shift = self._geometry.block_shift
        entries = runs.entries.tolist()
        states = [entry & STATE_MASK for entry in entries]
        columns = (
            (runs.blocks << shift).tolist(),
            (runs.lengths << shift).tolist(),
            [_KIND_OF[state] for state in states],
            [_STATES[state] for state in states],
            [int(state != _ABSENT) for state in states],
            [entry & FILE_OFFSET_MASK if entry & STATE_MASK == _FULL else None for entry in entries],
        )
        return map(_extent_of, zip(*columns, strict=True))

    def _others(self, runs: _Runs) -> Iterator[Extent]:
        for row in zip(*(column.tolist() for column in runs), strict=True):
            yield from self._one_by_one(BlockRun(*row))


class _Runs(NamedTuple):
    """Runs of blocks by columns: first block, number of blocks, entry of the first."""

    blocks: NDArray[np.intp]
    lengths: NDArray[np.intp]
    entries: Entries

    def part(self, first: int, stop: int) -> _Runs:
        """The rows from ``first`` on, up to ``stop``."""
        return _Runs(self.blocks[first:stop], self.lengths[first:stop], self.entries[first:stop])
