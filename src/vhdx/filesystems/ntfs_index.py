"""The index of a directory of an NTFS: its names, and the root's searched for the file of hibernation."""

from __future__ import annotations

import struct
from codecs import utf_16_le_decode
from itertools import islice

from vhdx.filesystems.ntfs_record import (
    BITMAP,
    DATA,
    INDEX_ALLOCATION,
    INDEX_ROOT,
    NUMBER_MASK,
    damaged,
    fixed_up,
)
from vhdx.filesystems.ntfs_volume import ROOT
from vhdx.filesystems.reading import power_of_two
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.ntfs_volume import Stream, Value, Volume

_HIBERNATION_FILE = "hiberfil.sys"
_NEEDLE = _HIBERNATION_FILE.encode("utf-16-le")
_HIBERNATED = (b"hibr", b"HIBR")
_SHORTEST = 4096
"""A shorter file is one for a volume that another disk's Windows has kept."""

_NAMES = "$I30"
_ENTRY = struct.Struct("<QHHH")  # reference, length, length of the name attribute, flags
_LAST = 2
_NAME_AT, _NAME_LENGTH_AT = 82, 80
_NAMED = struct.Struct("<QH2xB59xI4xBB")
"""Reference, length, flags; those of the file, length and space of its name, which stands behind."""
_OF_DOS = 2
_LONGEST = 256 << 20
_PIECE = 64 << 10
"""How much of an index is read at once."""
_MOST = 8
"""Files of that name; more than one is possible where names differ in case only."""


def is_hibernated(volume: Volume) -> bool:
    """Whether a Windows hibernated on this volume, or keeps it for fast startup."""
    for reference in islice(_named(volume), _MOST):
        data = volume.stream(reference & NUMBER_MASK, DATA)
        if data.length < _SHORTEST or data.read(4, 0) in _HIBERNATED:
            return True
    return False


class Name(NamedTuple):
    """A name in a directory: which record it means, the flags of the file as the index has them.

    The low bits of the reference are the record's number, the high 16 its sequence number.
    """

    text: str
    reference: int
    flags: int

    @property
    def number(self) -> int:
        """The number of its record."""
        return self.reference & NUMBER_MASK


def names(volume: Volume, directory: int) -> Iterator[list[Name]]:
    """What stands in a directory, node by node, without names that are only for DOS.

    Raises NotFreeError at damage.
    """
    for node, header in _nodes(volume, directory):
        yield _names_in(node, header, directory)


def _names_in(node: bytes, header: int, directory: int) -> list[Name]:
    """The names in a node. Written for a hundred thousand of them: else `_entries` would do."""
    position, end = _reach(node, header, directory)
    found: list[Name] = []
    unpack, decode, new = _NAMED.unpack_from, utf_16_le_decode, tuple.__new__
    padded = node + bytes(_NAMED.size)
    while position + _ENTRY.size <= end:
        reference, length, last, flags, size, space = unpack(padded, position)
        if last & _LAST:
            break
        start, following = position + _NAME_AT, position + length
        stop = start + 2 * size
        if length < _ENTRY.size or length % 8 or following > end or (length > _NAME_AT and stop > following):
            raise damaged(f"directory {directory} has an illegal entry")
        if length > _NAME_AT and space != _OF_DOS:
            text, _ = decode(padded[start:stop], "surrogatepass")
            found.append(new(Name, (text, reference, flags)))
        position = following
    return found


def _named(volume: Volume) -> Iterator[int]:
    """References to files of that name, in all of the root's index that is in use."""
    for node, header in _nodes(volume, ROOT, _NEEDLE):
        for reference, position, length in _entries(node, header, ROOT):
            entry = node[position : position + length]
            if length > _NAME_AT:
                name = entry[_NAME_AT : _NAME_AT + 2 * entry[_NAME_LENGTH_AT]].decode("utf-16-le", "replace")
                if name.lower() == _HIBERNATION_FILE:
                    yield reference


def _nodes(volume: Volume, directory: int, needle: bytes = b"") -> Iterator[tuple[bytes, int]]:
    """The nodes of an index, and where in each its header stands; blocks only where they hold a needle."""
    root = volume.stream(directory, INDEX_ROOT, _NAMES)
    value = root.read(root.length, 0) if root.length <= 65536 else b""
    if len(value) < 32:
        raise damaged(f"directory {directory} has no index")
    yield value, 16
    (block_size,) = struct.unpack_from("<I", value, 8)
    if value[28] & 1:
        for block in _blocks(volume, directory, block_size):
            if not needle or needle in block.lower():
                yield block, 24


def _blocks(volume: Volume, directory: int, size: int) -> Iterator[bytes]:
    """The blocks of the index that are in use."""
    blocks = volume.stream(directory, INDEX_ALLOCATION, _NAMES)
    if not power_of_two(size, 512, 65536) or blocks.length > _LONGEST:
        raise damaged(f"directory {directory} has an index of an unknown shape")
    count, at_once = blocks.length // size, _PIECE // size
    in_use = _bitmap(volume, directory, count)
    for start in range(0, count, at_once):
        piece = range(start, min(start + at_once, count))
        data = blocks.read(len(piece) * size, start * size)
        for number in piece:
            if in_use[number >> 3] >> (number & 7) & 1:
                raw = data[(number - start) * size :][:size]
                yield fixed_up(raw, b"INDX", f"block {number} of directory {directory}")


def _bitmap(volume: Volume, directory: int, count: int) -> bytes:
    bitmap: Stream | Value = volume.stream(directory, BITMAP, _NAMES)
    length = -(-count // 8)
    if bitmap.length < length:
        raise damaged(f"directory {directory} has too short a bitmap")
    return bitmap.read(length, 0)


def _reach(node: bytes, header: int, directory: int) -> tuple[int, int]:
    """Where the entries of a node begin whose header stands at ``header``, and where they end."""
    first, used = struct.unpack_from("<II", node, header)
    if header + used > len(node):
        raise damaged(f"directory {directory} has a block that is longer than it can be")
    return header + first, header + used


def _entries(node: bytes, header: int, directory: int) -> Iterator[tuple[int, int, int]]:
    """The entries of a node: reference, place, length."""
    position, end = _reach(node, header, directory)
    while position + 16 <= end:
        reference, length, _, flags = _ENTRY.unpack_from(node, position)
        if flags & _LAST:
            return
        if length < 16 or length % 8 or position + length > end:
            raise damaged(f"directory {directory} has an illegal entry")
        yield reference, position, length
        position += length
