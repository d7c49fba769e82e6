"""The parent locator: keys and values that say which file is the parent [MS-VHDX 2.6.2.6]."""

from __future__ import annotations

import struct
from uuid import UUID

from vhdx.format import fields, guids
from vhdx.text import quoted
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PARENT_LINKAGE = "parent_linkage"
PARENT_LINKAGE2 = "parent_linkage2"
RELATIVE_PATH = "relative_path"
VOLUME_PATH = "volume_path"
ABSOLUTE_WIN32_PATH = "absolute_win32_path"
PATH_KEYS = (RELATIVE_PATH, VOLUME_PATH, ABSOLUTE_WIN32_PATH)
"""The keys that name a place, in the order in which the specification has them tried."""

_HEADER = struct.Struct("<16s2xH")
_ENTRY = struct.Struct("<IIHH")
assert _HEADER.size == 16 + 2 + 2
assert _ENTRY.size == 4 + 4 + 2 + 2

HEADER_FIELDS = fields.table(
    ("locator type", 16, fields.guid), ("reserved", 2, fields.reserved), ("key value count", 2, fields.number)
)
ENTRY_FIELDS = fields.table(
    ("key offset", 4, fields.number),
    ("value offset", 4, fields.number),
    ("key length", 2, fields.number),
    ("value length", 2, fields.number),
)
_EXCERPT_SIZE = 512
_LONGEST_VALUE = 0xFFFF
HEADER_SIZE, ENTRY_SIZE = _HEADER.size, _ENTRY.size
assert fields.length(HEADER_FIELDS) == HEADER_SIZE
assert fields.length(ENTRY_FIELDS) == ENTRY_SIZE


class MalformedLocatorError(ValueError):
    """A locator breaks a rule; ``offset`` is where, in bytes from the start of the item."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def locator_type(item: bytes) -> UUID | None:
    """The type that says how to read the rest; None if the item is too short to have one."""
    return UUID(bytes_le=item[:16]) if len(item) >= _HEADER.size else None


def unpack(item: bytes) -> dict[str, str]:
    """The keys and values of a locator of the VHDX type, in their order.

    Raises MalformedLocatorError for entries outside the item, empty or undecodable strings, strings with
    a NUL inside, and keys that stand twice.
    """
    values: dict[str, str] = {}
    total = 0
    for offset, (key_offset, value_offset, key_length, value_length) in _rows(item):
        total += key_length + value_length
        if total > len(item):
            # Entries that share bytes would make 1 MiB of item into gigabytes of text.
            raise MalformedLocatorError("keys and values are together longer than the item", offset)
        key = _string(item, key_offset, key_length, offset, "key")
        if key in values:
            raise MalformedLocatorError(f"the key '{quoted(key)}' stands twice", offset)
        values[key] = _string(item, value_offset, value_length, offset, f"value of '{quoted(key)}'")
    return values


def _rows(item: bytes) -> Iterator[tuple[int, tuple[int, int, int, int]]]:
    count = _HEADER.unpack_from(item)[1]
    end = _HEADER.size + count * _ENTRY.size
    if end > len(item):
        raise MalformedLocatorError(f"{count} entries need {end} bytes, the item has {len(item)}", 18)
    for offset in range(_HEADER.size, end, _ENTRY.size):
        yield offset, _ENTRY.unpack_from(item, offset)


def entries(item: bytes) -> Iterator[tuple[int, str, str]]:
    """(offset of the entry in the item, key, value) of all entries that there are, whatever they are.

    For looking inside: long texts are cut, what is no text is replaced.
    """
    for at in range(_HEADER.size, len(item) - _ENTRY.size + 1, _ENTRY.size):
        if at >= _HEADER.size + _HEADER.unpack_from(item)[1] * _ENTRY.size:
            return
        key_offset, value_offset, key_length, value_length = _ENTRY.unpack_from(item, at)
        yield at, _excerpt(item, key_offset, key_length), _excerpt(item, value_offset, value_length)


def length_at(data: bytes, offset: int) -> int | None:
    """How long a locator of the VHDX type is that begins at ``offset``; None if it is none."""
    item = data[offset:]
    try:
        ends = [max(k + length, v + width) for _, (k, v, length, width) in _rows(item)]
        end = max(ends, default=0)
        unpack(item[:end])
    except (MalformedLocatorError, struct.error):
        return None
    return end


def _excerpt(item: bytes, start: int, length: int) -> str:
    return item[start : start + min(length, _EXCERPT_SIZE)].decode("utf-16-le", errors="replace")


def _string(item: bytes, start: int, length: int, entry_offset: int, what: str) -> str:
    if start == 0 or length == 0 or start + length > len(item):
        raise MalformedLocatorError(
            f"{what}: {length} bytes at offset {start} do not lie inside the item of {len(item)} bytes",
            entry_offset,
        )
    try:
        text = item[start : start + length].decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise MalformedLocatorError(f"{what} is not UTF-16: {error.reason}", entry_offset) from error
    if "\0" in text:
        raise MalformedLocatorError(f"{what} has a NUL inside", entry_offset)
    return text


def pack(values: Mapping[str, str]) -> bytes:
    """A locator of the VHDX type with these keys and values, each key followed by its value.

    Raises ValueError for a value that is no text, or longer than its field can say: 65535 bytes of UTF-16.
    """
    rows, strings = [], b""
    position = _HEADER.size + len(values) * _ENTRY.size
    for key, value in values.items():
        packed_key, packed_value = key.encode("utf-16-le"), _packed(value)
        key_offset = position + len(strings)
        strings += packed_key + packed_value
        rows.append(_ENTRY.pack(key_offset, key_offset + len(packed_key), len(packed_key), len(packed_value)))
    header = _HEADER.pack(guids.VHDX_PARENT_LOCATOR.bytes_le, len(rows))
    return header + b"".join(rows) + strings


def _packed(value: str) -> bytes:
    try:
        packed = value.encode("utf-16-le")
    except UnicodeEncodeError:  # names of files need not be text
        packed = None
    if packed is None or len(packed) > _LONGEST_VALUE:
        raise ValueError(f"the parent's path '{quoted(value)}' cannot be written into an image")
    return packed
