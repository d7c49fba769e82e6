"""What macOS asks by calls of its own: holes, space, devices. By its documentation; tests fake its calls."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys

assert sys.platform != "win32"

_F_PREALLOCATE = 42
_F_PUNCHHOLE = 99
_ALLOCATE_ALL = 4
_FROM_END_OF_SPACE = 3
_BLOCK = 4096
"""What holes must begin and end at multiples of: the blocks of APFS."""
_HOLE = struct.Struct("=IIqq")  # fpunchhole_t: flags, reserved, offset, length
_STORE = struct.Struct("=Iiqqq")  # fstore_t: flags, from where, offset, length, what was allocated
assert (_HOLE.size, _STORE.size) == (24, 32)
_BLOCK_SIZE = 0x40046418  # DKIOCGETBLOCKSIZE and DKIOCGETBLOCKCOUNT of sys/disk.h
_BLOCK_COUNT = 0x40086419
_UNSUPPORTED = frozenset(
    {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS, errno.EPERM}
)


def punch(descriptor: int, file_offset: int, length: int) -> bool:
    """Give whole blocks of a file back; False where the range is none of these, or the host cannot."""
    if file_offset % _BLOCK or length % _BLOCK:
        return False
    return _asked(descriptor, _F_PUNCHHOLE, _HOLE.pack(0, 0, file_offset, length))


def reserve(descriptor: int, file_offset: int, length: int) -> bool:
    """Have space for all of a file up to the end of a range; False where it has not as much afterwards.

    Space is only given behind what the file has: holes within it stay holes.
    """
    end = file_offset + length
    missing = end - _space_of(descriptor)
    if missing > 0 and not _asked(
        descriptor, _F_PREALLOCATE, _STORE.pack(_ALLOCATE_ALL, _FROM_END_OF_SPACE, 0, missing, 0)
    ):
        return False
    return _space_of(descriptor) >= end


def device_size(descriptor: int) -> int:
    """The capacity of a block device in bytes; its end is at 0 for whoever seeks there."""
    (size,) = struct.unpack("=I", fcntl.ioctl(descriptor, _BLOCK_SIZE, bytes(4)))
    (count,) = struct.unpack("=Q", fcntl.ioctl(descriptor, _BLOCK_COUNT, bytes(8)))
    return int(size * count)


def _space_of(descriptor: int) -> int:
    return os.fstat(descriptor).st_blocks * 512


def _asked(descriptor: int, code: int, request: bytes) -> bool:
    try:
        fcntl.fcntl(descriptor, code, request)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True
