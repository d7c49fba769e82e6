"""Files and devices of Windows, by positional calls: what `host` and ``os`` do on POSIX, by the same names.

The handles are "overlapped": Windows lets only one call at a time into any other handle. A call of ours waits
for its own end, so that several threads read and write in parallel. Nothing here makes a file sparse, because
Windows attaches no image that is.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
import tempfile
import threading
from ctypes import wintypes
from typing import TYPE_CHECKING

from vhdx.storage import windows_api as api
from vhdx.storage import windows_locks
from vhdx.storage.windows_paths import is_device, opened_as, refuse_as_new

assert sys.platform == "win32"

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vhdx.errors import ImageLockedError

_AT_ONCE = 1 << 30  # bytes that one call moves; its counts have 32 bits
_RANGES_AT_ONCE = 512
_LONGEST_PATH = 32768  # characters, as Windows has it
_FIRST_BYTE = ctypes.c_char * 1
_ANYBODY = api.SHARE_READ | api.SHARE_WRITE | api.SHARE_DELETE


class Descriptor:
    """A file that is open: its handle, and how many calls use it. The last of them closes it.

    Numbers of handles are used again at once, and a call that began before the file was closed must end with
    the file that it began with.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._lock = threading.RLock()  # what handles Ctrl-C may close what its own thread is reading
        self._calls = 0
        self._closed = False
        self._locked = False
        self.sector = 1
        """What offsets and lengths of reads must be multiples of: 1 for files."""

    def __enter__(self) -> int:
        with self._lock:
            if self._closed:
                raise OSError(errno.EBADF, "the file is closed")
            self._calls += 1
        return self._handle

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._calls -= 1
            self._close_if_unused()

    def take_lock(self, path: str, *, exclusive: bool) -> None:
        """Lock the file until it is closed. Raises ImageLockedError."""
        windows_locks.acquire(self._handle, path, exclusive=exclusive)
        self._locked = True

    def unlock(self) -> None:
        """Let go of the lock if there is one."""
        if self._locked:
            self._locked = False
            windows_locks.release(self._handle)

    def close(self) -> None:
        """Take no more calls; those that run end with the file."""
        with self._lock:
            self.unlock()
            self._closed = True
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._closed and not self._calls and self._handle:
            handle, self._handle = self._handle, 0
            api.kernel32.CloseHandle(handle)

    def __del__(self) -> None:
        self._calls = 0  # a call that Ctrl-C broke off may not have counted back
        self.close()


class _Request:
    """What a call needs to wait for its own end."""

    def __init__(self) -> None:
        self._event = api.kernel32.CreateEventW(None, True, False, None)
        api.check(self._event)
        self.overlapped = api.Overlapped(event=self._event)
        self.reference = ctypes.byref(self.overlapped)

    def __del__(self) -> None:
        api.kernel32.CloseHandle(self._event)


_idle: list[_Request] = []
"""Requests that no call uses: as many as there ever were calls at the same time."""


def _called(call: Callable[..., int], descriptor: Descriptor, file_offset: int, *arguments: object) -> int:
    """The count of bytes of a call that takes an offset and may end later; 0 at the end of the file."""
    with descriptor as handle:
        try:
            request = _idle.pop()
        except IndexError:
            request = _Request()
        overlapped = request.overlapped
        overlapped.status = overlapped.count = 0
        overlapped.offset_low, overlapped.offset_high = file_offset & 0xFFFFFFFF, file_offset >> 32
        try:
            code = 0 if call(handle, *arguments, request.reference) else ctypes.get_last_error()
            if code == api.ERROR_IO_PENDING:
                code = _end_of(handle, request)
        except BaseException:  # nothing may still be moving into memory that is let go of
            api.kernel32.CancelIoEx(handle, request.reference)
            _end_of(handle, request)
            raise
        count = overlapped.count
        _idle.append(request)
    if code in (0, api.ERROR_HANDLE_EOF):
        return 0 if code else count
    raise api.error_of(code)


def _end_of(handle: int, request: _Request) -> int:
    """Wait for the end of a call; its error, 0 for none."""
    count = wintypes.DWORD()
    if api.kernel32.GetOverlappedResult(handle, request.reference, ctypes.byref(count), True):
        return 0
    return ctypes.get_last_error()


