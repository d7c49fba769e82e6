"""An export of an NBD server as a storage: read by several requests at once, written without waiting."""

from __future__ import annotations

import errno
import threading
from collections import deque
from typing import TYPE_CHECKING

from vhdx.client.address import parsed
from vhdx.client.ahead import REQUEST_SIZE, ReadAhead
from vhdx.client.connection import MOST_UNDER_WAY, Connection
from vhdx.client.replies import RUN, Request
from vhdx.pieces import pieces
from vhdx.storage.base import ZEROS, ended_early
from vhdx.storage.runs import joined
from vhdx.storage.sparse import is_without_holes
from vhdx.storage.stream import is_export
from vhdx.units import MIB
from vhdx.wire import Allocation, Command, CommandFlag, ExportFlag

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_STATUS = (1 << 32) - MIB
_LONGEST_ZERO = 256 * MIB


class ExportStorage:
    """An export. A write is under way when the call returns; what became of it the next `flush` says.

    Requests are whole blocks of the server: what is asked for otherwise is read and written around.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._agreed = connection.agreed
        self._ahead = ReadAhead(connection)
        self._lock = threading.RLock()
        self._changes: deque[Request] = deque()
        self._failure: OSError | None = None

    @property
    def name(self) -> str:
        """Its URI."""
        return self._connection.name

    @property
    def read_only(self) -> bool:
        """Whether the server lets nobody write."""
        return bool(self._agreed.flags & ExportFlag.READ_ONLY)

    @property
    def sector_size(self) -> None:
        """The protocol does not say for which sectors the disk is."""

    def size(self) -> int:
        """Bytes of the export."""
        return self._agreed.size

    def identity(self) -> None:
        """No file of this host is known."""

    def read(self, length: int, file_offset: int) -> bytes:
        """Exactly ``length`` bytes."""
        buffer = bytearray(length)
        self.read_into(memoryview(buffer), file_offset)
        return bytes(buffer)

    def read_into(self, buffer: memoryview, file_offset: int) -> None:
        """Fill the buffer."""
        if file_offset + len(buffer) > self._agreed.size:
            raise ended_early(self.name, file_offset, len(buffer))
        self._settle()
        done = self._ahead.read_into(buffer, file_offset)
        if done < len(buffer):
            self._read_now(buffer[done:], file_offset + done)

    def _read_now(self, buffer: memoryview, offset: int) -> None:
        start, end = self._around(offset, offset + len(buffer))
        whole = buffer if end - start == len(buffer) else memoryview(bytearray(end - start))
        asked = []
        for at, length in pieces(start, end - start, min(REQUEST_SIZE, self._agreed.maximum)):
            place = whole[at - start : at - start + length]
            asked.append(self._connection.begin(Request(Command.READ, at, length, place)))
        for request in asked:
            self._connection.wait(request)
        if whole is not buffer:
            buffer[:] = whole[offset - start : offset - start + len(buffer)]

    def _around(self, start: int, end: int) -> tuple[int, int]:
        minimum = self._agreed.minimum
        return start // minimum * minimum, -(-end // minimum) * minimum

    def data_ranges(self, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
        """What the server does not say to be zeros; all of it where it says nothing."""
        self._settle()
        at, end = file_offset, file_offset + length
        while at < end:
            reached, runs = self._data_from(at, end)
            for start, count in joined(runs):
                self._ahead.told(start, start + count)
                yield start, count
            at = reached

    def _data_from(
        self, offset: int, end: int
    ) -> tuple[int, list[tuple[int, int]] | Iterator[tuple[int, int]]]:
        """How far the server's next answer reaches, and the (start, end) of the data in it."""
        if self._agreed.context is None:
            return end, [(offset, end)]
        start, stop = self._around(offset, min(end, offset + _LONGEST_STATUS))
        request = self._connection.begin(Request(Command.BLOCK_STATUS, start, stop - start))
        try:
            self._connection.wait(request)
        except OSError:
            if request.error is None:
                raise
        reached = start + sum(length for length, _ in RUN.iter_unpack(request.runs))
        if reached <= offset:  # it does not know; that is no reason not to read
            return min(end, stop), [(offset, min(end, stop))]
        reached = min(reached, end)
        return reached, _data_in(request.runs, start, offset, reached)

    def write_at(self, data: bytes | bytearray | memoryview, file_offset: int) -> None:
        """Send all of ``data``."""
        view = memoryview(data).cast("B")
        end = file_offset + len(view)
        if end > self._agreed.size:
            raise OSError(errno.ENOSPC, f"the export has only {self._agreed.size} bytes", self.name)
        start, stop = self._around(file_offset, end)
        if (start, stop) != (file_offset, end):
            whole = bytearray(self.read(stop - start, start))
            whole[file_offset - start : end - start] = view
            view = memoryview(whole)
        for at, length in pieces(start, len(view), min(MIB, self._agreed.maximum)):
            self._change(Request(Command.WRITE, at, length), view[at - start : at - start + length])

    def zero(self, file_offset: int, length: int) -> None:
        """Make a range zeros, without space behind them unless files are to have no holes."""
        end, minimum = file_offset + length, self._agreed.minimum
        start, stop = -(-file_offset // minimum) * minimum, end // minimum * minimum
        if start >= stop or not self._agreed.flags & ExportFlag.SEND_WRITE_ZEROES:
            self._write_zeros(file_offset, end)
            return
        self._write_zeros(file_offset, start)
        flags = CommandFlag.NO_HOLE if is_without_holes(0, lambda: False) else 0
        for at, count in pieces(start, stop - start, _LONGEST_ZERO):
            self._change(Request(Command.WRITE_ZEROES, at, count), flags=flags)
        self._write_zeros(stop, end)

    def _write_zeros(self, start: int, end: int) -> None:
        for at, length in pieces(start, end - start, len(ZEROS)):
            self.write_at(memoryview(ZEROS)[:length], at)

    def _change(self, request: Request, payload: memoryview | None = None, flags: int = 0) -> None:
        """Begin a change, after those of the same bytes; raises what earlier ones have met."""
        with self._lock:
            if any(other.offset < request.end and request.offset < other.end for other in self._changes):
                self._settle()
            while self._changes and (self._changes[0].is_done or len(self._changes) >= MOST_UNDER_WAY):
                self._wait_for_first()
            self._changes.append(self._connection.begin(request, payload, flags))

    def _settle(self) -> None:
        """Wait for all changes. Raises the first error of one."""
        with self._lock:
            while self._changes:
                self._wait_for_first()

    def _wait_for_first(self) -> None:
        """For the oldest change; what went wrong with one is no more forgotten.

        What was read ahead until then may be older than the change, which other threads may have overtaken.
        """
        try:
            self._connection.wait(self._changes.popleft())
        except OSError as error:
            self._failure = error
            raise
        finally:
            self._ahead.forget()

    def flush(self) -> None:
        """Return when all that was written is done, and durable where the server can say so."""
        self._settle()
        if self._failure is not None:
            raise OSError(self._failure.errno, self._failure.strerror, self.name)
        if self._agreed.flags & ExportFlag.SEND_FLUSH:
            self._connection.wait(self._connection.begin(Request(Command.FLUSH, 0, 0)))

    def start_writing_back(self) -> None:
        """What was written is on its way."""

    def drop_cache(self) -> None:
        """Nothing is kept here once it was written."""
        self._ahead.forget()

    def read_table_again(self) -> bool:
        """That is the server's."""
        return True

    def holds(self, files: tuple[tuple[int, int], ...], names: tuple[str, ...]) -> bool:  # noqa: ARG002
        """Whether a disk with these names is this one; which files are behind it only the server knows."""
        own = parsed(self.name).place
        return any(is_export(name) and parsed(name).place == own for name in names)

    def close(self) -> None:
        """Let go of the server."""
        self._connection.close()


def _data_in(runs: bytes, start: int, offset: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of what is not zeros between two places, told by runs that begin at ``start``."""
    for length, flags in RUN.iter_unpack(runs):
        stop = min(start + length, end)
        if not flags & Allocation.ZERO and stop > offset:
            yield max(start, offset), stop
        start += length
        if start >= end:
            return


def open_export(url: str) -> ExportStorage:
    """An export by its URI. Raises OSError, ValueError for a URI that names none."""
    return ExportStorage(Connection(parsed(url)))
