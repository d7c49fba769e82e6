"""Space of a file that nothing names: where it holds anything but zeros.

A map has one byte for each MiB of a file: 0 where nobody claims it. Plain loops, no generators of our own:
sessions come by here, and may be interrupted anywhere.
"""

from __future__ import annotations

import errno
import re
import sys
from typing import TYPE_CHECKING, NamedTuple

from vhdx.progress import to_nobody
from vhdx.storage.base import all_readable
from vhdx.storage.zeros import is_zero
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.progress import Advance
    from vhdx.storage.base import ReadableStorage, Unreadable

_PROBE = 64 * 1024
"""Bytes of a MiB that are read first: what holds anything shows it in them as a rule."""
_TOLD_RUNS = 5
_WINDOW = 1 << 20
"""MiB that are asked for in one go: what is copied of a map stays small."""
_UNCLAIMED = re.compile(rb"\x00+")
_NOT_SEEN, _ZEROS, _FILLED, _UNREADABLE = range(4)
_MAY_HOLD = bytes.maketrans(bytes((_ZEROS, _FILLED, _UNREADABLE)), b"\0\1\1")


class Unowned(NamedTuple):
    """How many MiB that nobody claims are not zeros, in how many runs; file offsets of the first runs.

    ``places`` is how many blocks can stand there at most; ``unreadable`` of the MiB the host cannot read:
    nobody knows what they hold, so they count.
    """

    mibs: int
    runs: int
    first: tuple[int, ...]
    places: int = 0
    unreadable: int = 0

    def joined(self, other: Unowned) -> Unowned:
        """Both, of which the other one comes behind."""
        first = (*self.first, *other.first)[:_TOLD_RUNS]
        return Unowned(
            self.mibs + other.mibs,
            self.runs + other.runs,
            first,
            self.places + other.places,
            self.unreadable + other.unreadable,
        )

    @property
    def size(self) -> int:
        """The MiB in bytes."""
        return self.mibs * MIB

    @property
    def where(self) -> str:
        """The first places in words."""
        return ", ".join(map(str, self.first)) + (" …" if self.runs > len(self.first) else "")


NOTHING = Unowned(0, 0, ())


class Look:
    """What stands in a file of ``size`` bytes, MiB by MiB; none of them is read twice.

    ``unreadable`` says what the storage gave zeros for between two file offsets because the host could not
    read it. ``advance`` is told the bytes that were looked into, and those that are to be.
    """

    def __init__(
        self,
        storage: ReadableStorage,
        size: int,
        *,
        unreadable: Unreadable = all_readable,
        advance: Advance = to_nobody,
    ) -> None:
        self._storage = storage
        self._size = size
        self._unreadable = unreadable
        self._advance = advance
        self._seen = bytearray()

    @property
    def size(self) -> int:
        """How long the file is."""
        return self._size

    def filled(self, first: int, stop: int) -> bytearray:
        """For each MiB of a run: 1 where anything but zeros stands or may stand, else 0."""
        return self._looked_into(first, stop).translate(_MAY_HOLD)

    def unreadable(self, first: int, stop: int) -> int:
        """How many MiB of a run the host cannot read."""
        return self._looked_into(first, stop).count(_UNREADABLE)

    def forget(self, file_offset: int, length: int) -> None:
        """What stands in a range was changed."""
        first, stop = file_offset // MIB, min(len(self._seen), -(-(file_offset + length) // MIB))
        self._seen[first:stop] = bytes(max(0, stop - first))

    def _looked_into(self, first: int, stop: int) -> bytearray:
        self._seen.extend(bytes(max(0, stop - len(self._seen))))
        if self._seen.find(_NOT_SEEN, first, stop) >= 0:
            self._look_into(first, stop)
        return self._seen[first:stop]

    def _look_into(self, first: int, stop: int) -> None:
        """Holes of the host's file are passed over."""
        self._advance(0, (stop - first) * MIB)
        before, seen, done = bytes(self._seen[first:stop]), self._seen[first:stop], first
        buffer = memoryview(bytearray(MIB))
        end = min(stop * MIB, self._size)
        for at, length in self._storage.data_ranges(first * MIB, max(0, end - first * MIB)):
            for mib in range(at // MIB, -(-(at + length) // MIB)):
                index = mib - first
                if (
                    before[index] == _NOT_SEEN and seen[index] <= _ZEROS
                ):  # of two parts of it one may be zeros
                    low, high = max(at, mib * MIB), min(at + length, (mib + 1) * MIB)
                    seen[index] = self._answer(low, buffer[: high - low])
                self._advance((mib - done) * MIB, 0)
                done = mib
        self._advance((stop - done) * MIB, 0)
        self._seen[first:stop] = seen.replace(bytes((_NOT_SEEN,)), bytes((_ZEROS,)))

    def _answer(self, start: int, buffer: memoryview) -> int:
        for piece in (buffer[:_PROBE], buffer[_PROBE:]):
            try:
                self._storage.read_into(piece, start)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                return _UNREADABLE
            if not is_zero(piece):
                return _FILLED
            if self._unreadable(start, start + len(piece)):
                return _UNREADABLE
            start += len(piece)
        return _ZEROS


def unclaimed_runs(
    used: bytes | bytearray, start: int = 0, end: int = sys.maxsize
) -> Iterator[tuple[int, int]]:
    """(first, behind the last) MiB of each run that nobody claims, from ``start`` up to ``end``."""
    return map(re.Match.span, _UNCLAIMED.finditer(used, start, end))


def find_unowned(
    look: Look, used: bytes | bytearray, block_size: int, *, start: int = 0, end: int = sys.maxsize
) -> Unowned:
    """Look into what nobody claims of a file, from one MiB up to another.

    What is less than a MiB at the end of the file is passed over: real software leaves such ends.
    """
    mibs = runs = places = unreadable = 0
    told: list[int] = []
    block = block_size // MIB
    for first, stop in unclaimed_runs(used, start, end):
        if first * MIB + MIB > look.size:
            continue
        last, behind = -2, 0
        for window in range(first, stop, _WINDOW):
            filled = look.filled(window, min(stop, window + _WINDOW))
            at = filled.find(1)
            while at >= 0:
                mib = window + at
                if mib != last + 1:
                    runs += 1
                    told += [mib * MIB] if len(told) < _TOLD_RUNS else []
                if mib >= behind and stop - first >= block:
                    places, behind = places + 1, mib + block
                mibs, last = mibs + 1, mib
                at = filled.find(1, at + 1)
            unreadable += look.unreadable(window, min(stop, window + _WINDOW))
    return Unowned(mibs, runs, tuple(told), places, unreadable)


def kept_around(look: Look, used: bytes | bytearray, block_size: int) -> bytearray:
    """A map of what may be a block that no table names any more: 1 there.

    Zeros between such places are part of it, and those so near that one block can hold both: blocks may
    hold zeros.
    """
    kept, reach = bytearray(len(used)), block_size // MIB - 1
    for first, stop in unclaimed_runs(used):
        if first * MIB + MIB > look.size:
            continue
        low = last = -1
        for window in range(first, stop, _WINDOW):
            filled = look.filled(window, min(stop, window + _WINDOW))
            if 1 in filled:
                low = window + filled.find(1) if low < 0 else low
                last = window + filled.rfind(1)
        if low >= 0:
            low, high = max(first, low - reach), min(stop, last + reach + 1)
            kept[low:high] = b"\1" * (high - low)
    return kept
