"""One file record of an NTFS: fix-ups, attributes, run lists, entries of attribute lists.

For the few records that are read one by one. `ntfs_claims` does the same for all of them at once.
"""

from __future__ import annotations

import struct

from vhdx.filesystems.base import NotFreeError
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

STRIDE = 512
"""The last two bytes of this many are replaced when a record is written, whatever the sector size."""

ATTRIBUTE_LIST, VOLUME_NAME, VOLUME_INFORMATION, DATA, INDEX_ROOT, INDEX_ALLOCATION, BITMAP = (
    0x20, 0x60, 0x70, 0x80, 0x90, 0xA0, 0xB0,
)  # fmt: skip
END = 0xFFFFFFFF
NUMBER_MASK = (1 << 48) - 1
"""The low bits of a reference are the number of a record, the high 16 its sequence number."""

_COMMON = struct.Struct("<IIBBHHH")  # type, length, non-resident, name length, name offset, flags, instance
_RESIDENT = struct.Struct("<IH")  # at 16: length, offset
_STORED = struct.Struct(
    "<qqHHIqqq"
)  # at 16: VCNs first and last, runs, unit, -, allocated, length, initialised
_LISTED = struct.Struct("<IHBBqQ")  # type, length, name length, name offset, first VCN, reference
_STORED_LENGTH = 64

ADVICE = "run chkdsk in Windows, then shut it down"

Runs = list[tuple[int, int | None]]
"""(clusters, first cluster), the latter None where nothing is stored."""


class Attribute(NamedTuple):
    """``value`` is None where it stands in clusters; then ``runs`` hold VCNs from ``first`` on."""

    type: int
    name: str
    flags: int
    value: bytes | None
    first: int
    runs: Runs
    length: int
    initialised: int


class Listed(NamedTuple):
    """An entry of an attribute list: which record holds the part of an attribute from VCN ``first`` on."""

    type: int
    name: str
    first: int
    reference: int


def damaged(what: str) -> NotFreeError:
    """The error for what is not as it must be, with what helps."""
    return NotFreeError(f"{what}: {ADVICE}")


def fixed_up(raw: bytes, magic: bytes, what: str) -> bytes:
    """A record as it was before it was written. Raises NotFreeError unless it was written whole."""
    if raw[:4] != magic:
        raise damaged(f"{what} does not begin with {magic.decode()}")
    offset, count = struct.unpack_from("<HH", raw, 4)
    if count != len(raw) // STRIDE + 1 or offset % 2 or offset < 8 or offset + 2 * count > STRIDE - 2:
        raise damaged(f"{what} has an illegal update sequence")
    record, saved, end = bytearray(raw), offset + 2, offset + 2 * count
    for byte in (0, 1):  # all low bytes at once, then all high ones
        ends = slice(STRIDE - 2 + byte, None, STRIDE)
        if raw[ends] != raw[offset + byte : offset + byte + 1] * (count - 1):
            raise damaged(f"{what} was not written whole")
        record[ends] = raw[saved + byte : end : 2]
    return bytes(record)


def attributes(record: bytes, what: str) -> Iterator[Attribute]:
    """The attributes of a record after its fix-ups. Raises NotFreeError where they leave it."""
    (position,) = struct.unpack_from("<H", record, 20)
    (used,) = struct.unpack_from("<I", record, 24)
    if used > len(record):
        raise damaged(f"{what} says that it is longer than it can be")
    while position + 4 <= used and record[position : position + 4] != b"\xff" * 4:
        length = int.from_bytes(record[position + 4 : position + 8], "little")
        if length < 24 or length % 8 or position + length > used:
            raise damaged(f"{what} has an attribute that leaves it")
        yield _attribute(record[position : position + length], what)
        position += length


def _attribute(data: bytes, what: str) -> Attribute:
    type_, _, stored, name_length, name_offset, flags, _ = _COMMON.unpack_from(data)
    name = data[name_offset : name_offset + 2 * name_length].decode("utf-16-le", "replace")
    if not stored:
        length, offset = _RESIDENT.unpack_from(data, 16)
        if offset + length > len(data):
            raise damaged(f"{what} has a value that leaves its attribute")
        return Attribute(type_, name, flags, data[offset : offset + length], 0, [], length, length)
    if len(data) < _STORED_LENGTH:
        raise damaged(f"{what} has an attribute that is too short")
    first, last, offset, _, _, _, length, initialised = _STORED.unpack_from(data, 16)
    runs = decoded(data[offset:], what)
    if offset < _STORED_LENGTH or first < 0 or sum(count for count, _ in runs) != last - first + 1:
        raise damaged(f"{what} has a run list that contradicts its size")
    return Attribute(type_, name, flags, None, first, runs, length, initialised)


def decoded(pairs: bytes, what: str) -> Runs:
    """A run list: each run begins with the lengths of its two numbers, the second relative and signed."""
    runs: Runs = []
    position = cluster = 0
    while position < len(pairs) and pairs[position]:
        middle = position + 1 + (pairs[position] & 15)
        end = middle + (pairs[position] >> 4)
        count = int.from_bytes(pairs[position + 1 : middle], "little", signed=True)
        if end > len(pairs) or count <= 0:
            raise damaged(f"{what} has an illegal run list")
        cluster += int.from_bytes(pairs[middle:end], "little", signed=True)
        runs.append((count, cluster if end > middle else None))
        position = end
    return runs


def listed(value: bytes, what: str) -> Iterator[Listed]:
    """The entries of an attribute list."""
    position = 0
    while position + _LISTED.size <= len(value):
        type_, length, name_length, name_offset, first, reference = _LISTED.unpack_from(value, position)
        if length < _LISTED.size or position + length > len(value):
            raise damaged(f"{what} has an illegal attribute list")
        name = value[position + name_offset : position + name_offset + 2 * name_length]
        yield Listed(type_, name.decode("utf-16-le", "replace"), first, reference)
        position += length
