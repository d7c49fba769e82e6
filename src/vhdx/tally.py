"""Extents counted: how many of each kind and how long, without keeping or even making each of them."""

from __future__ import annotations

from vhdx.extents import Extent, ExtentKind, continues
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vhdx.extents import BlockState

    Class = tuple[int, ExtentKind, BlockState]
    """Depth, kind and state of an extent."""


class Count(NamedTuple):
    """How many extents, and how many bytes of the disk they have together."""

    runs: int
    length: int


class Stretch(NamedTuple):
    """Extents side by side, counted; ``jumps`` says how often data goes on elsewhere in the file.

    ``first`` begins where the first of them begins and ``last`` ends where the last one ends; each may be
    a part only.
    """

    first: Extent
    last: Extent
    counts: Mapping[Class, Count]
    jumps: int

    @classmethod
    def of(cls, extent: Extent) -> Stretch:
        """A stretch of one extent."""
        return cls(extent, extent, {class_of(extent): Count(1, extent.length)}, 0)


def class_of(extent: Extent) -> Class:
    """What an extent is counted as."""
    return extent.depth, extent.kind, extent.state


class Tally:
    """What stretches in the order of the disk come to; neighbours that continue each other count as one."""

    def __init__(self) -> None:
        self.counts: dict[Class, Count] = {}
        self.jumps = 0
        """How often data is followed by data of the same layer that stands elsewhere in the file."""
        self._last: Extent | None = None

    def add(self, stretch: Stretch) -> None:
        """Count one more stretch, which lies behind all others."""
        for counted, more in stretch.counts.items():
            self._count(counted, more)
        self.jumps += stretch.jumps
        if self._last is not None:
            if continues(self._last, stretch.first):
                self._count(class_of(stretch.first), Count(-1, 0))
            elif _jumps(self._last, stretch.first):
                self.jumps += 1
        self._last = stretch.last

    def _count(self, counted: Class, more: Count) -> None:
        runs, length = self.counts.get(counted, Count(0, 0))
        self.counts[counted] = Count(runs + more.runs, length + more.length)


def _jumps(before: Extent, after: Extent) -> bool:
    return (
        before.kind is after.kind is ExtentKind.DATA
        and before.end == after.offset
        and before.depth == after.depth
        and (before.file_offset or 0) + before.length != after.file_offset
    )
