"""Where memory is zeros, against looking at every byte."""

import random

import pytest

from vhdx.storage.zeros import UNIT, nonzero_runs
from vhdx.units import KIB, MIB

LENGTHS = (0, 1, 511, 512, UNIT - 1, UNIT, UNIT + 1, 3 * UNIT + 5, 64 * KIB, MIB)


def runs_of(piece: bytearray, unit: int) -> list[tuple[int, int]]:
    """The same by the word of what it means."""
    found: list[tuple[int, int]] = []
    for start in range(0, len(piece), unit):
        stop = min(start + unit, len(piece))
        if not any(piece[start:stop]):
            continue
        if found and found[-1][1] == start:
            start = found.pop()[0]  # noqa: PLW2901
        found.append((start, stop))
    return found


@pytest.mark.parametrize("unit", [64, 512, 4 * KIB, UNIT])
@pytest.mark.parametrize("length", LENGTHS)
def test_runs_are_what_is_not_zero(length: int, unit: int) -> None:
    chance = random.Random(length + unit)
    for spots in range(8):
        piece = bytearray(length)
        for _ in range(spots if length else 0):
            at = chance.randrange(length)
            end = min(length, at + chance.choice((1, 100, 5 * KIB, 20 * KIB)))
            piece[at:end] = bytes([chance.randrange(2)]) * (end - at)
        assert nonzero_runs(piece, unit) == runs_of(piece, unit)


def test_a_unit_may_be_zeros_but_for_its_last_byte() -> None:
    piece = bytearray(4 * UNIT)
    piece[2 * UNIT - 1] = piece[-1] = 1
    assert nonzero_runs(piece) == [(UNIT, 2 * UNIT), (3 * UNIT, 4 * UNIT)]
