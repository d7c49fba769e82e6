"""Space of a file that nothing names: where it holds anything but zeros.

A map has one byte for each MiB of a file: 0 where nobody claims it.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, NamedTuple

from vhdx.progress import to_nobody
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.progress import Advance
    from vhdx.storage.base import ReadableStorage

_PIECE = 64 * 1024
_TOLD_RUNS = 5
_UNCLAIMED = re.compile(rb"\x00+")


class Unowned(NamedTuple):
    """How many MiB that nobody claims are not zeros, in how many runs; file offsets of the first runs.

    ``places`` is how many blocks can stand there at most.
    """

    mibs: int
    runs: int
    first: tuple[int, ...]
    places: int = 0

    def joined(self, other: Unowned) -> Unowned:
        """Both, of which the other one comes behind."""
        first = (*self.first, *other.first)[:_TOLD_RUNS]
        return Unowned(self.mibs + other.mibs, self.runs + other.runs, first, self.places + other.places)

    @property
    def size(self) -> int:
        """The MiB in bytes."""
        return self.mibs * MIB

    @property
    def where(self) -> str:
        """The first places in words."""
        return ", ".join(map(str, self.first)) + (" …" if self.runs > len(self.first) else "")


NOTHING = Unowned(0, 0, ())


def unclaimed_runs(
    used: bytes | bytearray, start: int = 0, end: int = sys.maxsize
) -> Iterator[tuple[int, int]]:
    """(first, behind the last) MiB of each run that nobody claims, from ``start`` up to ``end``."""
    return (found.span() for found in _UNCLAIMED.finditer(used, start, end))


def filled_mibs(
    storage: ReadableStorage, first: int, stop: int, size: int, advance: Advance = to_nobody
) -> Iterator[int]:
    """The MiB of a run in which something stands, in order; holes of the host's file are passed over.

    ``size`` is how long the file is. ``advance`` is told the bytes that were looked at.
    """
    last = -1
    for at, length in storage.data_ranges(first * MIB, max(0, min(stop * MIB, size) - first * MIB)):
        end = at + length
        for mib in range(at // MIB, -(-end // MIB)):
            low, high = max(at, mib * MIB), min(end, (mib + 1) * MIB)
            if mib != last and not _is_zero(storage, low, high):
                yield mib
                last = mib
            advance(high - low, high - low)


def find_unowned(
    storage: ReadableStorage,
    used: bytes | bytearray,
    size: int,
    block_size: int,
    *,
    start: int = 0,
    end: int = sys.maxsize,
    advance: Advance = to_nobody,
) -> Unowned:
    """Look into what nobody claims of a file of ``size`` bytes, from one MiB up to another.

    What is less than a MiB at the end of the file is passed over: real software leaves such ends.
    """
    mibs = runs = places = 0
    told: list[int] = []
    block = block_size // MIB
    for first, stop in unclaimed_runs(used, start, end):
        if first * MIB + MIB > size:
            continue
        last, behind = -2, 0
        for mib in filled_mibs(storage, first, stop, size, advance):
            if mib != last + 1:
                runs += 1
                told += [mib * MIB] if len(told) < _TOLD_RUNS else []
            mibs, last = mibs + 1, mib
            if mib >= behind and stop - first >= block:
                places, behind = places + 1, mib + block
    return Unowned(mibs, runs, tuple(told), places)


def kept_around(storage: ReadableStorage, used: bytes | bytearray, size: int, block_size: int) -> bytearray:
    """A map of what may be a block that no table names any more: 1 there.

    Zeros between such places are part of it, and those so near that one block can hold both: blocks may
    hold zeros.
    """
    kept, reach = bytearray(len(used)), block_size // MIB - 1
    for first, stop in unclaimed_runs(used):
        if first * MIB + MIB > size:
            continue
        low = last = -1
        for last in filled_mibs(storage, first, stop, size):
            low = max(first, last - reach) if low < 0 else low
        if low >= 0:
            high = min(stop, last + reach + 1)
            kept[low:high] = b"\1" * (high - low)
    return kept


def _is_zero(storage: ReadableStorage, start: int, end: int) -> bool:
    pieces = (storage.read(min(_PIECE, end - at), at) for at in range(start, end, _PIECE))
    return not any(piece.strip(b"\0") for piece in pieces)
