"""The log of XFS: whether the last record in it says that the file system was unmounted."""

from __future__ import annotations

from vhdx.filesystems.area import big_number as big
from vhdx.filesystems.base import NotFreeError
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdx.filesystems.area import Area

SECTOR = 512
"""The log counts in these, whatever the sectors of the disk."""
_HEADER_MAGIC = 0xFEEDBABE
_LONGEST_RECORD = 520
"""Sectors: 256 KiB of data and their headers."""
_DATA_OF_A_HEADER = 32768
_UNMOUNT = 0x20
_DIRTY = "its log holds changes that were not finished: mount and unmount it once, which replays them"
_PIECE = 1 << 20


class Log(NamedTuple):
    """Where the log stands, in bytes, and whose it is."""

    area: Area
    offset: int
    length: int
    uuid: bytes

    @property
    def sectors(self) -> int:
        """How many sectors it has."""
        return self.length // SECTOR


def check_unmounted(log: Log) -> int:
    """Raise NotFreeError unless the record before the head is the one of an unmount. Returns the head.

    Reads a few sectors: the head is looked for in halves, as if the log were sound; `check_cycles` tells
    whether it is.
    """
    head = _head(log)
    start, header = _last_record(log, head)
    size = big(header, 320, 4)
    headers = -(-size // _DATA_OF_A_HEADER) if big(header, 8, 4) & 2 and size > _DATA_OF_A_HEADER else 1
    behind = start + headers + -(-big(header, 12, 4) // SECTOR)
    if header[304:320] not in (log.uuid, bytes(16)):
        raise NotFreeError("its log belongs to another file system")
    if behind % log.sectors != head or big(header, 40, 4) != 1:
        raise NotFreeError(_DIRTY)
    operation = _sector(log, (start + headers) % log.sectors)
    if not operation[9] & _UNMOUNT:
        raise NotFreeError(_DIRTY)
    return head


def check_cycles(log: Log, head: int) -> None:
    """Raise NotFreeError unless all sectors before the head are of one cycle, all others of an older one.

    Reads the whole log.
    """
    import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

    first = _cycle(_sector(log, 0))
    older = _cycle(_sector(log, head)) if head else first
    if head and older >= first:
        raise NotFreeError("the cycles of its log rise")
    for at in range(0, log.length, _PIECE):
        length = min(_PIECE, log.length - at)
        words = np.frombuffer(log.area.bytes_at(log.offset + at, length), ">u4").reshape(-1, SECTOR // 4)
        cycles = np.where(words[:, 0] == _HEADER_MAGIC, words[:, 1], words[:, 0])
        cut = head - at // SECTOR if head else len(cycles)
        if (cycles[: max(cut, 0)] != first).any() or (cycles[max(cut, 0) :] != older).any():
            raise NotFreeError("its log has more than one end: mount and unmount it once")


def _sector(log: Log, number: int) -> bytes:
    return log.area.bytes_at(log.offset + number * SECTOR, SECTOR)


def _cycle(sector: bytes) -> int:
    """Which time round the log a sector was written."""
    return big(sector, 4, 4) if big(sector, 0, 4) == _HEADER_MAGIC else big(sector, 0, 4)


def _head(log: Log) -> int:
    """The sector behind the last one written: the first of an older cycle, 0 where there is none."""
    first = _cycle(_sector(log, 0))
    if _cycle(_sector(log, log.sectors - 1)) == first:
        return 0
    return _first_where(lambda sector: _cycle(_sector(log, sector)) != first, 1, log.sectors - 1)


def _first_where(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The first of the numbers up to ``high`` for which it holds; it does for ``high`` and all behind."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _last_record(log: Log, head: int) -> tuple[int, bytes]:
    """The nearest header of a record before the head, going round: its sector, and the header."""
    end = head or log.sectors
    count = min(_LONGEST_RECORD, end)
    data = log.area.bytes_at(log.offset + (end - count) * SECTOR, count * SECTOR)
    if head and count < min(_LONGEST_RECORD, log.sectors):
        more = min(_LONGEST_RECORD, log.sectors) - count
        data = log.area.bytes_at(log.offset + (log.sectors - more) * SECTOR, more * SECTOR) + data
        count += more
    for back in range(1, count + 1):
        header = data[(count - back) * SECTOR :][:SECTOR]
        if big(header, 0, 4) == _HEADER_MAGIC:
            return (end - back) % log.sectors, header
    raise NotFreeError("its log has no record before its end")
