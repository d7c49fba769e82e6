"""File records of NTFS as entries, many at once.

libfsntfs opens each for itself, which takes several times as long; it gets what is not plain here: what has a
reparse point, attributes in other records, or a shape that Windows does not make.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from vhdx.files.base import Entry, Kind
from vhdx.files.ntfs_reparse import NONE
from vhdx.filesystems.ntfs_record import ATTRIBUTE_LIST, DATA, END, NUMBER_MASK, STRIDE
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyfsntfs

    from vhdx.files.ntfs_reparse import Reparse
    from vhdx.filesystems.ntfs_index import Name
    from vhdx.filesystems.ntfs_volume import Volume

REPARSE_POINT, FILE_NAME = 0xC0, 0x30
READ_ONLY, REPARSE, DOS = 0x1, 0x400, 2
_EPOCH = 11644473600 * 10**9
"""From 1601 to 1970, in nanoseconds."""
_PAGE = 64 << 10
_MOST_PAGES = 64
_SEQUENCE_AT = 0x30
"""Where whoever writes records as Windows XP did, all of today's, keeps what the ends of sectors held."""
_HEAD = "<8s8xH2xHHI4xQ{}xIIBB6xIH2xQQQQI"
"""Magic with place and number of fix-ups, sequence, first attribute, flags, bytes in use, base; then
$STANDARD_INFORMATION: type, length, whether it stands elsewhere, length of its name, length and offset of the
value; the value: made, modified, changed, accessed, flags."""
_HEAD_LENGTH = 40
_STANDARD_INFORMATION, _VALUE_AT = 0x10, 24
_LEAST = 36
_ATTRIBUTE = struct.Struct("<IIBB6xIHH24xq")
"""Type, length, whether it stands elsewhere, length of its name; then of one that does not the length and the
offset of its value, of one that does three parts of its first cluster's number, and its size."""
_SHORTEST, _END_LENGTH = 24, 8
_IN_USE, _IS_DIRECTORY = 1, 2
SPACE_AT = 65
_NOT_PLAIN = frozenset({ATTRIBUTE_LIST, REPARSE_POINT})


class Kept(NamedTuple):
    """What an entry keeps: libfsntfs's object if it is open, the file's flags, its reparse point."""

    record: pyfsntfs.file_entry | None
    flags: int
    reparse: Reparse
    may_have_streams: bool


def nanoseconds(stamp: int | None) -> int | None:
    """A time of Windows as one of here; None where there is none."""
    return None if not stamp else stamp * 100 - _EPOCH


