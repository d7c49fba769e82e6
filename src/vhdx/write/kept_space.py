"""Space of a file that a session leaves alone, as it may be blocks that no table names any more.

It is looked for where space is to be taken or cut, only as far as that needs, and once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vhdx.image.unowned import kept_run
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.image.unowned import Look

_KEPT = re.compile(rb"\x01+")


class KeptSpace:
    """What is kept of the space that nobody ``claimed`` when the file was opened: 0 there, MiB by MiB."""

    def __init__(self, look: Look, claimed: bytes, block_size: int) -> None:
        self._look = look
        self._block_size = block_size
        self.claimed = claimed
        self._decided = bytearray(claimed)
        self._kept = bytearray(len(claimed))
        last, rest = divmod(look.size, MIB)
        if rest and last < len(claimed) and claimed[last - 1]:
            self._decided[last] = 1  # less than a MiB, as real software leaves it

    def keep_all(self) -> None:
        """Without a look: nothing of it may be used, but for what is behind the end that is looked at."""
        end = -(-self._look.size // MIB)
        self._kept[:end] = self._decided[:end].translate(bytes.maketrans(b"\0\1", b"\1\0"))
        self._decided = bytearray(b"\1") * len(self._decided)

    def within(self, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
        """(file offset, length) of each whole run that is kept and reaches into a range."""
        first, stop = file_offset // MIB, min(-(-(file_offset + length) // MIB), len(self._kept))
        undecided = first
        while (undecided := self._decided.find(0, undecided, stop)) >= 0:
            self._decide(undecided, stop)
        at = self._kept.find(1, first, stop)
        while at >= 0:
            start = self._kept.rfind(0, 0, at) + 1
            end = self._kept.find(0, at)
            end = len(self._kept) if end < 0 else end
            yield start * MIB, (end - start) * MIB
            at = self._kept.find(1, end, stop)

    def found(self) -> Iterator[tuple[int, int]]:
        """The same of all that was found so far."""
        for run in _KEPT.finditer(bytes(self._kept)):
            yield run.start() * MIB, (run.end() - run.start()) * MIB

    def _decide(self, undecided: int, stop: int) -> None:
        """Whether a run is free up to ``stop``; where it is not, what of all of it is kept.

        In front of what is free nothing was found so near that one block could hold both.
        """
        first = self._decided.rfind(1, 0, undecided) + 1
        reach = min(stop + self._block_size // MIB - 1, len(self._decided))
        behind = self._decided.find(1, first, reach)
        behind = reach if behind < 0 else behind
        kept = kept_run(self._look, first, behind, self._block_size)
        if kept is None:
            behind = min(behind, stop)
        elif behind == reach:
            behind = self._decided.find(1, first)
            behind = len(self._decided) if behind < 0 else behind
            kept = kept_run(self._look, first, behind, self._block_size)
        if kept is not None:
            self._kept[kept[0] : kept[1]] = b"\1" * (kept[1] - kept[0])
        self._decided[first:behind] = b"\1" * (behind - first)
