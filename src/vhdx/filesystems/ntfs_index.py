"""The root directory of an NTFS, searched for the file in which Windows hibernates."""

from __future__ import annotations

import struct
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
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.ntfs_volume import Stream, Value, Volume

_HIBERNATION_FILE = "hiberfil.sys"
_NEEDLE = _HIBERNATION_FILE.encode("utf-16-le")
_HIBERNATED = (b"hibr", b"HIBR")
_SHORTEST = 4096
"""A shorter file is one for a volume that another disk's Windows has kept."""

_NAMES = "$I30"
_WHAT = "the root directory"
_ENTRY = struct.Struct("<QHHH")  # reference, length, length of the name attribute, flags
_LAST = 2
_NAME_AT, _NAME_LENGTH_AT = 82, 80
_LONGEST = 256 << 20
_MOST = 8
"""Files of that name; more than one is possible where names differ in case only."""


def is_hibernated(volume: Volume) -> bool:
    """Whether a Windows hibernated on this volume, or keeps it for fast startup."""
    for reference in islice(_named(volume), _MOST):
        data = volume.stream(reference & NUMBER_MASK, DATA)
        if data.length < _SHORTEST or data.read(4, 0) in _HIBERNATED:
            return True
    return False


def _named(volume: Volume) -> Iterator[int]:
    """References to files of that name, in all of the index that is in use."""
    root = volume.stream(ROOT, INDEX_ROOT, _NAMES)
    value = root.read(root.length, 0) if root.length <= 65536 else b""
    if len(value) < 32:
        raise damaged(f"{_WHAT} has no index")
    yield from _matching(value, 16)
    (block_size,) = struct.unpack_from("<I", value, 8)
    if value[28] & 1:
        for block in _blocks(volume, block_size):
            yield from _matching(block, 24)


def _blocks(volume: Volume, size: int) -> Iterator[bytes]:
    """The blocks of the index that are in use and may hold the name."""
    blocks = volume.stream(ROOT, INDEX_ALLOCATION, _NAMES)
    if not power_of_two(size, 512, 65536) or blocks.length > _LONGEST:
        raise damaged(f"{_WHAT} has an index of an unknown shape")
    in_use = _bitmap(volume, blocks.length // size)
    for number in range(blocks.length // size):
        if in_use[number >> 3] >> (number & 7) & 1:
            raw = blocks.read(size, number * size)
            block = fixed_up(raw, b"INDX", f"block {number} of {_WHAT}")
            if _NEEDLE in block.lower():
                yield block


def _bitmap(volume: Volume, count: int) -> bytes:
    bitmap: Stream | Value = volume.stream(ROOT, BITMAP, _NAMES)
    length = -(-count // 8)
    if bitmap.length < length:
        raise damaged(f"{_WHAT} has too short a bitmap")
    return bitmap.read(length, 0)


def _matching(node: bytes, header: int) -> Iterator[int]:
    """References of entries with the name in a node whose header stands at ``header``."""
    first, used = struct.unpack_from("<II", node, header)
    position, end = header + first, header + used
    if end > len(node):
        raise damaged(f"{_WHAT} has a block that is longer than it can be")
    while position + 16 <= end:
        reference, length, _, flags = _ENTRY.unpack_from(node, position)
        if flags & _LAST:
            return
        if length < 16 or length % 8 or position + length > end:
            raise damaged(f"{_WHAT} has an illegal entry")
        entry = node[position : position + length]
        if length > _NAME_AT:
            name = entry[_NAME_AT : _NAME_AT + 2 * entry[_NAME_LENGTH_AT]].decode("utf-16-le", "replace")
            if name.lower() == _HIBERNATION_FILE:
                yield reference
        position += length