class Records:
    """Entries by the numbers of their records, read a page of their table at once; some pages are kept."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._size = volume.boot.record_size
        self._count = min(volume.mft.length, volume.mft.initialised) // self._size
        self._per_page = max(1, _PAGE // self._size)
        self._pages: dict[int, bytes] = {}
        fixes = self._size // STRIDE + 1
        self._begins = b"FILE" + struct.pack("<HH", _SEQUENCE_AT, fixes)
        self._first = _SEQUENCE_AT + 2 * fixes + 7 & ~7
        self._head = struct.Struct(_HEAD.format(self._first - _HEAD_LENGTH)).unpack_from

    def entries(self, names: Iterable[Name]) -> list[Entry | None]:
        """The files and directories of names, to be opened by number; None for what is not that plain.

        Raises NotFreeError, and what reading raises.
        """
        found: list[Entry | None] = []
        page, first, end, size = b"", 0, 0, self._size
        for text, reference, _ in names:
            number = reference & NUMBER_MASK
            if not first <= number < end:
                if number >= self._count:
                    found.append(None)
                    continue
                first = number - number % self._per_page
                page = self._page(first)
                end = first + len(page) // size
            found.append(self._entry(page, (number - first) * size, text, reference))
        return found

    def _entry(self, page: bytes, start: int, name: str, reference: int) -> Entry | None:
        """A record as an entry; None for one that is not plain. Written for a hundred thousand of them."""
        (
            beginning, sequence, position, flags, used, base,
            kind, length, elsewhere, name_length, value_length, offset,
            made, modified, changed, accessed, file_flags,
        ) = self._head(page, start)  # fmt: skip
        if (
            beginning != self._begins
            or position != self._first
            or base
            or used > self._size
            or not flags & _IN_USE
            or (reference >> 48 != sequence and reference >> 48)
            or kind != _STANDARD_INFORMATION
            or elsewhere
            or name_length
            or offset != _VALUE_AT
            or value_length < _LEAST
            or file_flags & REPARSE
        ):
            return None
        parts = _parts(page, start + position + length, start + used)
        if parts is None:
            return None
        links, contents, has_streams = parts
        if flags & _IS_DIRECTORY:
            kind_of_it, contents, links, mode = Kind.DIRECTORY, 0, 1, None
        elif contents < 0:
            return None
        else:
            kind_of_it, mode = Kind.FILE, 0o444 if file_flags & READ_ONLY else None
        fields = (
            name,
            kind_of_it,
            contents,
            reference & NUMBER_MASK,
            links,
            mode,
            None,
            None,
            modified * 100 - _EPOCH if modified else None,
            accessed * 100 - _EPOCH if accessed else None,
            changed * 100 - _EPOCH if changed else None,
            made * 100 - _EPOCH if made else None,
            None,
            None,
            _kept(file_flags, has_streams),
        )
        return tuple.__new__(Entry, fields)

    def _page(self, first: int) -> bytes:
        page = self._pages.get(first)
        if page is None:
            if len(self._pages) >= _MOST_PAGES:
                self._pages.clear()
            count = min(self._per_page, self._count - first)
            page = _fixed_up(self._volume.mft.read(count * self._size, first * self._size), self._size)
            self._pages[first] = page
        return page


def _fixed_up(raw: bytes, size: int) -> bytes:
    """Records as they were before they were written; those that were not written whole, without a magic.

    All records of a page at once, as if the sequence stood in the same place in all of them; who reads one
    looks whether it does.
    """
    page = bytearray(raw)
    for sector in range(1, size // STRIDE + 1):
        for byte in (0, 1):
            ends = slice(sector * STRIDE - 2 + byte, None, size)
            marks = raw[_SEQUENCE_AT + byte :: size]
            if raw[ends] != marks:
                for number, (there, mark) in enumerate(zip(raw[ends], marks, strict=True)):
                    if there != mark:
                        page[number * size : number * size + 4] = bytes(4)
            page[ends] = raw[_SEQUENCE_AT + 2 * sector + byte :: size]
    return bytes(page) + bytes(_ATTRIBUTE.size)


def _parts(page: bytes, position: int, end: int) -> tuple[int, int, bool] | None:
    """How many names are not only for DOS, the size, whether there are streams; None if it is not plain."""
    links, contents, has_streams = 0, -1, False
    unpack = _ATTRIBUTE.unpack_from
    while position + _END_LENGTH < end:
        kind, length, elsewhere, name_length, low, middle, high, size = unpack(page, position)
        following = position + length
        if kind == END:
            break
        if length < _SHORTEST or length % 8 or following > end or kind in _NOT_PLAIN:
            return None
        if kind == FILE_NAME:
            if elsewhere or middle + SPACE_AT >= length:
                return None
            links += page[position + middle + SPACE_AT] != DOS
        elif kind == DATA and name_length:
            has_streams = True
        elif kind == DATA:
            if elsewhere and (low or middle or high or size < 0 or length < _ATTRIBUTE.size):
                return None
            contents = size if elsewhere else low
        position = following
    return links, contents, has_streams


@lru_cache(maxsize=256)
def _kept(flags: int, has_streams: bool) -> Kept:
    return Kept(None, flags, NONE, has_streams)
