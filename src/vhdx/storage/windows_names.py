"""What a path leads to on Windows, whoever has it open: handles, identities, who holds it, other names."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import time
from typing import TYPE_CHECKING

from vhdx.storage import windows_api as api
from vhdx.storage import windows_calls as calls
from vhdx.storage import windows_holders as holders
from vhdx.storage import windows_paths as paths

assert sys.platform == "win32"

if TYPE_CHECKING:
    from vhdx.errors import ImageLockedError

_LONGEST_PATH = 32768  # characters, as Windows has it
_PASSING = frozenset({api.ERROR_ACCESS_DENIED, api.ERROR_SHARING_VIOLATION})
_PAUSES = (0.02, 0.05, 0.1, 0.25, 0.5)
"""Seconds: whoever looks for viruses or indexes files opens new ones for a moment."""
ANYBODY = api.SHARE_READ | api.SHARE_WRITE | api.SHARE_DELETE


def handle_of(path: str, access: int, share: int, how: int = api.OPEN_EXISTING, flags: int = 0) -> int:
    flags |= api.FLAG_OVERLAPPED
    handle = api.kernel32.CreateFileW(paths.opened_as(path), access, share, None, how, flags, None)
    if handle == api.NO_HANDLE:
        raise said(api.last_error(path), path)
    return int(handle)


def said(error: OSError, path: str) -> OSError | ImageLockedError:
    """The error, or another that says who has the file."""
    return holders.locked(path) if holders.is_locked(error) else error


def identity_of(descriptor: calls.Descriptor) -> tuple[int, int]:
    """Volume and number of the file: equal for two names of one file."""
    with descriptor as handle:
        return identity_of_handle(handle)


def identity_of_handle(handle: int) -> tuple[int, int]:
    """The same of a handle."""
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
    handle = handle_of(path, 0, ANYBODY, api.OPEN_EXISTING, flags)
    try:
        return identity_of_handle(handle)
    finally:
        api.kernel32.CloseHandle(handle)


def pin(descriptor: calls.Descriptor) -> calls.Descriptor:
    """Another opening of the file, that keeps nobody out, for its identity alone."""
    return calls.Descriptor(handle_of(path_of(descriptor), 0, ANYBODY))


def is_held(path: str) -> bool:
    """Whether anybody has the file open, to read or to write it. Raises OSError."""
    nobody_else = 0
    handle = api.kernel32.CreateFileW(
        paths.opened_as(path),
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
    if holders.is_locked(error):
        return True
    raise error


def rename(path: str, final: str, *, overwrite: bool) -> None:
    """Give a file another name, durably, replacing another that nobody has open if that is wanted.

    Raises FileExistsError, ImageLockedError where the other is open, OSError.
    """
    paths.refuse_as_new(final)
    flags = api.MOVE_WRITES_THROUGH | (api.MOVE_REPLACES if overwrite else 0)
    for pause in (*_PAUSES, None):
        if api.kernel32.MoveFileExW(paths.opened_as(path), paths.opened_as(final), flags):
            return
        error = api.last_error(final)
        if pause is None or error.winerror not in _PASSING:
            raise _why_not_renamed(error, final)
        time.sleep(pause)


def _why_not_renamed(error: OSError, final: str) -> OSError | ImageLockedError:
    """The error, or who has the file, of which Windows may only say that access is denied."""
    denied = error.errno == errno.EACCES
    return (
        holders.locked(final) if denied and holders.users_of(os.path.abspath(final)) else said(error, final)
    )


def path_of(descriptor: calls.Descriptor) -> str:
    """Where the file is now. Raises OSError."""
    with descriptor as handle:
        return path_of_handle(handle)


def path_of_handle(handle: int) -> str:
    """The same of a handle."""
    path = ctypes.create_unicode_buffer(_LONGEST_PATH)
    api.check(api.kernel32.GetFinalPathNameByHandleW(handle, path, _LONGEST_PATH, 0))
    return path.value
