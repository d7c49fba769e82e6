"""A pipe as a place for bytes that are written in the order of their offsets; what is left out is zeros."""

from __future__ import annotations

import contextlib

from vhdx.pieces import pieces
from vhdx.storage.base import ZEROS
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO


class WholeOutput:
    """Takes all that is written, into a stream that may take less: it has no buffer, or never waits."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write all of it, and wait where there is no room for the moment."""
        view, done = memoryview(data), 0
        while done < len(view):
            try:
                count: int | None = self._stream.write(view[done:])
            except BlockingIOError as error:
                done += error.characters_written
                count = None
            if count is None:
                self._wait()
            else:
                done += count
        return done

    def flush(self) -> None:
        """Hand over what is still in a buffer."""
        while True:
            with contextlib.suppress(BlockingIOError):
                self._stream.flush()
                return
            self._wait()

    def _wait(self) -> None:
        import select  # noqa: PLC0415  pipes hardly ever need it

        select.select((), (self._stream.fileno(),), ())


class OutgoingStorage:
    """A stream that is written front to back, and whose bytes are gone once they are written."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = WholeOutput(stream)
        self.name = name
        self._position = 0

    def write_at(self, data: bytes | bytearray | memoryview, file_offset: int) -> None:
        """Write all of ``data``, and zeros for what was left out in front of it.

        Raises ValueError for what was written already: that would have to be taken back.
        """
        if file_offset < self._position:
            raise ValueError(f"{self.name}: byte {file_offset} was written already, up to {self._position}")
        self.resize(file_offset)
        self._write(data)

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        self._position += self._stream.write(data)

    def resize(self, size: int) -> None:
        """Write zeros up to a length; nothing is taken back."""
        for _, count in pieces(self._position, max(0, size - self._position), len(ZEROS)):
            self._write(ZEROS[:count] if count < len(ZEROS) else ZEROS)

    def flush(self) -> None:
        """Hand over what is still in a buffer; when it is durable only the reader knows."""
        self._stream.flush()

    def reserve(self, file_offset: int, length: int) -> bool:  # noqa: ARG002  as storages have it
        """True: what is written takes its space where it arrives."""
        return True

    def start_writing_back(self) -> None:
        """Nothing: whoever reads has it already."""
