"""A source read ahead: a thread of its own reads and looks for zeros while what was read before is written.

Both wait in system calls most of the time. What is written, and every interrupt, stays with the caller.
"""

from __future__ import annotations

import contextlib
import threading
from functools import partial
from itertools import repeat
from queue import SimpleQueue

from vhdx.disk.afar import is_afar, read_ahead
from vhdx.ops.make.source import PIECE_SIZE, DiskSource
from vhdx.storage.zeros import UNIT, nonzero_runs
from vhdx.typed import TYPE_CHECKING, NamedTuple
from vhdx.waiting import take

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.ops.make.source import Source

_BUFFERS = 8


class Piece(NamedTuple):
    """Bytes of a disk from ``offset`` on, valid until the next piece; which (start, stop) are not zeros."""

    offset: int
    data: bytearray
    runs: list[tuple[int, int]]


@contextlib.contextmanager
def pieces_of(source: Source, unit: int = UNIT) -> Iterator[Iterator[Piece]]:
    """The pieces of a source, read ahead as far as some MiB of memory go; of a pipe one by one.

    A read of a pipe that nobody writes to could not be broken off. Zeros are looked for in units of ``unit``
    bytes.
    """
    if source.waits:
        yield pieces_here(source, unit)
        return
    if isinstance(source, DiskSource) and source.disk is not None and is_afar(source.disk):
        with contextlib.closing(read_ahead(partial(_piece_of, source, unit), source.places())) as pieces:
            yield pieces
        return
    ring = _Ring(source, unit)
    try:
        yield ring.pieces() if ring.start() else pieces_here(source, unit)
    finally:
        ring.stop()


def _piece_of(source: DiskSource, unit: int, offset: int, length: int) -> Piece:
    data = bytearray(length)
    source.read_into(data, offset)
    return Piece(offset, data, nonzero_runs(data, unit))


def pieces_here(source: Source, unit: int = UNIT) -> Iterator[Piece]:
    """The same, one by one, by whoever takes them."""
    for offset, data in source.pieces(repeat(bytearray(PIECE_SIZE))):
        yield Piece(offset, data, nonzero_runs(data, unit))


class _Ring:
    """Buffers that go round between the thread that fills them and the one that takes what is in them."""

    def __init__(self, source: Source, unit: int) -> None:
        self._source = source
        self._unit = unit
        self._free: SimpleQueue[bytearray] = SimpleQueue()
        self._filled: SimpleQueue[tuple[Piece, bytearray] | BaseException | None] = SimpleQueue()
        self._stopped = False
        self._taken = bytearray()
        self._thread = threading.Thread(target=self._read, name="read ahead", daemon=True)
        for _ in range(_BUFFERS):
            self._free.put(bytearray(PIECE_SIZE))

    def start(self) -> bool:
        """Let the thread begin; False where the host gives no more of them."""
        try:
            self._thread.start()
        except RuntimeError:
            return False
        return True

    def stop(self) -> None:
        """Return when the thread has ended: nobody reads the source from then on."""
        self._stopped = True
        self._free.put(bytearray())  # should it wait for one
        if self._thread.is_alive():  # else it was not started, or ends before it reads anything
            self._thread.join()

    def pieces(self) -> Iterator[Piece]:
        """What was read, in order; raises what reading raised."""
        while (found := take(self._filled)) is not None:
            if isinstance(found, BaseException):
                raise found
            piece, buffer = found
            yield piece
            self._free.put(buffer)

    def _read(self) -> None:
        try:
            for offset, data in self._source.pieces(self._buffers()):
                self._filled.put((Piece(offset, data, nonzero_runs(data, self._unit)), self._taken))
            self._filled.put(None)
        except BaseException as error:  # noqa: BLE001  raised again where the pieces are taken
            self._filled.put(error)

    def _buffers(self) -> Iterator[bytearray]:
        """One for each piece, also for those that need less: memory is bounded by their number."""
        while True:
            self._taken = self._free.get()
            if self._stopped:
                return
            yield self._taken
