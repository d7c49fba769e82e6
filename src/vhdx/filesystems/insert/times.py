"""Times as FAT and exFAT keep them: dates from 1980 to 2107, times in steps of two seconds and of 10 ms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 10**9
_FIRST = int(datetime(1980, 1, 1, tzinfo=UTC).timestamp()) * _SECOND
_LAST = int(datetime(2108, 1, 1, tzinfo=UTC).timestamp()) * _SECOND - 1


class Packed(NamedTuple):
    """A date, a time, and how many steps of 10 ms it is later than these."""

    date: int
    time: int
    tens: int

    @property
    def stamp(self) -> int:
        """Date and time in one, as exFAT has them."""
        return self.date << 16 | self.time


def packed(nanoseconds: int) -> Packed:
    """A time since 1970, taken to the nearest that can be kept; in UTC."""
    seconds, rest = divmod(max(_FIRST, min(nanoseconds, _LAST)), _SECOND)
    when = _EPOCH + timedelta(seconds=seconds)
    return Packed(
        (when.year - 1980) << 9 | when.month << 5 | when.day,
        when.hour << 11 | when.minute << 5 | when.second // 2,
        when.second % 2 * 100 + rest // 10_000_000,
    )
