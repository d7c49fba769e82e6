"""Whether a thread waits for the host's disk: only then are several reads at once worth their threads."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from resource import RUSAGE_THREAD, getrusage


class DiskWatch:
    """What the host's disk gave to the thread that asks, always the same one; nothing where no host tells.

    The clock would not do: on a busy machine it tells of other programs.
    """

    def __init__(self) -> None:
        self._blocks = 0

    def has_waited(self) -> bool:
        """Whether anything that this thread read since it asked last was not in the host's memory."""
        if sys.platform != "linux":
            return False
        before, self._blocks = self._blocks, getrusage(RUSAGE_THREAD).ru_inblock
        return self._blocks != before
