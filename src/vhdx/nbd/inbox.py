"""What came from a client and was not looked at yet: many small requests for one system call."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vhdx.nbd.transport import TooSlowError

if TYPE_CHECKING:
    from vhdx.nbd.transport import Transport

SIZE = 64 * 1024
_AFTER_LONG = 1024


class Inbox:
    """A buffer between a socket and requests. ``seconds`` is how long a frame may take to arrive."""

    def __init__(self, transport: Transport, seconds: float) -> None:
        self._receive_into = transport.receive_into
        self._seconds = seconds
        self.buffer = bytearray(SIZE)
        self.view = memoryview(self.buffer)
        self._next = self.view
        self.start = 0
        """Where in the buffer the next request begins."""
        self.end = 0

    def wait_for_frame(self, length: int) -> bool:
        """Have at least ``length`` bytes, waiting for the first as long as it takes; False at the end.

        Raises ConnectionError for an end inside a frame, TooSlowError.
        """
        if self.start == self.end:
            self.start = self.end = 0
            while not self.end:
                try:
                    self.end = self._receive_into(self._next)
                except TimeoutError:
                    continue
                except ConnectionResetError:  # it left without listening to the last answer
                    return False
                if not self.end:
                    return False
            self._next = self.view
        elif SIZE - self.start < length:
            self.view[: self.end - self.start] = bytes(self.view[self.start : self.end])
            self.start, self.end = 0, self.end - self.start
        missing = length - (self.end - self.start)
        if missing > 0:
            self.end += self._receive(self.view[self.end :], missing)
        return True

    def take(self, length: int) -> memoryview:
        """Bytes that are there already; valid until the next wait."""
        piece = self.view[self.start : self.start + length]
        self.start += length
        return piece

    def fill(self, view: memoryview) -> None:
        """Fill a buffer with what comes next."""
        there = min(len(view), self.end - self.start)
        view[:there] = self.take(there)
        if there < len(view):
            self._receive(view[there:], len(view) - there)
            # Probably another one like it follows, which is better received into its place.
            self._next = self.view[:_AFTER_LONG]

    def _receive(self, view: memoryview, least: int) -> int:
        """At least so many bytes within the frame's time."""
        done, deadline = 0, 0.0
        while done < least:
            try:
                count = self._receive_into(view[done:])
            except TimeoutError:
                raise TooSlowError("it stopped in the middle of a request") from None
            if not count:
                raise ConnectionError("it ended in the middle of a request")
            done += count
            if done < least:
                deadline = deadline or time.monotonic() + self._seconds
                if time.monotonic() > deadline:
                    raise TooSlowError("it sends a request too slowly")
        return done
