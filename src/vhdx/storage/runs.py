"""Runs of bytes that neither touch nor overlap, in order: by start and end."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def joined(pieces: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """(start, length) of what pieces (start, end) cover that come in order of their starts."""
    start = end = 0
    for low, high in pieces:
        if low > end:
            if end > start:
                yield start, end - start
            start = low
        end = max(end, high)
    if end > start:
        yield start, end - start


class Runs:
    """A set of bytes, kept as its runs."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> None:
        """Put a run in; runs that it touches become one with it."""
        if start >= end:
            return
        first, last = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def meets(self, start: int, end: int) -> bool:
        """Whether any byte between two places is in a run."""
        run = bisect_right(self._ends, start)
        return run < len(self._starts) and self._starts[run] < end

    def within(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """(start, end) of the runs between two places, those cut that reach over them."""
        for run in range(bisect_right(self._ends, start), bisect_left(self._starts, end)):
            yield max(start, self._starts[run]), min(end, self._ends[run])

    def outside(self, ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Ranges (start, length), in order, less what is in a run."""
        for start, length in ranges:
            at = start
            for low, high in self.within(start, start + length):
                if low > at:
                    yield at, low - at
                at = high
            if at < start + length:
                yield at, start + length - at
