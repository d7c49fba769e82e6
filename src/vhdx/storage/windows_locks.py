"""Who may use a file at the same time on Windows: how it is opened, and one byte that is locked.

How a file is opened says what others may do meanwhile, and Windows keeps every program to it. The byte is
for this library alone: it lies where no file reaches, because a lock also forbids reading what it covers.
"""

from __future__ import annotations

import ctypes
import sys

from vhdx.storage import windows_api as api
from vhdx.storage import windows_holders as holders

assert sys.platform == "win32"

_BYTE = 1 << 62


def acquire(handle: int, path: str, *, exclusive: bool) -> None:
    """Lock the byte of a file that is open, where its file system has locks. Raises ImageLockedError."""
    where = api.Overlapped(offset_high=_BYTE >> 32)
    flags = api.LOCK_FAIL_IMMEDIATELY | (api.LOCK_EXCLUSIVE if exclusive else 0)
    if api.kernel32.LockFileEx(handle, flags, 0, 1, 0, ctypes.byref(where)):
        return
    error = api.last_error(path)
    if holders.is_locked(error):
        raise holders.locked(path)
    if error.winerror not in api.UNSUPPORTED:  # how the file was opened keeps others out all the same
        raise error


def release(handle: int) -> None:
    """Unlock the byte at once: Windows only promises to do it some time after the handle is closed."""
    where = api.Overlapped(offset_high=_BYTE >> 32)
    api.kernel32.UnlockFileEx(handle, 0, 1, 0, ctypes.byref(where))
