"""Access control lists as Linux gives them to programs, from the forms in which ext4 and XFS store them."""

from __future__ import annotations

import struct

from vhdx.errors import FileSystemError

_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")  # tag, permissions, who
_VERSION = 2
_NAMED = (0x02, 0x08)
"""Tags of entries for a user or a group that is named."""
_NOBODY = 0xFFFFFFFF

_EXT_SHORT = struct.Struct("<HH")
_EXT_VERSION = 1
_XFS_COUNT = struct.Struct(">I")
_XFS_ENTRY = struct.Struct(">IIHxx")  # tag, who, permissions


def from_ext(stored: bytes) -> bytes:
    """A list of ext2, ext3 and ext4, which leaves out who where nobody is named."""
    if len(stored) < _HEADER.size or _HEADER.unpack_from(stored)[0] != _EXT_VERSION:
        raise FileSystemError("an access control list is of an unknown version")
    found = [_HEADER.pack(_VERSION)]
    position = _HEADER.size
    while position < len(stored):
        tag = int.from_bytes(stored[position : position + 2], "little")
        length = _ENTRY.size if tag in _NAMED else _EXT_SHORT.size
        if position + length > len(stored):
            raise FileSystemError("an access control list is cut off")
        _, permissions = _EXT_SHORT.unpack_from(stored, position)
        who = int.from_bytes(stored[position + 4 : position + 8], "little") if tag in _NAMED else _NOBODY
        found.append(_ENTRY.pack(tag, permissions, who))
        position += length
    return b"".join(found)


def from_xfs(stored: bytes) -> bytes:
    """A list of XFS, which is big-endian and counted."""
    if len(stored) < _XFS_COUNT.size:
        raise FileSystemError("an access control list is cut off")
    (count,) = _XFS_COUNT.unpack_from(stored)
    if len(stored) < _XFS_COUNT.size + count * _XFS_ENTRY.size:
        raise FileSystemError("an access control list is cut off")
    found = [_HEADER.pack(_VERSION)]
    for index in range(count):
        tag, who, permissions = _XFS_ENTRY.unpack_from(stored, _XFS_COUNT.size + index * _XFS_ENTRY.size)
        found.append(_ENTRY.pack(tag, permissions, who if tag in _NAMED else _NOBODY))
    return b"".join(found)
