"""What differs between hosts of POSIX: durable flushes, holes, reservations, sizes of devices.

Linux: ``fdatasync``, ``SEEK_DATA``, the ``FS_IOC_*`` ioctls that file systems took over from XFS (unlike
``posix_fallocate`` they say so when a file system lacks them, instead of writing gigabytes of zeros).
macOS: ``F_FULLFSYNC`` where drives know it, because its ``fsync`` leaves data in the drive's cache.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import stat
import struct
import sys

from vhdx.errors import ImageLockedError
from vhdx.storage import locks
from vhdx.typed import TYPE_CHECKING

assert sys.platform != "win32"

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Descriptor = int
_NO_WAITING = os.O_NONBLOCK | os.O_NOCTTY
"""A FIFO must not hang the opener; regular files and block devices ignore the flags."""
_NO_FOLLOWING = os.O_NOFOLLOW
_FIRST_FREE = 3  # behind standard input, output and error

# struct space_resv of linux/falloc.h: type, whence, start, length, sysid, pid, four reserved words
_SPACE = struct.Struct("=hh4xqqiI16x")
assert _SPACE.size == 48
_SYNC_FILE_RANGE_WRITE = 2
_FS_IOC_RESVSP64 = 0x4030582A
_FS_IOC_UNRESVSP64 = 0x4030582B
_FS_IOC_ZERO_RANGE = 0x40305839
_NO_FULL_FLUSH = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL})
_RENAME_NOREPLACE = 1  # of linux/fs.h
_RENAME_EXCL = 4  # of macOS' sys/stdio.h
_AT_FDCWD = -100
_NTFS_SPARSE = 0x200
_FICLONERANGE = 0x4020940D
_CLONE = struct.Struct("=qQQQ")
"""Of linux/fs.h: descriptor, offset, length, offset in the target."""
_UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS, errno.EPERM})
_BEHIND_EVERY_END = (1 << 62) + 1


def open_to_read(path: str, *, lock: bool) -> int:
    """A regular file or block device, held as by a reader with ``lock``.

    Raises OSError, ImageLockedError, and ValueError for what is neither file nor block device.
    """
    descriptor = open_file(path, os.O_RDONLY | _NO_WAITING)
    with _closing_on_failure(descriptor):
        _refuse_other_kinds(descriptor, path)
        if lock:
            locks.acquire_reader(descriptor, path)
    return descriptor


def open_to_write(path: str, *, lock: bool) -> int:
    """A regular file, held as by its only user with ``lock``.

    Raises OSError, ImageLockedError, and ValueError for what is no regular file.
    """
    descriptor = open_file(path, os.O_RDWR | _NO_WAITING)
    with _closing_on_failure(descriptor):
        _refuse_other_kinds(descriptor, path)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"{path} is a block device; only images in files are written to")
        if lock:
            locks.acquire_writer(descriptor, path)
    return descriptor


def open_to_replace(path: str, asked_for: str) -> int:
    """A file, held as by its only user, which need not be allowed to write to it.

    Raises OSError, and ImageLockedError that says so of what was ``asked_for``.
    """
    descriptor = open_file(path, os.O_RDONLY | _NO_FOLLOWING | _NO_WAITING)
    with _closing_on_failure(descriptor):
        locks.acquire_writer(descriptor, asked_for)
    return descriptor


def _refuse_other_kinds(descriptor: int, path: str) -> None:
    """Raise OSError or ValueError unless the descriptor is a regular file or a block device."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise ValueError(f"{path} is neither a regular file nor a block device")


@contextlib.contextmanager
def _closing_on_failure(descriptor: int) -> Iterator[None]:
    """Close the descriptor if the block raises, whatever it raises."""
    try:
        yield
    except BaseException:
        os.close(descriptor)
        raise


def open_file(path: str, flags: int, permissions: int = 0o666) -> int:
    """Open a file of bytes under a number that is no standard stream's, and that nobody inherits.

    Where standard error was closed its number is free, and what a program prints would go into the image.
    """
    descriptor = os.open(path, flags, permissions)
    if descriptor >= _FIRST_FREE:
        return descriptor
    try:
        return duplicate(descriptor)
    finally:
        os.close(descriptor)


def create(path: str, asked_for: str) -> int:
    """A new file, held as by its only user on hosts with locks. Permissions follow the umask, as for any."""
    descriptor = open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    with _closing_on_failure(descriptor), contextlib.suppress(ImageLockedError):
        locks.acquire_writer(descriptor, asked_for)
    return descriptor


def create_temporary() -> int:
    """A new file without a name."""
    import tempfile  # noqa: PLC0415  readers need not wait for it

    with tempfile.TemporaryFile(buffering=0) as file:
        return duplicate(file.fileno())


