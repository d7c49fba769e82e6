"""How much of a disk is stored, for ``st_blocks``: counted in pieces, as far as a caller can wait."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from vhdx.errors import VhdxError

if TYPE_CHECKING:
    from vhdx.disk.base import VirtualDisk

_SMALLEST_PIECE = 64 * 1024 * 1024
_PIECES = 4096
_PATIENCE = 0.05
"""Seconds that one question may take."""
_EXTENTS_BETWEEN_LOOKS = 256
"""Extents that are counted between two looks at the clock."""


class _Count(NamedTuple):
    """What is known of a piece: bytes stored in front of ``position``, which is its end when all is known."""

    position: int
    stored: int


class StoredBytes:
    """The bytes of a disk behind which space stands, all of them or those found so far.

    A disk of 64 TiB in which every other block is there has a hundred million extents, and whoever asks for
    the status of a file expects an answer at once. So a question counts for at most 50 ms; the next one goes
    on where it stopped. What is not counted yet is taken for a hole: a file that looks sparse is
    copied by its holes, which is right in any case. What was changed is counted anew.
    """

    def __init__(self, disk: VirtualDisk) -> None:
        self._disk = disk
        self._piece_size = max(_SMALLEST_PIECE, -(-disk.size // _PIECES))
        self._total = 0
        self._known: dict[int, _Count] = {}
        self._stale = set(range(-(-disk.size // self._piece_size)))
        self._lock = threading.Lock()
        self._counting = threading.Lock()

    def changed(self, offset: int, length: int) -> None:
        """Something happened to a range: its pieces are to be counted anew."""
        if length:
            pieces = range(offset // self._piece_size, (offset + length - 1) // self._piece_size + 1)
            with self._lock:
                for piece in pieces:
                    self._forget(piece)
                self._stale.update(pieces)

    def total(self) -> int:
        """The bytes counted so far; all of them unless the disk has more extents than can be counted now."""
        if self._counting.acquire(blocking=False):
            try:
                self._count(time.monotonic() + _PATIENCE)
            finally:
                self._counting.release()
        return self._total

    def _count(self, until: float) -> None:
        while time.monotonic() < until:
            with self._lock:
                if not self._stale:
                    return
                piece = self._stale.pop()
                start = piece * self._piece_size
                known = self._known.get(piece, _Count(start, 0))
            end = min(start + self._piece_size, self._disk.size)
            found = self._counted(known, end, until)
            with self._lock:
                if piece in self._stale:  # changed while it was counted
                    continue
                self._forget(piece)
                self._known[piece] = found
                self._total += found.stored
                if found.position < end:
                    self._stale.add(piece)

    def _counted(self, known: _Count, end: int, until: float) -> _Count:
        """Go on counting a piece, to its end or until it is time; a damaged one as far as its damage."""
        position, stored = known
        try:
            extents = self._disk.extents(offset=position, length=end - position)
            for number, extent in enumerate(extents, 1):
                position = extent.end
                stored += 0 if extent.file_offset is None else extent.length
                if number % _EXTENTS_BETWEEN_LOOKS == 0 and time.monotonic() >= until:
                    break
        except (VhdxError, OSError):  # whoever reads there hears of it; the rest of the file has a size
            position = end
        return _Count(position, stored)

    def _forget(self, piece: int) -> None:
        self._total -= self._known.pop(piece, _Count(0, 0)).stored
