"""Space of a file that nothing names: where it holds anything but zeros.

A map has one byte for each MiB of a file: 0 where nobody claims it. Plain loops, no generators of our own:
sessions come by here, and may be interrupted anywhere.
"""

from __future__ import annotations

import errno
import re
import sys

from vhdx.progress import to_nobody
from vhdx.storage.base import all_readable
from vhdx.storage.zeros import is_zero
from vhdx.typed import TYPE_CHECKING, NamedTuple
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
_ZEROS, _FILLED, _UNREADABLE, _DATA = range(1, 5)
"""What is known of a MiB: data are still to be read. 0 is what was not asked for yet."""
_MAY_HOLD = bytes.maketrans(bytes((_ZEROS, _FILLED, _UNREADABLE, _DATA)), b"\0\1\1\0")


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


class Seen:
    """What is known of a file, MiB by MiB, for more than one look; whoever changes the file says so."""

    def __init__(self) -> None:
        self.map = bytearray()

    def forget(self, file_offset: int, length: int) -> None:
        """What stands in a range was changed."""
        first, stop = file_offset // MIB, min(len(self.map), -(-(file_offset + length) // MIB))
        self.map[first:stop] = bytes(max(0, stop - first))


class Look:
    """What stands in a file of ``size`` bytes, MiB by MiB; none of them is read twice.

    ``unreadable`` says what the storage gave zeros for between two file offsets because the host could not
    read it. ``advance`` is told the bytes that were looked into, and those that are to be. ``seen`` is what
    was found out before.
    """

    def __init__(
        self,
        storage: ReadableStorage,
        size: int,
        *,
        unreadable: Unreadable = all_readable,
        advance: Advance = to_nobody,
        seen: Seen | None = None,
    ) -> None:
        self.storage = storage
        self._size = size
        self._unreadable = unreadable
        self.advance = advance
        self._seen = (seen or Seen()).map
        self._buffer = memoryview(bytearray(MIB))

    @property
    def size(self) -> int:
        """How long the file is."""
        return self._size

    def filled(self, first: int, stop: int) -> bytearray:
        """For each MiB of a run: 1 where anything but zeros stands or may stand, else 0."""
        self._pass_over_holes(first, stop)
        self.advance(0, self._seen.count(_DATA, first, stop) * MIB)
        mib = first
        while (mib := self._seen.find(_DATA, mib, stop)) >= 0:
            self._read(mib)
        return self._seen[first:stop].translate(_MAY_HOLD)

    def unreadable(self, first: int, stop: int) -> int:
        """How many MiB of a run the host cannot read."""
        self.filled(first, stop)
        return self._seen.count(_UNREADABLE, first, stop)

    def first_filled(self, first: int, stop: int) -> int:
        """The first MiB of a run where anything but zeros stands or may stand, -1 for none.

        What is behind it is not read.
        """
        found = -1
        for start in range(first, stop, _WINDOW):
            end = min(stop, start + _WINDOW)
            known = self._known(start, end).find(1)
            found = start + known if known >= 0 else -1
            found = self._first_unread(start, found if found >= 0 else end, found)
            if found >= 0:
                break
        return found

    def last_filled(self, first: int, stop: int) -> int:
        """The last MiB of a run where anything but zeros stands or may stand, -1 for none.

        What is in front of it is not read.
        """
        found = -1
        for start in reversed(range(first, stop, _WINDOW)):
            end = min(stop, start + _WINDOW)
            known = self._known(start, end).rfind(1)
            found = start + known if known >= 0 else -1
            found = self._last_unread(found + 1 if found >= 0 else start, end, found)
            if found >= 0:
                break
        return found

    def _known(self, first: int, stop: int) -> bytearray:
        """The same as `filled`, of what is known without reading; 0 for what is not."""
        self._pass_over_holes(first, stop)
        return self._seen[first:stop].translate(_MAY_HOLD)

    def _first_unread(self, first: int, stop: int, known: int) -> int:
        """The first MiB that is filled of those that must be read, else what is known."""
        unread = self._seen.count(_DATA, first, stop)
        self.advance(0, unread * MIB)
        mib = first
        while (mib := self._seen.find(_DATA, mib, stop)) >= 0:
            unread -= 1
            if self._read(mib) != _ZEROS:
                break
        self.advance(unread * MIB, 0)  # which need not be read
        return mib if mib >= 0 else known

    def _last_unread(self, first: int, stop: int, known: int) -> int:
        """The last one, in the same way."""
        unread = self._seen.count(_DATA, first, stop)
        self.advance(0, unread * MIB)
        mib = stop
        while (mib := self._seen.rfind(_DATA, first, mib)) >= 0:
            unread -= 1
            if self._read(mib) != _ZEROS:
                break
        self.advance(unread * MIB, 0)
        return mib if mib >= 0 else known

    def _pass_over_holes(self, first: int, stop: int) -> None:
        """Know holes of the host's file for zeros, and the rest of what was not seen yet for data."""
        self._seen.extend(bytes(max(0, stop - len(self._seen))))
        for low, high in unclaimed_runs(bytes(self._seen[first:stop])):
            start, end = first + low, first + high
            found = bytearray((_ZEROS,)) * (end - start)
            length = max(0, min(end * MIB, self._size) - start * MIB)
            for at, part in self.storage.data_ranges(start * MIB, length):
                one, behind = at // MIB - start, -(-(at + part) // MIB) - start
                found[one:behind] = bytes((_DATA,)) * (behind - one)
            self._seen[start:end] = found

    def _read(self, mib: int) -> int:
        """Look into one MiB; what it is."""
        found = self._seen[mib] = self._answer(mib * MIB, self._buffer[: self._size - mib * MIB])
        self.advance(MIB, 0)
        return found

    def _answer(self, start: int, buffer: memoryview) -> int:
        for piece in (buffer[:_PROBE], buffer[_PROBE:]):
            try:
                self.storage.read_into(piece, start)
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


def kept_run(look: Look, first: int, stop: int, block_size: int) -> tuple[int, int] | None:
    """What of a run that nobody claims may be blocks that no table names any more: (first, behind the last).

    Zeros between such places are part of it, and those so near that one block can hold both: blocks may
    hold zeros. Read are only the zeros in front and behind.
    """
    reach = block_size // MIB - 1
    low = look.first_filled(first, stop)
    return None if low < 0 else (max(first, low - reach), min(stop, look.last_filled(low, stop) + reach + 1))
