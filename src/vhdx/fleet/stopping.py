"""Ending what threads do for long: none can be interrupted, but it tells how far it is, and is answered."""

from __future__ import annotations

import threading

_stop = threading.Event()


class StoppedError(Exception):
    """Whoever wanted this done wants it no more."""


def begin() -> None:
    """From now on all goes on."""
    _stop.clear()


def stop() -> None:
    """Let every thread of this process end its change at the next place where it is whole."""
    _stop.set()


def going_on(done: int, total: int | None) -> None:  # noqa: ARG001  the signature of progress
    """A progress callback that raises once all is to end."""
    if _stop.is_set():
        raise StoppedError("it was interrupted")
