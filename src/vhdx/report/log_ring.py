"""The log of an image in sectors of a circle: what stands in each."""

from __future__ import annotations

from typing import NamedTuple

from vhdx.ops.log import open_log

SECTORS = 120
"""Parts of the circle."""
_GRAVEST = ("", "stale", "applied", "orphan", "active", "damaged")
"""What a sector is that has several: the last of these."""


class LogRing(NamedTuple):
    """A log: its state, its length in bytes, what stands in each of `SECTORS`, entries by state."""

    state: str
    length: int
    sectors: list[str]
    entries: dict[str, int]
    obstacle: str | None


def log_ring(path: str, *, lock: bool = True) -> LogRing:
    """Look at the log. Raises what opening a log raises."""
    with open_log(path, lock=lock) as log:
        sectors, entries = [""] * SECTORS, dict.fromkeys(_GRAVEST[1:], 0)
        for entry in log.entries:
            entries[entry.state] += 1
            first = entry.position * SECTORS // log.length
            last = (entry.position + max(1, min(entry.length, log.length)) - 1) * SECTORS // log.length
            for sector in range(first, min(last, first + SECTORS - 1) + 1):
                at = sector % SECTORS
                sectors[at] = max(sectors[at], entry.state, key=_GRAVEST.index)
        return LogRing(log.state, log.length, sectors, entries, log.obstacle)
