"""Block devices of Linux, written to as a whole by their only user."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import stat
import struct
import sys
from typing import TYPE_CHECKING

from vhdx.errors import ImageLockedError
from vhdx.storage import host
from vhdx.storage.file import FileStorage
from vhdx.units import GIB

assert sys.platform != "win32"

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Of linux/fs.h and linux/falloc.h.
_BLKRRPART = 0x125F
_BLKFLSBUF = 0x1261
_BLKSSZGET = 0x1268
_BLKZEROOUT = 0x127F
_RANGE = struct.Struct("=QQ")
_PUNCH_HOLE, _KEEP_SIZE = 2, 1
_EREMOTEIO = 121  # which `errno` has on Linux alone
_NOT_POSSIBLE = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS, _EREMOTEIO})
_NO_TABLES_HERE = frozenset({errno.EINVAL, errno.ENOTTY})
_LONGEST_REQUEST = GIB
"""So that Ctrl-C need not wait for a whole disk."""


class DeviceStorage(FileStorage):
    """A block device that nobody else uses."""

    @functools.cached_property
    def sector_size(self) -> int:
        """The unit in which it is addressed, in bytes."""
        (size,) = struct.unpack("=i", fcntl.ioctl(self._descriptor, _BLKSSZGET, bytes(4)))
        return int(size)

    def zero(self, file_offset: int, length: int) -> None:
        """Make a range zeros: by giving it back where it then reads as zeros, else by what the device has."""
        while length:
            count = min(length, _LONGEST_REQUEST - file_offset % _LONGEST_REQUEST)
            if (file_offset | count) % self.sector_size or not (
                self._given_back(file_offset, count) or self._zeroed(file_offset, count)
            ):
                super().zero(file_offset, count)
            file_offset, length = file_offset + count, length - count

    def _given_back(self, file_offset: int, length: int) -> bool:
        """The kernel does so only where the device promises zeros."""
        call = _fallocate()
        return call is not None and call(self._descriptor, _PUNCH_HOLE | _KEEP_SIZE, file_offset, length) == 0

    def _zeroed(self, file_offset: int, length: int) -> bool:
        try:
            fcntl.ioctl(self._descriptor, _BLKZEROOUT, _RANGE.pack(file_offset, length))
        except OSError as error:
            if error.errno not in _NOT_POSSIBLE:
                raise self._named(error) from None
            return False
        return True

    def drop_cache(self) -> None:
        """Forget what the host keeps of it, so that the next read asks the device."""
        with self._naming():
            fcntl.ioctl(self._descriptor, _BLKFLSBUF)

    def holds(self, files: tuple[tuple[int, int], ...], names: tuple[str, ...]) -> bool:
        """Whether it is, contains, or is kept in one of these files, told by identity and by name."""
        number = os.fstat(self._descriptor).st_rdev
        with contextlib.suppress(OSError):
            if host.identity_at(_backing_file(number)) in files:
                return True
        for name in names:
            with contextlib.suppress(OSError):
                status = os.stat(name)
                if stat.S_ISBLK(status.st_mode) and _overlap(number, status.st_rdev):
                    return True
        return False

    def read_table_again(self) -> bool:
        """Let the kernel look for partitions; False where it keeps those that it knows."""
        try:
            fcntl.ioctl(self._descriptor, _BLKRRPART)
        except OSError as error:
            return error.errno in _NO_TABLES_HERE  # of what has no partitions
        return True


@functools.cache
def _fallocate() -> Callable[[int, int, int, int], int] | None:
    """The call of the C library, which Python does not have."""
    import ctypes  # noqa: PLC0415  only who writes to devices needs it

    call = getattr(ctypes.CDLL(None), "fallocate64", None) or getattr(ctypes.CDLL(None), "fallocate", None)
    if call is None:
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    found: Callable[[int, int, int, int], int] = call
    return found


def open_device(path: str) -> DeviceStorage:
    """A block device to be written over. Raises ImageLockedError if anybody uses it, OSError, ValueError."""
    if not sys.platform.startswith("linux"):
        raise ValueError(
            f"{path}: block devices are written on Linux only; -O raw SOURCE - writes into a pipe"
        )
    number = os.stat(path).st_rdev
    users = list(_users(number))
    if users:
        raise ImageLockedError(f"the device is in use: {'; '.join(users)}", image=path)
    try:
        descriptor = host.open_file(path, os.O_RDWR | os.O_EXCL)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        raise ImageLockedError("the device is in use", image=path) from None
    storage = DeviceStorage(descriptor, path)
    status = os.fstat(descriptor)
    if not stat.S_ISBLK(status.st_mode) or status.st_rdev != number:
        storage.close()
        raise ValueError(f"{path} became another file meanwhile")
    return storage


def _backing_file(number: int) -> str:
    """Of a loop device. Raises OSError for others."""
    with open(f"{_entry(number)}/loop/backing_file", encoding="utf-8", errors="surrogateescape") as file:
        return file.read().rstrip("\n")


def _overlap(one: int, other: int) -> bool:
    """Whether two devices are one, or one of them a partition of the other."""
    return one == other or _entry(one) == _whole(other) or _entry(other) == _whole(one)


def _entry(number: int) -> str:
    """What sysfs says of a device."""
    return os.path.realpath(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")


def _whole(number: int) -> str:
    """The device that one is a partition of, itself if it is none."""
    entry = _entry(number)
    return os.path.dirname(entry) if os.path.exists(f"{entry}/partition") else entry


def _users(number: int) -> Iterator[str]:
    """Who uses a device or a partition of it, in words, as far as the kernel says."""
    numbers = set()
    for entry in _with_partitions(_entry(number)):
        with contextlib.suppress(OSError):
            with open(f"{entry}/dev", encoding="ascii") as file:
                numbers.add(file.read().strip())
            for holder in sorted(os.listdir(f"{entry}/holders")):
                yield f"{os.path.basename(entry)} is held by {holder}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        for line in mounts:
            fields = line.split()
            if fields[2] in numbers:
                yield f"mounted at {fields[4]}"
    with contextlib.suppress(OSError), open("/proc/swaps", encoding="utf-8") as swaps:
        for line in swaps.readlines()[1:]:
            status = os.stat(line.split()[0])
            if stat.S_ISBLK(status.st_mode) and _overlap(number, status.st_rdev):
                yield f"swapped to ({line.split()[0]})"


def _with_partitions(entry: str) -> Iterator[str]:
    yield entry
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(entry)):
            if os.path.exists(f"{entry}/{name}/partition"):
                yield f"{entry}/{name}"
