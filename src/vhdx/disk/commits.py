"""Commits by themselves: what a crash can take is bounded by time, whether somebody flushes or not."""

from __future__ import annotations

import threading
import weakref
from typing import Protocol

from vhdx.errors import VhdxError

_LONGEST = 86400.0
"""Seconds: a day. Whoever wants to wait longer wants 0."""


class Flushed(Protocol):
    """What can be made durable."""

    def flush(self) -> None:
        """Return when everything written before is durable."""


def check_interval(seconds: float) -> None:
    """Raise ValueError for what is no number of seconds between commits."""
    if not 0 <= seconds <= _LONGEST:
        raise ValueError(f"commit_interval is {seconds}, must be 0 (only on flush) to {_LONGEST:.0f} seconds")


class Commits:
    """A thread that flushes a disk every so many seconds, until it is stopped, closed, forgotten or failed.

    A flush with nothing to do costs nothing. The thread does not keep the disk alive. It needs no waiting
    for: a commit that runs holds the lock that closing takes, and one that comes too late is refused.
    """

    def __init__(self, disk: Flushed, seconds: float) -> None:
        self._ended = threading.Event()
        arguments = (weakref.ref(disk), seconds, self._ended)
        threading.Thread(target=_commit_often, args=arguments, name="vhdx-commits", daemon=True).start()

    def stop(self) -> None:
        """Let no further commit begin. Waits for nothing."""
        self._ended.set()


def _commit_often(disk: weakref.ref[Flushed], seconds: float, ended: threading.Event) -> None:
    while not ended.wait(seconds):
        alive = disk()
        if alive is None or not _committed(alive):
            return
        del alive  # else it would live until the next commit


def _committed(disk: Flushed) -> bool:
    """Flush; whether there is any sense in doing it again."""
    try:
        disk.flush()
    except (VhdxError, ValueError):  # it has failed for good, as its next caller is told, or it is closed
        return False
    except (OSError, MemoryError):
        # Either for good, which the next turn finds out, or nothing has begun: on a full host everything is
        # still there to be committed, and whoever flushes is told.
        return True
    return True
