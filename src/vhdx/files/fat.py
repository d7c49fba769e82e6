"""FAT12, FAT16 and FAT32 by libfsfat.

Where libfsfat is wrong: its times are a month late. They are read here, from the entries themselves. They
have no zone and are taken for UTC.
"""

from __future__ import annotations

import struct
from calendar import timegm

from vhdx.errors import FileSystemError
from vhdx.files.base import Entry, Kind
from vhdx.files.libyal import LibyalTree
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from types import ModuleType

    import pyfsfat

    from vhdx.files.base import Tell
    from vhdx.files.source import VolumeSource

_DIRECTORY, _READ_ONLY = 0x10, 0x01
_ENTRY_LENGTH = 32
_FAT_TIMES = struct.Struct("<13xBHHH2xHH")  # created: 10 ms, time, date; accessed: date; modified: time, date
_EXFAT_TIMES = struct.Struct("<8xIII5B7x")  # created, modified, accessed; 10 ms of the first two; three zones
_TEN_MS = 10**7
_QUARTER = 15 * 60 * 10**9


class Times(NamedTuple):
    """Nanoseconds since 1970, None where there is no such time."""

    created: int | None
    modified: int | None
    accessed: int | None


class FatTree(LibyalTree["pyfsfat.volume", "pyfsfat.file_entry"]):
    """Files of a FAT or exFAT."""

    is_windows = True

    def entry(self, handle: pyfsfat.file_entry, name: str) -> Entry:
        """A directory entry as an entry; the root has none, and no flags."""
        flags = handle.get_file_attribute_flags()
        if flags is None:
            return Entry(name, Kind.DIRECTORY, 0, handle.get_identifier(), handle=handle)
        kind = Kind.DIRECTORY if flags & _DIRECTORY else Kind.FILE
        place = handle.get_identifier()  # where the entry stands in the volume
        times = self._times(self.source.pread(_ENTRY_LENGTH, place))
        return Entry(
            name,
            kind,
            handle.get_size() if kind is Kind.FILE else 0,
            place,
            mode=0o444 if flags & _READ_ONLY and kind is Kind.FILE else None,
            modified=times.modified,
            accessed=times.accessed,
            created=times.created,
            handle=handle,
        )

    def _times(self, raw: bytes) -> Times:
        if len(raw) < _ENTRY_LENGTH:
            raise FileSystemError("a directory entry lies behind the end of the volume")
        return fat_times(raw)


def fat_times(raw: bytes) -> Times:
    """The times in a directory entry of FAT."""
    tens, created_time, created_date, accessed, modified_time, modified_date = _FAT_TIMES.unpack_from(raw)
    return Times(
        _nanoseconds(created_date, created_time, tens),
        _nanoseconds(modified_date, modified_time),
        _nanoseconds(accessed, 0),
    )


def exfat_times(raw: bytes) -> Times:
    """The times in a file entry of exFAT, zones taken off where they are said."""
    created, modified, accessed, created_tens, modified_tens, *zones = _EXFAT_TIMES.unpack_from(raw)
    stamps = ((created, created_tens), (modified, modified_tens), (accessed, 0))
    return Times(
        *(
            None if local is None else local - _zone(zone)
            for local, zone in zip(
                (_nanoseconds(stamp >> 16, stamp & 0xFFFF, tens) for stamp, tens in stamps),
                zones,
                strict=True,
            )
        )
    )


def _zone(zone: int) -> int:
    """How far a local time is ahead: bit 7 says whether that is known, the rest are signed quarters."""
    if not zone & 0x80:
        return 0
    quarters = zone & 0x7F
    return (quarters - 0x80 if quarters & 0x40 else quarters) * _QUARTER


def _nanoseconds(date: int, time: int, tens: int = 0) -> int | None:
    """A date of 7, 4 and 5 bits from 1980 on, a time of 5, 6 and 5 bits of two seconds; None for no date."""
    year, month, day = 1980 + (date >> 9), date >> 5 & 15, date & 31
    if not date or not 1 <= month <= 12 or not day:
        return None
    seconds = timegm((year, month, day, time >> 11, time >> 5 & 63, (time & 31) * 2, 0, 0, 0))
    return seconds * 10**9 + tens * _TEN_MS


def open_tree(library: ModuleType, source: VolumeSource, tell: Tell) -> FatTree:
    """The tree of a FAT or exFAT."""
    return FatTree(library.volume(), source, tell)
