"""Which blocks of a table that contradicts itself are concerned, and which ranges of the disk that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vhdx.examine.claims import ClaimCheck
from vhdx.examine.entries import needed_bitmaps
from vhdx.examine.findings import FindingReporter
from vhdx.examine.mibs import MibSet
from vhdx.examine.slots import Slots
from vhdx.rules import CollectingReport
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.examine.claims import Claims
    from vhdx.examine.findings import Numbers
    from vhdx.examine.slots import Window
    from vhdx.geometry import Geometry
    from vhdx.image.regions import Regions
    from vhdx.storage.base import ReadableStorage

DESCRIBED_RANGES = 1000


class DiskRange(NamedTuple):
    """A range of the disk in bytes, and why what is read from it is lost or doubtful."""

    offset: int
    length: int
    reason: str


class Concerned(NamedTuple):
    """Ranges of the disk: DESCRIBED_RANGES of them at most, and how many bytes all of them have.

    A range that is concerned in two ways stands there twice; each byte counts once.
    """

    ranges: tuple[DiskRange, ...]
    length: int


class Doubt(NamedTuple):
    """What is wrong with the claims of one window; `late` are claims on space that was claimed before."""

    window: Window
    misplaced: list[Claims]
    cut: list[Claims]
    late: list[Claims]


class Doubts:
    """The contradictions of one table in a file of ``size`` bytes."""

    def __init__(self, storage: ReadableStorage, regions: Regions, geometry: Geometry, size: int) -> None:
        self.slots = Slots(storage, regions.bat, geometry)
        self._storage, self._regions = storage, regions
        self._geometry = geometry
        self._size = size
        reporter = FindingReporter(self.slots, geometry, CollectingReport())
        self.check = ClaimCheck(self.slots, geometry, regions, size, reporter)

    def windows(self) -> Iterator[Doubt]:
        """The contradictions, window by window. Claims what is sound in `check.claimed`."""
        end = -(-self._size // MIB)
        for window in self.slots.windows():
            doubt = Doubt(window, [], [], [])
            for claims, beyond in self.check.claims(window):
                begins_inside = beyond.firsts < end
                doubt.cut.append(beyond.part(np.flatnonzero(begins_inside)))
                doubt.misplaced.append(beyond.part(np.flatnonzero(~begins_inside)))
                held = claims.part(np.flatnonzero(self.check.claimed.add(claims.firsts, claims.length)))
                inside = self.check.in_structures(held)
                doubt.misplaced.append(held.part(np.flatnonzero(inside)))
                doubt.late.append(held.part(np.flatnonzero(~inside)))
            yield doubt

    def whole_size(self) -> int:
        """The length in bytes that the file had to have so that its end cut nothing."""
        cut = (claims for doubt in self.windows() for claims in doubt.cut if claims.firsts.size)
        ends = ((int(claims.firsts.max()) + claims.length) * MIB for claims in cut)
        return max([self._size, *ends])

    def concerned(self) -> Concerned:
        """The ranges of the disk that contradictions concern."""
        found = _Ranges(self._geometry)
        size = self._anew(self._size).whole_size()
        self._anew(size).add_to(found)
        if size > self._size:
            end = -(-self._size // MIB)
            for claims in self._beyond(end, -(-size // MIB), blocks=True):
                found.add(claims, "the block's place is no place for it")
            for claims in self._beyond(0, end, blocks=False):
                found.add(claims, "the end of the file cuts its sector bitmap")
            for claims in self._beyond(0, end, blocks=True):  # what is concerned already does not count again
                found.add_cut(claims, self._size)
        return found.concerned()

    def _anew(self, size: int) -> Doubts:
        """The same table in a file of another length, nothing claimed yet."""
        return Doubts(self._storage, self._regions, self._geometry, size)

    def add_to(self, found: _Ranges) -> None:
        """Add what has no place, or shares it."""
        shared = MibSet(-(-self._size // MIB) + 256)
        for doubt in self.windows():
            for claims in doubt.misplaced:
                found.add(self._missed(claims, doubt.window), f"{_who(claims)}'s place is no place for it")
            for claims in doubt.late:
                shared.add(claims.firsts, claims.length)
        for claims in self._sharing(shared):
            found.add(claims, f"{_who(claims)} shares space with another one")

    def _missed(self, claims: Claims, window: Window) -> Claims:
        """The claims without those of bitmaps that no block needs."""
        if _are_blocks(claims):
            return claims
        needed = needed_bitmaps(window, self._geometry)
        return claims.part(np.flatnonzero(needed[claims.group.numbers - window.first_chunk]))

    def _sharing(self, shared: MibSet) -> Iterator[Claims]:
        """Who claims a MiB that two claim."""
        if not len(shared):
            return
        for window in self.slots.windows():
            for claims, _ in self.check.claims(window):
                yield claims.part(np.flatnonzero(shared.touching(claims.firsts, claims.length)))

    def _beyond(self, first: int, last: int, *, blocks: bool) -> Iterator[Claims]:
        """Blocks or bitmaps that are not wholly in the file and begin at a MiB from ``first`` to ``last``."""
        for window in self.slots.windows():
            for _, beyond in self.check.claims(window):
                if _are_blocks(beyond) == blocks:
                    begins = (beyond.firsts >= first) & (beyond.firsts < last)
                    yield beyond.part(np.flatnonzero(begins))


def _are_blocks(claims: Claims) -> bool:
    return claims.group.word == "block"


def _who(claims: Claims) -> str:
    return "the block" if _are_blocks(claims) else "its sector bitmap"


class _Ranges:
    """Collects ranges of the disk."""

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._ranges: list[DiskRange] = []
        self._length = 0
        self._counted = MibSet(geometry.block_count)  # of blocks, each for a MiB of the set

    def concerned(self) -> Concerned:
        return Concerned(tuple(sorted(self._ranges)), self._length)

    def add(self, claims: Claims, reason: str) -> None:
        """Add what claims hold: blocks, or the chunks of sector bitmaps."""
        numbers: Numbers = claims.group.numbers
        if not numbers.size:
            return
        per_number = 1 if _are_blocks(claims) else self._geometry.chunk_ratio
        self._count(numbers, per_number)
        unit = per_number * self._geometry.block_size
        starts = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 2) != 1)
        ends = np.append(starts[1:], len(numbers))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            self._describe(int(numbers[start]) * unit, (end - start) * unit, reason)

    def _count(self, numbers: Numbers, per_number: int) -> None:
        """Count the bytes of blocks that were not counted before."""
        blocks = (numbers[:, None] * per_number + np.arange(per_number)).reshape(-1)
        blocks = blocks[blocks < self._geometry.block_count]
        new = blocks[~self._counted.add(blocks, 1)]
        self._length += len(new) * self._geometry.block_size
        last = self._geometry.block_count - 1
        if (new == last).any():
            self._length -= self._geometry.block_size - self._geometry.block_length(last)

    def add_cut(self, claims: Claims, size: int) -> None:
        """Add what of blocks lies behind the end of the file."""
        counted = self._counted.touching(claims.group.numbers, 1).tolist()
        rows = zip(claims.group.numbers.tolist(), claims.firsts.tolist(), counted, strict=True)
        for block, first, is_counted in rows:
            kept = size - first * MIB
            offset = block * self._geometry.block_size + kept
            end = min((block + 1) * self._geometry.block_size, self._geometry.disk_size)
            self._length += 0 if is_counted else end - offset
            self._describe(offset, end - offset, "the end of the file cuts the block")

    def _describe(self, offset: int, length: int, reason: str) -> None:
        length = min(length, self._geometry.disk_size - offset)
        if len(self._ranges) < DESCRIBED_RANGES:
            self._ranges.append(DiskRange(offset, length, reason))
