"""Sweeps: hundreds of points at which things may go wrong; ordinary runs take some, `make slow` takes all.

Which ones an ordinary run takes is the same each time: every so manieth, and the first of each kind.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import pytest

_T = TypeVar("_T")


@dataclass(frozen=True)
class Sweep:
    """One point in so many."""

    one_in: int

    def of(
        self, points: Iterable[_T], kind: Callable[[_T], Hashable] | None = None, *, start: int = 0
    ) -> Iterator[_T]:
        """The points to take, the first of each kind among them; those that start elsewhere take others."""
        seen = set()
        for number, point in enumerate(points):
            is_new = kind is not None and kind(point) not in seen
            if is_new or number % self.one_in == start % self.one_in:
                yield point
            if kind is not None:
                seen.add(kind(point))


def swept(one_in: int) -> pytest.MarkDecorator:
    """Give a test its `sweep`: a thin one, and with `make slow` the whole."""
    everything = pytest.param(Sweep(1), id="all", marks=pytest.mark.slow)
    return pytest.mark.parametrize("sweep", [pytest.param(Sweep(one_in), id="some"), everything])
