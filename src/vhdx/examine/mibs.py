"""A set of MiB of a file, one bit each: 8 MiB of memory for a file of 64 TiB. Vectorised.

Members are numbers of MiB in arrays of any integer type; a run is ``length`` MiB from its first one on.
"""

from __future__ import annotations

import numpy as np

from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]
    Mask = NDArray[np.bool_]

_BITS_OF = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1).astype(np.uint8)
_PIECE = 128 * 1024
"""Bytes of the set that are looked at in one go: 128 GiB of file."""


_FALLING = 255
"""0 minus 1 in eight bits."""


class Gaps(NamedTuple):
    """What is not in a set: how many MiB, in how many runs, the first one, and where the last run begins."""

    missing: int
    runs: int
    first: int
    tail_start: int


class MibSet:
    """Which of the first ``count`` MiB of a file belong to something."""

    def __init__(self, count: int) -> None:
        self._bits = np.zeros(-(-count // 8), dtype=np.uint8)
        self._count = count

    def __len__(self) -> int:
        pieces = range(0, len(self._bits), _PIECE)
        return sum(int(_BITS_OF[self._bits[start : start + _PIECE]].sum()) for start in pieces)

    def add_unheld(self, firsts: Numbers, length: int) -> int:
        """Put runs in that are thought not to be in; how many MiB these are.

        Bits are added up: the sum of different bits is their union, and each carry leaves fewer bits than
        went in. So the set has grown by what this returned if, and only if, no MiB was put in twice; if not,
        what is in the set is worthless.
        """
        runs = _members(firsts, length)
        np.add.at(self._bits, runs >> 3, _bit(runs))
        return len(runs)

    def add(self, firsts: Numbers, length: int) -> Mask:
        """Put runs in, in their order; which of them touch something that was in before their turn."""
        runs = _members(firsts, length)
        order = np.argsort(runs, kind="stable")
        ordered = runs[order]
        held = (self._bits[runs >> 3] & _bit(runs)) != 0
        held[order[1:]] |= ordered[1:] == ordered[:-1]
        np.bitwise_or.at(self._bits, ordered >> 3, _bit(ordered))
        return _any_of_each(held, length)

    def add_run(self, start: int, end: int) -> None:
        """Put all from ``start`` on in, up to ``end``, however long that is."""
        first, last = start >> 3, end >> 3
        low, high = 0xFF << (start & 7) & 0xFF, (1 << (end & 7)) - 1
        if first == last:
            self._bits[first] |= low & high
            return
        self._bits[first] |= low
        self._bits[first + 1 : last] = 0xFF
        if high:
            self._bits[last] |= high

    def touching(self, firsts: Numbers, length: int) -> Mask:
        """Which runs touch something that is in the set."""
        runs = _members(firsts, length)
        held = (self._bits[runs >> 3] & _bit(runs)) != 0
        return _any_of_each(held, length)

    def gaps(self, end: int) -> Gaps:
        """What of the first ``end`` MiB is not in the set."""
        missing, runs, first, tail_start, before = 0, 0, end, 0, 1
        for at, bits in self._pieces(end):
            held = int(np.count_nonzero(bits))
            if held < len(bits):
                missing += len(bits) - held
                runs += int((np.diff(bits, prepend=np.uint8(before)) == _FALLING).sum())
                first = min(first, at + int(bits.argmin()))
            tail_start = at + len(bits) - int(bits[::-1].argmax()) if held else tail_start
            before = int(bits[-1])
        return Gaps(missing, runs, first, tail_start)

    def absent(self, start: int, end: int) -> Iterator[int]:
        """The MiB from ``start`` up to ``end`` that are not in the set, in order."""
        for at in range(start, end, _PIECE):
            members = np.arange(at, min(at + _PIECE, end))
            yield from members[self._bits[members >> 3] & _bit(members) == 0].tolist()

    def gap_length(self, start: int, limit: int) -> int:
        """How many MiB from ``start`` on, at most ``limit``, are not in the set."""
        members = np.arange(start, start + max(0, limit))
        held = np.flatnonzero(self._bits[members >> 3] & _bit(members))
        return int(held[0]) if held.size else len(members)

    def as_bytes(self, end: int) -> bytearray:
        """One byte for each of the first ``end`` MiB: 1 for those in the set, else 0."""
        used = bytearray(end)
        for at, bits in self._pieces(end):
            used[at : at + len(bits)] = bits.tobytes()
        return used

    def _pieces(self, end: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        for at in range(0, end, _PIECE * 8):
            packed = self._bits[at // 8 : at // 8 + _PIECE]
            yield at, np.unpackbits(packed, bitorder="little")[: end - at]


def _any_of_each(members: Mask, length: int) -> Mask:
    """For each run whether it is true of any of its ``length`` members."""
    return np.asarray(members.reshape(-1, length).any(axis=1))


def _members(firsts: Numbers, length: int) -> Numbers:
    return firsts if length == 1 else (firsts[:, None] + np.arange(length)).reshape(-1)


def _bit(numbers: Numbers) -> NDArray[np.uint8]:
    return np.left_shift(np.uint8(1), (numbers & 7).astype(np.uint8))
