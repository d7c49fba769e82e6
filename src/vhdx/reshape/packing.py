"""Which blocks go into which gaps so that a file becomes as short as can be. Pure: knows lengths only.

A file can be cut at some end if everything that reaches behind it has room in front of it: blocks in gaps
that are long enough, sector bitmaps, of 1 MiB, in whatever that leaves. The more is cut the more has to move
and the less room there is, so the lowest such end is found by halving. Then each thing moves once, to where
it can stay: another run would find nothing to gain.

A piece is never moved by less than its own length: source and target would overlap, and a crash in between
would leave neither. Gaps shorter than a block, which only bitmaps and regions leave, may therefore stay.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


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


class Room(NamedTuple):
    """What has to move, or has room, in front of some end: ``blocks`` of them, and ``length`` MiB in all."""

    blocks: int
    length: int


def lowest_end(lowest: int, highest: int, needed: Callable[[int], Room], free: Callable[[int], Room]) -> int:
    """The lowest end, in MiB, at which a file can be cut; ``highest``, where it ends now, if there is none.

    ``needed`` and ``free`` say of an end what reaches behind it, and what is free in front of it.
    """

    def has_room(end: int) -> bool:
        wanted, there = needed(end), free(end)
        return wanted.blocks <= there.blocks and wanted.length <= there.length

    return lowest + bisect_left(range(lowest, highest), 1, key=has_room)


def moves(
    pieces: Iterable[Piece], gaps: Callable[[], Iterable[Gap]], block_count: int, block_length: int
) -> Iterator[Move]:
    """Where the pieces go, all of which have room: blocks into the lowest gaps, bitmaps into what they leave.

    ``gaps`` gives the gaps in front of the new end, lowest first; ``block_count`` of the pieces are blocks.
    """
    blocks = _places_of_blocks(gaps(), block_count, block_length)
    bitmaps = _places_of_bitmaps(gaps(), block_count, block_length)
    for piece in pieces:
        yield Move(piece, next(blocks if piece.length == block_length else bitmaps))


def _places_of_blocks(gaps: Iterable[Gap], count: int, length: int) -> Iterator[int]:
    for gap in gaps:
        taken = min(count, gap.length // length)
        yield from range(gap.start, gap.start + taken * length, length)
        count -= taken
        if not count:
            return


def _places_of_bitmaps(gaps: Iterable[Gap], count: int, length: int) -> Iterator[int]:
    """Every MiB that ``count`` blocks leave."""
    for gap in gaps:
        taken = min(count, gap.length // length)
        yield from range(gap.start + taken * length, gap.start + gap.length)
        count -= taken
