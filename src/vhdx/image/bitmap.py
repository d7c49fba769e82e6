"""Sector bitmaps of partially present blocks [MS-VHDX 2.4]: runs of sectors that are in this file or not."""

from __future__ import annotations

from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PIECE_BITS = 4096
"""Bits looked at in one go, as one integer: long enough to pass over uniform stretches quickly."""


class BitRun(NamedTuple):
    """Neighbouring sectors with the same bit; ``first_bit`` counts from the start of the bitmap block."""

    first_bit: int
    bit_count: int
    is_set: bool


def bit_runs(read: Callable[[int, int], bytes], first: int, count: int) -> Iterator[BitRun]:
    """The runs among ``count`` bits from ``first`` on. ``read(length, offset)`` gives bytes of the bitmap.

    The least significant bit of a byte comes first. Runs that reach over a piece come in several parts.
    """
    end = first + count
    while first < end:
        stop = min(end, first - first % _PIECE_BITS + _PIECE_BITS)
        data = read((stop + 7) // 8 - first // 8, first // 8)
        yield from _runs_of_integer(int.from_bytes(data, "little") >> first % 8, first, stop - first)
        first = stop


def _runs_of_integer(bits: int, first: int, count: int) -> Iterator[BitRun]:
    bits &= (1 << count) - 1
    while count:
        is_set = bool(bits & 1)
        # The lowest bit that differs from the first one ends the run.
        differing = ~bits if is_set else bits
        run = min(count, (differing & -differing).bit_length() - 1) if differing else count
        yield BitRun(first, run, is_set)
        bits >>= run
        first += run
        count -= run
