"""Writing the BAT of a new image in one pass, front to back, in bounded memory [MS-VHDX 2.5]."""

from __future__ import annotations

from array import array

from vhdx.format.bat import ENTRY_SIZE
from vhdx.image.bat import WINDOW, packed
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.build.structures import Output
    from vhdx.geometry import Geometry

_LARGE_GAP = 4096
"""Empty slots that are worth a system call of their own to pass over."""


class TableWriter:
    """Takes the entries of payload blocks in order and puts empty bitmap slots between them.

    The space of the table must read as zeros before: entries of zero are not written.
    """

    def __init__(self, storage: Output, file_offset: int, geometry: Geometry) -> None:
        self._storage = storage
        self._file_offset = file_offset
        self._geometry = geometry
        self._next_block = 0
        self._pending: array[int] = array("Q")
        self._pending_index = 0

    @property
    def next_block(self) -> int:
        """The payload block whose entry comes next."""
        return self._next_block

    def append(self, count: int, entry: int, step: int = 0) -> None:
        """``count`` entries, the first ``entry``, each ``step`` more than the one before."""
        if not entry and not step and count > _LARGE_GAP:
            self.write()
            self._next_block += count
            return
        ratio = self._geometry.chunk_ratio
        while count:
            within = self._next_block % ratio
            if not self._pending:
                self._pending_index = self._geometry.payload_index(self._next_block)
            elif within == 0:
                self._pending.append(0)
            part = min(count, ratio - within, WINDOW)
            self._pending.extend(range(entry, entry + part * step, step) if step else [entry] * part)
            self._next_block += part
            count -= part
            entry += part * step
            if len(self._pending) >= WINDOW:
                self.write()

    def write(self) -> None:
        """Write what has been taken so far."""
        if self._pending:
            self._storage.write_at(
                packed(self._pending), self._file_offset + self._pending_index * ENTRY_SIZE
            )
            self._pending = array("Q")