def close(descriptor: int) -> None:
    """Let go of the file and its number."""
    os.close(descriptor)


def duplicate(descriptor: int) -> int:
    """The same opening under another number, of which the same is true as of `open_file`."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)


def pin(descriptor: int) -> int:
    """Another opening of the file or the same, for nothing but that its identity stays taken."""
    return duplicate(descriptor)


def size_of(descriptor: int) -> int:
    """The length of a file, or the capacity of a block device, in bytes."""
    status = os.fstat(descriptor)
    if not stat.S_ISBLK(status.st_mode):
        return status.st_size
    if sys.platform == "darwin":
        from vhdx.storage import macos  # noqa: PLC0415

        return macos.device_size(descriptor)
    return os.lseek(descriptor, 0, os.SEEK_END)


def identity_of(descriptor: int) -> tuple[int, int]:
    """Device and inode of an open file."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def identity_at(path: str, *, follow: bool = True) -> tuple[int, int]:
    """The same of the file under a name, or of the link that it is unless ``follow``. Raises OSError."""
    status = os.stat(path) if follow else os.lstat(path)
    return status.st_dev, status.st_ino


def allocated(descriptor: int) -> int:
    """How many bytes of the host's disk the file takes."""
    return os.fstat(descriptor).st_blocks * 512


def has_holes(descriptor: int) -> bool:
    """Whether a file has less space than bytes, or is called sparse by the driver that keeps it."""
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_blocks * 512 < status.st_size:
        return True
    return bool((_ntfs_attributes(descriptor) or 0) & _NTFS_SPARSE)


def is_ntfs(descriptor: int) -> bool:
    """Whether a file has the attributes of NTFS, by the word of its driver."""
    return _ntfs_attributes(descriptor) is not None


def _ntfs_attributes(descriptor: int) -> int | None:
    if not hasattr(os, "getxattr"):
        return None
    try:
        return int.from_bytes(os.getxattr(descriptor, "system.ntfs_attrib_be"), "big")
    except OSError:
        return None


def synchronize(descriptor: int) -> None:
    """Make everything written to the descriptor durable, the file's length included."""
    if sys.platform != "darwin" and hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        _synchronize_all(descriptor)


def _synchronize_all(descriptor: int) -> None:
    """Make contents and attributes durable. Linux keeps names in directories only if asked for all."""
    if sys.platform == "darwin":
        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        except OSError as error:  # network shares and some drives cannot be asked more than fsync asks
            if error.errno not in _NO_FULL_FLUSH:
                raise
        else:
            return
    os.fsync(descriptor)


def start_writing_back(descriptor: int) -> None:
    """Let the host begin to write a file to its disk, and keep it in its cache, where it can be told so.

    ``POSIX_FADV_DONTNEED`` begins it, too, and drops what is written: whoever reads the file next would wait
    for the disk.
    """
    call = _sync_file_range()
    if call is not None:
        call(descriptor, 0, 0, _SYNC_FILE_RANGE_WRITE)  # advice: what fails here is told by the flush


@functools.cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Linux's call, which Python does not have."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes  # noqa: PLC0415  only whoever writes much needs it
    except ImportError:  # Python can be built without it
        return None
    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is None:
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    found: Callable[[int, int, int, int], int] = call
    return found


def synchronize_directory(path: str) -> None:
    """Make the names in a directory durable."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except PermissionError:
        return  # a directory that we may not read was written all the same
    try:
        _synchronize_all(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):  # file systems without directory flushes
            raise
    finally:
        os.close(descriptor)


def free_space(descriptor: int) -> int | None:
    """How many bytes the file system of a file has left for us, None where that is not known."""
    if not hasattr(os, "fstatvfs"):
        return None
    try:
        status = os.fstatvfs(descriptor)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


def reserve(descriptor: int, file_offset: int, length: int) -> bool:
    """Claim space for a range without changing the file's length; False where the host cannot."""
    if sys.platform == "darwin":
        from vhdx.storage import macos  # noqa: PLC0415  other hosts need not read it

        return macos.reserve(descriptor, file_offset, length)
    return _space_request(descriptor, _FS_IOC_RESVSP64, file_offset, length)


def punch(descriptor: int, file_offset: int, length: int) -> bool:
    """Give a range back to the host, so that it reads as zeros; False where the host cannot."""
    if sys.platform == "darwin":
        from vhdx.storage import macos  # noqa: PLC0415

        return macos.punch(descriptor, file_offset, length)
    return _space_request(descriptor, _FS_IOC_UNRESVSP64, file_offset, length)


