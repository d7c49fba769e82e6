"""What several writers did at the same time, and what may be read of it afterwards.

Moments are numbers of one clock that all writers share. A change lies between the moment before it was asked
for and the moment after it was answered; two changes of which neither was answered before the other began are
concurrent, and either may win. A crash may take back whatever no flush covers.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .reference import PIECE, Reference

SECTOR = 512
NEVER = math.inf
ReadBytes = Callable[[int, int], bytes]
"""Bytes by length and offset: the order of the library."""


class Change(NamedTuple):
    """A write, or zeros where there is no data. ``sure`` is not what a trim is; ``forced`` came with FUA."""

    number: int
    began: int
    ended: float
    offset: int
    length: int
    data: bytes | None
    sure: bool = True
    forced: bool = False

    @property
    def end(self) -> int:
        return self.offset + self.length

    def part(self, start: int, end: int) -> bytes:
        """The bytes that it puts into a range inside its own."""
        return bytes(end - start) if self.data is None else self.data[start - self.offset : end - self.offset]


class Look(NamedTuple):
    """What a read returned while others wrote."""

    began: int
    ended: int
    offset: int
    data: bytes


class Segment(NamedTuple):
    """A range of the disk and the changes that cover all of it."""

    start: int
    end: int
    changes: tuple[Change, ...]


class History:
    """All that was asked for in one go. Lists are appended to by several threads."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.looks: list[Look] = []
        self.flushes: list[tuple[int, int]] = []

    @property
    def bytes_written(self) -> int:
        return sum(len(change.data or b"") for change in self.changes)

    def settle(self, reference: Reference, read: ReadBytes, *, crashed: bool) -> None:
        """Take over into the reference what a disk holds now, if it may hold that; else AssertionError."""
        is_certain = self._durable() if crashed else _answered
        for segment in segments(self.changes):
            for start in range(segment.start, segment.end, PIECE):
                piece = Segment(start, min(segment.end, start + PIECE), segment.changes)
                found = read(piece.end - start, start)
                allowed = _allowed(piece, reference, is_certain)
                _assert_from(found, piece, allowed, SECTOR, "after a crash" if crashed else "at rest")
                reference.write(found, start)

    def assert_looks(self, reference: Reference) -> None:
        """Each read returned what was there before it, or came while it ran; byte by byte, as hosts tear."""
        for look in self.looks:
            self._assert_look(look, reference)

    def _assert_look(self, look: Look, reference: Reference) -> None:
        def is_certain(change: Change) -> bool:
            return change.sure and change.ended < look.began

        start, end = look.offset, look.offset + len(look.data)
        before = [change for change in self.changes if change.began < look.ended]
        for segment in segments(before, start, end):
            found = look.data[segment.start - start : segment.end - start]
            _assert_from(found, segment, _allowed(segment, reference, is_certain), 1, "while others wrote")

    def _durable(self) -> Callable[[Change], bool]:
        """Whether a flush that was answered began after a change was answered."""
        last = max((began for began, _ in self.flushes), default=-1)
        return lambda change: (
            change.sure and (change.ended < last or (change.forced and change.ended < NEVER))
        )


def _answered(change: Change) -> bool:
    return change.sure and change.ended < NEVER


def segments(changes: Iterable[Change], start: int = 0, end: int | None = None) -> Iterator[Segment]:
    """The range cut at the borders of changes; without an ``end`` only what a change covers."""
    if end is not None:
        changes = [change for change in changes if change.offset < end and change.end > start]
    ordered = sorted(changes, key=lambda change: change.offset)
    borders = {change.offset for change in ordered} | {change.end for change in ordered}
    if end is not None:
        borders = {min(max(border, start), end) for border in borders} | {start, end}
    offsets = [change.offset for change in ordered]
    active: list[Change] = []
    taken = 0
    for first, last in pairwise(sorted(borders)):
        arrived = bisect_left(offsets, first + 1)
        active = [change for change in (*active, *ordered[taken:arrived]) if change.end > first]
        taken = max(taken, arrived)
        if active or end is not None:
            yield Segment(first, last, tuple(active))


def _allowed(segment: Segment, reference: Reference, is_certain: Callable[[Change], bool]) -> list[bytes]:
    """What a segment may hold: whatever no certain change came wholly after."""
    start, end, changes = segment
    certain = [change.began for change in changes if is_certain(change)]
    latest = max(certain, default=-1)
    allowed = {change.part(start, end) for change in changes if change.ended > latest}
    if not certain:
        allowed.add(reference.read(end - start, start))
    return list(allowed)


def _assert_from(found: bytes, segment: Segment, allowed: list[bytes], unit: int, when: str) -> None:
    """Each sector of the found bytes, or part of one at an end, is wholly as in one of those allowed."""
    if found in allowed:
        return
    possible = np.zeros(len(found), dtype=bool)
    starts = np.arange(0, len(found) + segment.start % unit, unit) - segment.start % unit
    starts[0] = 0
    array = np.frombuffer(found, np.uint8)
    for content in allowed:
        same = array == np.frombuffer(content, np.uint8)
        possible |= np.repeat(np.logical_and.reduceat(same, starts), np.diff(np.append(starts, len(found))))
    if not possible.all():
        at = int(np.flatnonzero(~possible)[0])
        shown = [content[at : at + 48] for content in allowed]
        raise AssertionError(
            f"{when}, disk offset {segment.start + at} ({int((~possible).sum())} bytes of the run from "
            f"{segment.start} to {segment.end}) reads {found[at : at + 48]!r}; allowed were {shown}; "
            f"changes there: {[change[:5] + change[6:] for change in segment.changes]}"
        )


def stamped(number: int, offset: int, length: int) -> bytes:
    """Bytes that say in each sector which change put them where."""
    first, last = offset // SECTOR, -(-(offset + length) // SECTOR)
    filler = bytes([33 + number % 90]) * (SECTOR - 32)
    data = b"".join(b"[%013d @ %014d]" % (number, sector) + filler for sector in range(first, last))
    return data[offset - first * SECTOR :][:length]
