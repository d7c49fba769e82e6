"""The map file of GNU ddrescue: which ranges of a copy are done, failed, or still to be tried.

A line of the current position, then one line a range: position, size and a character for its status. Both
programs write it, so that each can go on where the other stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vhdx.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

DONE, FAILED, UNTRIED = "+", "-", "?"
_STATUSES = frozenset("?*/-+")
_CURRENT_STATUSES = frozenset("?*/-FG+")
LONGEST = 64 * 1024 * 1024
"""Bytes of a map that are read: a million ranges."""


class MapRange(NamedTuple):
    """A range in bytes. Where ddrescue failed, but not yet in each sector, it says ``*`` or ``/``."""

    offset: int
    length: int
    status: str

    @property
    def end(self) -> int:
        """The offset just behind it."""
        return self.offset + self.length


def pack(ranges: Iterable[MapRange], position: int) -> str:
    """The text of a map; ``position`` is how far the copy came."""
    rows = list(ranges)
    finished = all(row.status in (DONE, FAILED) for row in rows)
    lines = [
        f"# Mapfile. Created by vhdx {__version__}",
        "# current_pos  current_status  current_pass",
        f"{position:#010x}     {DONE if finished else UNTRIED}               1",
        "#      pos        size  status",
        *(f"{row.offset:#010x}  {row.length:#010x}  {row.status}" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def unpack(text: str) -> list[MapRange]:
    """The ranges of a map, in order. Raises ValueError for what is none."""
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines or len(lines[0]) not in (2, 3) or lines[0][1] not in _CURRENT_STATUSES:
        raise ValueError("it has no line of the current position")
    ranges: list[MapRange] = []
    for words in lines[1:]:
        if len(words) != 3 or words[2] not in _STATUSES:
            raise ValueError(f"the line {' '.join(words)[:80]!r} is no range")
        row = MapRange(int(words[0], 0), int(words[1], 0), words[2])
        if row.length <= 0 or row.offset != (ranges[-1].end if ranges else row.offset) or row.offset < 0:
            raise ValueError(f"the range at {row.offset} does not follow the one before it")
        ranges.append(row)
    return ranges
