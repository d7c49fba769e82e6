"""Looking a while whether the next request is there, before sleeping until it comes.

To wake somebody up on another processor takes longer than to carry out a small request, on virtual machines
several times as long, and it takes the time of both processors. So whoever was just answered may be waited
for without sleep. Whether that is of use, how it went tells: each time that nothing came, more waits go by
before it is tried again. It never is where client and server share one processor, nor while nobody asks.
With several clients a processor has other work than to look, and Python lets only one of them look.
"""

from __future__ import annotations

import socket

LOOKS = 40
"""How often it is looked before one sleeps: some 30 microseconds."""
MOST_PASSED = 255
"""Waits that go by at most before it is tried again: what one look in vain costs is shared by so many."""
_open: set[EagerReceiver] = set()
"""Those of this process."""


class EagerReceiver:
    """What looks into one socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._receive_into = connection.recv_into
        self._flags = socket.MSG_DONTWAIT
        self._pause = self._passing = 0
        _open.add(self)

    def receive_into(self, view: memoryview) -> int:
        """How many bytes came by now or within microseconds; 0 if none did, or where they end."""
        if self._passing or len(_open) > 1:
            self._passing -= self._passing > 0
            return 0
        for _ in range(LOOKS):
            try:
                count = self._receive_into(view, 0, self._flags)
            except BlockingIOError:
                continue
            self._pause = 0
            return count
        self._passing = self._pause = min(2 * self._pause + 1, MOST_PASSED)
        return 0

    def close(self) -> None:
        """Nobody will look any more."""
        _open.discard(self)
