"""Which blocks go into which gaps so that a file becomes shorter. Pure: knows lengths, not contents.

From the end of the file on, each piece goes into the lowest gap that is long enough and lies wholly before
it, until one finds none: what lies before that one need not move. Sector bitmaps, which are shorter than
blocks, go into gaps that no block fits into first. So every move shortens the file.

A piece is never moved by less than its own length: source and target would overlap, and a crash in between
would leave neither. Gaps shorter than a block, which only bitmaps and regions leave, may therefore stay.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Gap(NamedTuple):
    """Free space, in MiB of the file."""

    start: int
    length: int


class Piece(NamedTuple):
    """Something that may stand anywhere, in MiB of the file; ``slot`` is its entry in the BAT."""

    start: int
    length: int
    slot: int


class Move(NamedTuple):
    """A piece and the MiB of the file at which it is to stand."""

    piece: Piece
    target: int


class Gaps:
    """Free space, lowest first: ``long`` gaps have room for ``block_length`` MiB, ``short`` ones have not."""

    def __init__(self, long: Iterable[Gap], short: Iterable[Gap], block_length: int) -> None:
        self._long = iter(long)
        self._short = iter(short)
        self._block_length = block_length
        self._current: Gap | None = None
        self._rests: deque[Gap] = deque()  # of long gaps, too short for a block by now

    def take(self, length: int, before: int) -> int | None:
        """The first MiB of a gap of ``length`` that ends at or before ``before``; None if there is none.

        ``before`` never grows from call to call.
        """
        target = self._take_short(length, before) if length < self._block_length else None
        return self._take_long(length, before) if target is None else target

    def _take_short(self, length: int, before: int) -> int | None:
        gap = self._rests.popleft() if self._rests else next(self._short, None)
        if gap is None or gap.start + length > before:
            return None
        if gap.length > length:
            self._rests.appendleft(Gap(gap.start + length, gap.length - length))
        return gap.start

    def _take_long(self, length: int, before: int) -> int | None:
        if self._current is None:
            self._current = next(self._long, None)
        if self._current is None or self._current.start + length > before:
            return None
        start, room = self._current
        self._current = rest = Gap(start + length, room - length)
        if rest.length < self._block_length:
            self._current = None
            self._rests.extend([rest] if rest.length else ())
        return start


def moves(pieces: Iterable[Piece], gaps: Gaps, floor: int) -> Iterator[Move]:
    """What is to be moved, in order. ``pieces`` come from the end of the file on.

    Nothing before ``floor`` is moved, nor before what was moved: up to there the file is needed anyhow.
    Space that a move leaves is no target of a later one.
    """
    for piece in pieces:
        if piece.start + piece.length <= floor:
            return
        target = gaps.take(piece.length, before=piece.start)
        if target is None:
            return
        yield Move(piece, target)
        floor = max(floor, target + piece.length)
