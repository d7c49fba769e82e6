"""Files and devices of Windows: what `host` and ``os`` do on POSIX, by the same names."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from ctypes import wintypes
from typing import TYPE_CHECKING

from vhdx.storage import windows_api as api
from vhdx.storage import windows_calls as calls
from vhdx.storage import windows_names as names
from vhdx.storage import windows_paths as paths
from vhdx.storage import windows_space as space

assert sys.platform == "win32"

if TYPE_CHECKING:
    from collections.abc import Iterator

Descriptor = calls.Descriptor
pread, preadv, pwrite = calls.pread, calls.preadv, calls.pwrite
identity_of, identity_at, pin = names.identity_of, names.identity_at, names.pin
is_held, rename = names.is_held, names.rename
allocated, reserve, free_space = space.allocated, space.reserve, space.free_space
punch, zero_range, data_ranges = space.punch, space.zero_range, space.data_ranges
has_holes, is_ntfs = space.has_holes, space.is_ntfs
shared_unit, may_share, clone_range = space.shared_unit, space.may_share, space.clone_range
send = space.send


def ftruncate(descriptor: Descriptor, size: int) -> None:
    """Cut or extend; Windows gives what is added its space, and zeros."""
    end = ctypes.c_int64(size)
    with descriptor as handle:
        api.check(
            api.kernel32.SetFileInformationByHandle(
                handle, api.FILE_END_OF_FILE_INFO, ctypes.byref(end), ctypes.sizeof(end)
            )
        )


def close(descriptor: Descriptor) -> None:
    """Let go of the file."""
    descriptor.close()


def open_to_read(path: str, *, lock: bool) -> Descriptor:
    """A file or a device. With ``lock`` nobody may write meanwhile, and nobody who writes is there.

    Raises OSError, ImageLockedError, and ValueError for what is neither file nor device.
    """
    if not paths.is_device(path):
        return _opened(path, api.GENERIC_READ, exclusive=False if lock else None)
    descriptor = Descriptor(names.handle_of(path, api.GENERIC_READ, names.ANYBODY))
    with _closing_on_failure(descriptor):
        descriptor.sector = _sector_of(descriptor, path)
    return descriptor


def open_to_write(path: str, *, lock: bool) -> Descriptor:
    """A file, to change it. With ``lock`` nobody else may write meanwhile, or lock the file to read it.

    Raises OSError, ImageLockedError, and ValueError for what is no file.
    """
    if paths.is_device(path):
        raise ValueError(f"{path} is a block device; only images in files are written to")
    return _opened(path, api.GENERIC_READ | api.GENERIC_WRITE, exclusive=True if lock else None)


def _opened(path: str, access: int, *, exclusive: bool | None) -> Descriptor:
    _refuse_directories(path)
    descriptor = Descriptor(
        names.handle_of(path, access, names.ANYBODY if exclusive is None else api.SHARE_READ)
    )
    with _closing_on_failure(descriptor):
        with descriptor as handle:
            if api.kernel32.GetFileType(handle) != api.TYPE_DISK:
                raise ValueError(f"{path} is neither a regular file nor a block device")
        if exclusive is not None:
            descriptor.take_lock(path, exclusive=exclusive)
    return descriptor


@contextlib.contextmanager
def _closing_on_failure(descriptor: Descriptor) -> Iterator[None]:
    try:
        yield
    except BaseException:
        descriptor.close()
        raise


def open_to_replace(path: str, asked_for: str) -> Descriptor:  # noqa: ARG001  as of POSIX
    """A file, held as by its only user until right before it is replaced."""
    return open_to_write(path, lock=True)


def create(path: str, asked_for: str) -> Descriptor:
    """A new file, held as by its only user, that can be given another name while it is open.

    Raises OSError, ValueError.
    """
    paths.refuse_as_new(path)
    access = api.GENERIC_READ | api.GENERIC_WRITE
    descriptor = Descriptor(names.handle_of(path, access, api.SHARE_READ | api.SHARE_DELETE, api.CREATE_NEW))
    with _closing_on_failure(descriptor):
        descriptor.take_lock(asked_for, exclusive=True)
    return descriptor


def create_temporary() -> Descriptor:
    """A new file that Windows deletes when it is closed, however this process ends."""
    import tempfile  # noqa: PLC0415  readers need not wait for it

    path = os.path.join(tempfile.gettempdir(), f"vhdx-{os.urandom(8).hex()}.tmp")
    access = api.GENERIC_READ | api.GENERIC_WRITE | api.DELETE
    return Descriptor(
        names.handle_of(path, access, api.SHARE_DELETE, api.CREATE_NEW, api.FLAG_DELETE_ON_CLOSE)
    )


def _refuse_directories(path: str) -> None:
    """Raise the error that other hosts have: opening one, Windows only says that access is denied."""
    attributes = api.kernel32.GetFileAttributesW(paths.opened_as(path))
    if attributes != api.NO_ATTRIBUTES and attributes & api.ATTRIBUTE_DIRECTORY:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)


def duplicate(descriptor: Descriptor | int) -> Descriptor:
    """The same opening once more: of a file that was opened here, or of a number of the C library."""
    if isinstance(descriptor, Descriptor):
        with descriptor as handle:
            again = Descriptor(_duplicate(handle))
        again.sector = descriptor.sector
        return again
    import msvcrt  # noqa: PLC0415  only whoever reads standard input needs it

    return Descriptor(_duplicate(msvcrt.get_osfhandle(descriptor)))


def _duplicate(handle: int) -> int:
    same_access, ourselves, made = 2, api.kernel32.GetCurrentProcess(), wintypes.HANDLE()
    api.check(
        api.kernel32.DuplicateHandle(ourselves, handle, ourselves, ctypes.byref(made), 0, False, same_access)
    )
    assert made.value is not None
    return made.value


def unlock(descriptor: Descriptor) -> None:
    """Let go of the lock if the file was opened with one."""
    descriptor.unlock()


def release(descriptor: Descriptor) -> None:
    """Let go of the file."""
    descriptor.close()


def size_of(descriptor: Descriptor) -> int:
    """The length of a file, or the capacity of a device, in bytes."""
    size = ctypes.c_int64()
    with descriptor as handle:
        if descriptor.sector == 1:
            api.check(api.kernel32.GetFileSizeEx(handle, ctypes.byref(size)))
            return size.value
    calls.control(descriptor, api.IOCTL_DISK_GET_LENGTH_INFO, None, size)
    return size.value


def _sector_of(device: Descriptor, path: str) -> int:
    """The logical sector size of a device. Raises OSError for devices that are no disks."""
    geometry = (wintypes.DWORD * 6)()
    try:
        calls.control(device, api.IOCTL_DISK_GET_DRIVE_GEOMETRY, None, geometry)
    except OSError as error:
        error.filename = path
        raise
    return max(512, geometry[5])


def synchronize(descriptor: Descriptor) -> None:
    """Make everything written to the file durable, its length included."""
    with descriptor as handle:
        api.check(api.kernel32.FlushFileBuffers(handle))


def start_writing_back(descriptor: Descriptor) -> None:
    """Nothing: Windows writes files to its disk when it sees fit."""


def synchronize_directory(path: str) -> None:
    """Nothing: `rename` writes names through."""