def _read(descriptor: Descriptor, view: memoryview, file_offset: int) -> int:
    length = min(len(view), _AT_ONCE)
    if not length:
        return 0
    memory = _FIRST_BYTE.from_buffer(view)
    return _called(api.kernel32.ReadFile, descriptor, file_offset, memory, length, None)


def pread(descriptor: Descriptor, length: int, file_offset: int) -> bytes:
    """Up to ``length`` bytes; fewer at the end of the file."""
    buffer = bytearray(length)
    return bytes(memoryview(buffer)[: preadv(descriptor, (memoryview(buffer),), file_offset)])


def preadv(descriptor: Descriptor, buffers: Sequence[memoryview], file_offset: int) -> int:
    """Fill the one buffer; how many bytes came."""
    (view,) = buffers
    if descriptor.sector == 1:
        return _read(descriptor, view, file_offset)
    behind = file_offset % descriptor.sector
    length = -(-(behind + min(len(view), _AT_ONCE // 2)) // descriptor.sector) * descriptor.sector
    whole = memoryview(bytearray(length))
    count = min(len(view), max(0, _read(descriptor, whole, file_offset - behind) - behind))
    view[:count] = whole[behind : behind + count]
    return count


def pwrite(descriptor: Descriptor, data: bytes | bytearray | memoryview, file_offset: int) -> int:
    """Write the data; how many bytes went."""
    view = memoryview(data)[:_AT_ONCE]
    if not view:
        return 0
    memory = bytes(view) if view.readonly else _FIRST_BYTE.from_buffer(view)
    return _called(api.kernel32.WriteFile, descriptor, file_offset, memory, len(view), None)


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
    if not is_device(path):
        return _opened(path, api.GENERIC_READ, exclusive=False if lock else None)
    descriptor = Descriptor(_handle(path, api.GENERIC_READ, _ANYBODY))
    with _closing_on_failure(descriptor):
        descriptor.sector = _sector_of(descriptor)
    return descriptor


def open_to_write(path: str, *, lock: bool) -> Descriptor:
    """A file, to change it. With ``lock`` nobody else may write meanwhile, or lock the file to read it.

    Raises OSError, ImageLockedError, and ValueError for what is no file.
    """
    if is_device(path):
        raise ValueError(f"{path} is a block device; only images in files are written to")
    return _opened(path, api.GENERIC_READ | api.GENERIC_WRITE, exclusive=True if lock else None)


def _opened(path: str, access: int, *, exclusive: bool | None) -> Descriptor:
    _refuse_directories(path)
    descriptor = Descriptor(_handle(path, access, _ANYBODY if exclusive is None else api.SHARE_READ))
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
    refuse_as_new(path)
    access = api.GENERIC_READ | api.GENERIC_WRITE
    descriptor = Descriptor(_handle(path, access, api.SHARE_READ | api.SHARE_DELETE, api.CREATE_NEW))
    with _closing_on_failure(descriptor):
        descriptor.take_lock(asked_for, exclusive=True)
    return descriptor


def create_temporary() -> Descriptor:
    """A new file that Windows deletes when it is closed, however this process ends."""
    path = os.path.join(tempfile.gettempdir(), f"vhdx-{os.urandom(8).hex()}.tmp")
    access = api.GENERIC_READ | api.GENERIC_WRITE | api.DELETE
    return Descriptor(_handle(path, access, api.SHARE_DELETE, api.CREATE_NEW, api.FLAG_DELETE_ON_CLOSE))


def _handle(path: str, access: int, share: int, how: int = api.OPEN_EXISTING, flags: int = 0) -> int:
    flags |= api.FLAG_OVERLAPPED
    handle = api.kernel32.CreateFileW(opened_as(path), access, share, None, how, flags, None)
    if handle == api.NO_HANDLE:
        raise _said(api.last_error(path), path)
    return int(handle)


def _said(error: OSError, path: str) -> OSError | ImageLockedError:
    """The error, or another that says who has the file."""
    return windows_locks.locked(path) if windows_locks.is_locked(error) else error


def _refuse_directories(path: str) -> None:
    """Raise the error that other hosts have: opening one, Windows only says that access is denied."""
    attributes = api.kernel32.GetFileAttributesW(opened_as(path))
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
    _control(descriptor, api.IOCTL_DISK_GET_LENGTH_INFO, None, size)
    return size.value


def _sector_of(device: Descriptor) -> int:
    """The logical sector size of a device. Raises OSError for devices that are no disks."""
    geometry = (wintypes.DWORD * 6)()
    _control(device, api.IOCTL_DISK_GET_DRIVE_GEOMETRY, None, geometry)
    return max(512, geometry[5])


def _control(
    descriptor: Descriptor, code: int, asked: ctypes._CData | None, answer: ctypes._CData | None
) -> int:
    """Ask the file system or a device; how many bytes of the answer are filled."""
    return _called(
        api.kernel32.DeviceIoControl,
        descriptor,
        0,
        code,
        None if asked is None else ctypes.byref(asked),
        0 if asked is None else ctypes.sizeof(asked),
        None if answer is None else ctypes.byref(answer),
        0 if answer is None else ctypes.sizeof(answer),
        None,
    )


def _has(descriptor: Descriptor, attributes: int) -> bool:
    """Whether a file has one of these attributes."""
    if descriptor.sector != 1:
        return False
    found = api.HandleInfo()
    with descriptor as handle:
        api.check(api.kernel32.GetFileInformationByHandle(handle, ctypes.byref(found)))
    return bool(found.attributes & attributes)


def identity_of(descriptor: Descriptor) -> tuple[int, int]:
    """Volume and number of the file: equal for two names of one file."""
    with descriptor as handle:
        return _identity(handle)


def _identity(handle: int) -> tuple[int, int]:
    found = api.IdInfo()
    if api.kernel32.GetFileInformationByHandleEx(
        handle, api.FILE_ID_INFO, ctypes.byref(found), ctypes.sizeof(found)
    ):
        return found.volume, found.file_high << 64 | found.file_low
    older = api.HandleInfo()  # file systems that have only short numbers, shares for one
    api.check(api.kernel32.GetFileInformationByHandle(handle, ctypes.byref(older)))
    return older.volume, older.index_high << 32 | older.index_low


def identity_at(path: str, *, follow: bool = True) -> tuple[int, int]:
    """The same of the file under a name, or of the link that it is unless ``follow``, whoever has it open.

    Raises OSError.
    """
    flags = api.FLAG_BACKUP_SEMANTICS | (0 if follow else api.FLAG_OPEN_REPARSE_POINT)
    handle = _handle(path, 0, _ANYBODY, api.OPEN_EXISTING, flags)
    try:
        return _identity(handle)
    finally:
        api.kernel32.CloseHandle(handle)


def pin(descriptor: Descriptor) -> Descriptor:
    """Another opening of the file, that keeps nobody out, for its identity alone."""
    return Descriptor(_handle(_path_of(descriptor), 0, _ANYBODY))


def is_held(path: str) -> bool:
    """Whether anybody has the file open, to read or to write it. Raises OSError."""
    nobody_else = 0
    handle = api.kernel32.CreateFileW(
        opened_as(path),
        api.GENERIC_READ,
        nobody_else,
        None,
        api.OPEN_EXISTING,
        api.FLAG_OPEN_REPARSE_POINT,
        None,
    )
    if handle != api.NO_HANDLE:
        api.kernel32.CloseHandle(handle)
        return False
    error = api.last_error(path)
    if windows_locks.is_locked(error):
        return True
    raise error


def allocated(descriptor: Descriptor) -> int:
    """How many bytes of the host's disk the file takes."""
    found = api.StandardInfo()
    with descriptor as handle:
        api.check(
            api.kernel32.GetFileInformationByHandleEx(
                handle, api.FILE_STANDARD_INFO, ctypes.byref(found), ctypes.sizeof(found)
            )
        )
    return found.allocation_size


def synchronize(descriptor: Descriptor) -> None:
    """Make everything written to the file durable, its length included."""
    with descriptor as handle:
        api.check(api.kernel32.FlushFileBuffers(handle))


def start_writing_back(descriptor: Descriptor) -> None:
    """Nothing: Windows writes files to its disk when it sees fit."""


def synchronize_directory(path: str) -> None:
    """Nothing: `rename` writes names through."""


def rename(path: str, final: str, *, overwrite: bool) -> None:
    """Give a file another name, durably, replacing another that nobody has open if that is wanted.

    Raises FileExistsError, ImageLockedError where the other is open, OSError.
    """
    refuse_as_new(final)
    flags = api.MOVE_WRITES_THROUGH | (api.MOVE_REPLACES if overwrite else 0)
    if not api.kernel32.MoveFileExW(opened_as(path), opened_as(final), flags):
        error = api.last_error(final)
        if error.errno == errno.EACCES and api.users_of(
            os.path.abspath(final)
        ):  # all that Windows says of it
            raise windows_locks.locked(final)
        raise _said(error, final)


def free_space(descriptor: Descriptor) -> int | None:
    """How many bytes the file system of a file has left for us, None where that is not known."""
    free = ctypes.c_uint64()
    try:
        folder = os.path.dirname(_path_of(descriptor))
    except OSError:
        return None
    if api.kernel32.GetDiskFreeSpaceExW(folder, ctypes.byref(free), None, None):
        return free.value
    return None


def _path_of(descriptor: Descriptor) -> str:
    """Where the file is now. Raises OSError."""
    path = ctypes.create_unicode_buffer(_LONGEST_PATH)
    with descriptor as handle:
        api.check(api.kernel32.GetFinalPathNameByHandleW(handle, path, _LONGEST_PATH, 0))
    return path.value


def reserve(descriptor: Descriptor, file_offset: int, length: int) -> bool:
    """Whether a range has its space: Windows gives it as a file grows, unless it is sparse or compressed.

    Asking for more could cut the file where another thread extends it meanwhile.
    """
    compact = _has(descriptor, api.ATTRIBUTE_SPARSE | api.ATTRIBUTE_COMPRESSED)
    return not compact and allocated(descriptor) >= file_offset + length


def has_holes(descriptor: Descriptor) -> bool:
    """Whether Windows calls a file sparse."""
    return _has(descriptor, api.ATTRIBUTE_SPARSE)


def is_ntfs(descriptor: Descriptor) -> bool:  # noqa: ARG001
    """Not asked here: Windows makes a file sparse only when it is told to."""
    return False


def punch(descriptor: Descriptor, file_offset: int, length: int) -> bool:
    """Give a range of a file that is sparse already back to the host; False for all others."""
    if not _has(descriptor, api.ATTRIBUTE_SPARSE):
        return False
    if not length:
        return True
    try:
        _control(
            descriptor, api.FSCTL_SET_ZERO_DATA, (ctypes.c_int64 * 2)(file_offset, file_offset + length), None
        )
    except OSError as error:
        if error.winerror in api.UNSUPPORTED:
            return False
        raise
    return True


def zero_range(descriptor: Descriptor, file_offset: int, length: int) -> bool:  # noqa: ARG001  as of POSIX
    """False: Windows has no way to zero a range of a sparse file and keep its space."""
    return False


def data_ranges(descriptor: Descriptor, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
    """The (offset, length) runs of a range that the host does not know to be holes."""
    end = file_offset + length
    found = (ctypes.c_int64 * (2 * _RANGES_AT_ONCE))()
    while file_offset < end:
        ranges = _allocated_ranges(descriptor, file_offset, end - file_offset, found)
        if ranges is None:
            yield file_offset, end - file_offset
            return
        yield from ranges
        if len(ranges) < _RANGES_AT_ONCE:
            return
        file_offset = sum(ranges[-1])


def _allocated_ranges(
    descriptor: Descriptor, file_offset: int, length: int, found: ctypes.Array[ctypes.c_int64]
) -> list[tuple[int, int]] | None:
    """As many as there is room for; None where the host does not tell."""
    if not _has(descriptor, api.ATTRIBUTE_SPARSE):
        return None
    try:
        asked = (ctypes.c_int64 * 2)(file_offset, length)
        count = _control(descriptor, api.FSCTL_QUERY_ALLOCATED_RANGES, asked, found)
    except OSError as error:
        if error.winerror in api.UNSUPPORTED:
            return None
        if error.winerror != api.ERROR_MORE_DATA:
            raise
        count = ctypes.sizeof(found)
    return [(found[2 * place], found[2 * place + 1]) for place in range(count // 16)]
