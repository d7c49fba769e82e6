"""Calls on files that are open on Windows: each takes an offset, and waits for its own end.

The handles are "overlapped": Windows lets only one call at a time into any other handle, so that no two
threads would read or write in parallel.
"""

from __future__ import annotations

import ctypes
import errno
import sys
import threading
from ctypes import wintypes
from typing import TYPE_CHECKING

from vhdx.storage import windows_api as api
from vhdx.storage import windows_locks

assert sys.platform == "win32"

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_AT_ONCE = 1 << 30  # bytes that one call moves; its counts have 32 bits
_FIRST_BYTE = ctypes.c_char * 1


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


def called(call: Callable[..., int], descriptor: Descriptor, file_offset: int, *arguments: object) -> int:
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
    return called(api.kernel32.ReadFile, descriptor, file_offset, memory, length, None)


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
    return called(api.kernel32.WriteFile, descriptor, file_offset, memory, len(view), None)


def control(
    descriptor: Descriptor, code: int, asked: ctypes._CData | None, answer: ctypes._CData | None
) -> int:
    """Ask the file system or a device; how many bytes of the answer are filled."""
    return called(
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
