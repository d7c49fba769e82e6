"""Pins: how space is kept from new owners while a write that resolved to it still runs."""

from __future__ import annotations

import time

_PAUSE_SECONDS = 0.0002


class Pins:
    """The writes that run. A write pins first and resolves then.

    Entering and leaving are single operations on a set, which need no lock on any interpreter: they stand
    in the way of every small write, while waiting is rare and may be slow.
    """

    def __init__(self) -> None:
        self._running: set[object] = set()
        self.enter = self._running.add
        """Begin the write that an object of its own stands for."""
        self.leave = self._running.discard
        """End that write."""

    def drain(self) -> None:
        """Wait for the writes that run now, not for those that begin meanwhile.

        Called after the entries that named some space were changed: a write that is not among those it
        waits for has seen the change.
        """
        running = self._running.copy()
        while not self._running.isdisjoint(running):
            time.sleep(_PAUSE_SECONDS)