def shared_unit(descriptor: int) -> int:
    """The blocks of a file system of which files may share some; 0 where that is not asked for."""
    return os.fstatvfs(descriptor).f_bsize if sys.platform.startswith("linux") else 0


def send(descriptor: int, output: int, length: int, file_offset: int) -> int:
    """How many bytes of a range, from its start on, the kernel copied to a descriptor; 0 elsewhere."""
    return os.sendfile(output, descriptor, file_offset, length) if sys.platform == "linux" else 0


def may_share(source: int, target: int) -> bool:
    """Whether the file system of two files lets them share space; neither is changed."""
    if not sys.platform.startswith("linux"):
        return False
    # Nobody shares what no file has, from the middle of a block: who can share at all says so by EINVAL.
    try:
        fcntl.ioctl(target, _FICLONERANGE, _CLONE.pack(source, _BEHIND_EVERY_END, 1, 0))
    except OSError as error:
        return error.errno == errno.EINVAL
    return True


def clone_range(source: int, source_offset: int, length: int, target: int, target_offset: int) -> bool:
    """Let two files share the space of a range; False where they cannot, and some of it may be shared.

    That may be so now and then: ZFS says EAGAIN of what it has not written to its disk yet, XFS ENOSPC where
    a part of it is nearly full. Whether anything is really wrong is told by reading and writing.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        fcntl.ioctl(target, _FICLONERANGE, _CLONE.pack(source, source_offset, length, target_offset))
    except OSError:
        return False
    return True


def zero_range(descriptor: int, file_offset: int, length: int) -> bool:
    """Make a range zeros and keep its space, without writing them; False where the host cannot."""
    return _space_request(descriptor, _FS_IOC_ZERO_RANGE, file_offset, length)


def _space_request(descriptor: int, code: int, file_offset: int, length: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    request = _SPACE.pack(0, os.SEEK_SET, file_offset, length, 0, 0)
    try:
        fcntl.ioctl(descriptor, code, request)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True


def data_ranges(descriptor: int, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
    """The (offset, length) runs of a range that the host does not know to be holes.

    macOS is not asked: its APFS says holes where data is that was written a moment ago.
    """
    end = file_offset + length
    if sys.platform == "darwin" or not hasattr(os, "SEEK_DATA"):
        if length:
            yield file_offset, length
        return
    while file_offset < end:
        try:
            start = os.lseek(descriptor, file_offset, os.SEEK_DATA)
            stop = min(os.lseek(descriptor, start, os.SEEK_HOLE), end)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end of the file
                return
            if error.errno != errno.EINVAL:
                raise
            start, stop = file_offset, end  # block devices and file systems without holes
        if start >= end:
            return
        yield start, stop - start
        file_offset = stop


def unlock(descriptor: int) -> None:
    """Let go of every lock on the file."""
    locks.release(descriptor)


def is_held(path: str) -> bool | None:
    """Whether anybody holds the file as reader or writer; None where that cannot be told. Raises OSError."""
    descriptor = open_file(path, os.O_RDONLY | _NO_FOLLOWING)
    try:
        return locks.is_held(descriptor)
    finally:
        os.close(descriptor)


def rename_to_new(source: str, target: str) -> bool:
    """Rename to a name that nothing has; False where the host or the file system cannot promise that.

    Raises FileExistsError if the name is taken, OSError.
    """
    try:
        import ctypes  # noqa: PLC0415  only hosts without hard links wait for it
    except ImportError:  # as above
        return False
    library = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(source), os.fsencode(target)
    if sys.platform == "darwin":
        call, arguments = getattr(library, "renamex_np", None), (*names, ctypes.c_uint(_RENAME_EXCL))
    else:
        call = getattr(library, "renameat2", None)
        here = ctypes.c_int(_AT_FDCWD)
        arguments = (here, names[0], here, names[1], ctypes.c_uint(_RENAME_NOREPLACE))
    if call is None:
        return False
    if call(*arguments) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), target)


def process_runs(process: int) -> bool:
    """Whether a process of this number runs here; True as well where that cannot be told."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OverflowError, PermissionError):
        return True
    return True


@functools.cache
def machine_tag() -> str:
    """A short word that other machines have another one for."""
    from zlib import crc32  # noqa: PLC0415  readers need not wait for it

    told = os.uname().nodename.encode(errors="surrogateescape")
    with contextlib.suppress(OSError), open("/etc/machine-id", "rb") as file:
        told += b"\0" + file.read(64)
    return f"{crc32(told):08x}"


def release(descriptor: int) -> None:
    """Let go of the file behind a descriptor while its number stays taken."""
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
    except OSError:  # the process has no descriptor left: the file is let go of with the number
        return
    try:
        os.dup2(nothing, descriptor, inheritable=False)
    finally:
        os.close(nothing)
