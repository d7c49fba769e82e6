"""What comes through a pipe as a place for bytes: kept as far as it may be read again, then let go by.

It begins by keeping everything that it had to read, in a file without a name, zeros as holes. Whoever knows
that what is still to come is read in its order says so; from then on nothing more is kept.
"""

from __future__ import annotations

import io
import threading

from vhdx.storage.base import ended_early
from vhdx.storage.file import temporary_file
from vhdx.storage.filling import filled
from vhdx.storage.zeros import nonzero_runs
from vhdx.typed import TYPE_CHECKING
from vhdx.units import MIB, TIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from vhdx.storage.file import FileStorage

_NO_END = 256 * TIB
"""The length of what has no known end yet: no file that is read here is longer."""
_BACKWARDS = "what came through the pipe here was let go by"


class IncomingStorage:
    """A stream of bytes, read at any offset while everything is kept, then in ascending order."""

    def __init__(self, stream: BinaryIO, name: str, kept: FileStorage | None = None) -> None:
        self._stream = stream
        self.name = name
        self._kept = temporary_file() if kept is None else kept
        self._kept_end = 0
        self._position = 0
        self._ended = False
        self._keeps = True
        self._buffer = bytearray(MIB)
        self._lock = threading.Lock()

    @property
    def kept(self) -> int:
        """How many bytes of the stream can be read again."""
        return self._kept_end

    def let_go(self) -> None:
        """Keep nothing of what comes from now on: it is read once, in its order."""
        self._keeps = False

    def keep_all(self) -> None:
        """Read up to the end and keep it: then everything can be read at any time."""
        with self._lock:
            self._advance(_NO_END)

    def drain(self) -> None:
        """Read up to the end, so that whoever writes the stream can finish."""
        self.let_go()
        self.keep_all()

    def size(self) -> int:
        """How many bytes there are; of what has not ended yet, more than any file has."""
        return self._position if self._ended else _NO_END

    def identity(self) -> None:
        """Nothing: no file is known."""
        return

    def read(self, length: int, file_offset: int) -> bytes:
        """Exactly ``length`` bytes."""
        buffer = bytearray(length)
        self.read_into(memoryview(buffer), file_offset)
        return bytes(buffer)

    def read_into(self, buffer: memoryview, file_offset: int) -> None:
        """Fill the buffer: from what is kept, then from what comes."""
        end = file_offset + len(buffer)
        with self._lock:
            if self._keeps:
                self._advance(end)
            if self._ended and end > self._position:
                raise ended_early(self.name, file_offset, len(buffer))
            there = max(0, min(end, self._kept_end) - file_offset)
            self._kept.read_into(buffer[:there], file_offset)
            if there < len(buffer):
                self._pass(buffer[there:], file_offset + there)

    def _pass(self, buffer: memoryview, file_offset: int) -> None:
        """Fill a buffer from what comes, and forget it."""
        if file_offset < self._position:
            raise io.UnsupportedOperation(f"{self.name}: {_BACKWARDS}")
        self._advance(file_offset)
        done = self._fill(buffer)
        if done < len(buffer):
            raise ended_early(self.name, file_offset, len(buffer))

    def _advance(self, end: int) -> None:
        """Take what comes up to a place, or to its end; keep it if everything is kept."""
        while self._position < end and not self._ended:
            place = self._position
            view = memoryview(self._buffer)[: min(MIB, end - place)]
            count = self._fill(view)
            if self._keeps:
                data = self._buffer[:count]
                for start, stop in nonzero_runs(data):
                    self._kept.write_at(memoryview(data)[start:stop], place + start)
                self._kept.resize(self._position)
                self._kept_end = self._position

    def _fill(self, view: memoryview) -> int:
        done = filled(self._stream, view)
        self._position += done
        self._ended = self._ended or done < len(view)
        return done

    def data_ranges(self, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
        """What is kept tells its holes; of what comes nothing is known."""
        there = max(0, min(length, self._kept_end - file_offset))
        if there:
            yield from self._kept.data_ranges(file_offset, there)
        if there < length:
            yield file_offset + there, length - there

    def close(self) -> None:
        """Let go of what was kept; the stream stays open."""
        self._kept.close()
