"""Who may use a file at the same time on Windows: how it is opened, and one byte that is locked.

How a file is opened says what others may do meanwhile, and Windows keeps every program to it. The byte is
for this library alone: it lies where no file reaches, because a lock also forbids reading what it covers.
"""

from __future__ import annotations

import ctypes
import os
import sys

from vhdx.errors import ImageLockedError
from vhdx.storage import windows_api as api

assert sys.platform == "win32"

_BYTE = 1 << 62
_HOLDS_LINUX = ("ext4.vhdx", "docker_data.vhdx", "swap.vhdx")
"""Names that WSL and Docker give to their disks."""
_RUNS_LINUX = ("wsl", "vmmem", "docker")
_LOCKED = frozenset({api.ERROR_SHARING_VIOLATION, api.ERROR_LOCK_VIOLATION})


def is_locked(error: OSError) -> bool:
    """Whether an error says that somebody else has the file."""
    return error.winerror in _LOCKED


def acquire(handle: int, path: str, *, exclusive: bool) -> None:
    """Lock the byte of a file that is open, where its file system has locks. Raises ImageLockedError."""
    where = api.Overlapped(offset_high=_BYTE >> 32)
    flags = api.LOCK_FAIL_IMMEDIATELY | (api.LOCK_EXCLUSIVE if exclusive else 0)
    if api.kernel32.LockFileEx(handle, flags, 0, 1, 0, ctypes.byref(where)):
        return
    error = api.last_error(path)
    if is_locked(error):
        raise locked(path)
    if error.winerror not in api.UNSUPPORTED:  # how the file was opened keeps others out all the same
        raise error


def release(handle: int) -> None:
    """Unlock the byte at once: Windows only promises to do it some time after the handle is closed."""
    where = api.Overlapped(offset_high=_BYTE >> 32)
    api.kernel32.UnlockFileEx(handle, 0, 1, 0, ctypes.byref(where))


def locked(path: str) -> ImageLockedError:
    """The error for a file that somebody else has, with the names of the programs and how they let go."""
    users = api.users_of(os.path.abspath(path))
    names = [f"process {process} ({application or '?'})" for process, application in users]
    who = " and ".join(names) or "another program, a virtual machine or Windows itself"
    return ImageLockedError(f"{who} holds it", image=path, next_command=_what_lets_go(path, users))


def _what_lets_go(path: str, users: list[tuple[int, str]]) -> str | None:
    """The command that makes the holders let go, where one is known that does."""
    name = os.path.basename(path).lower()
    applications = [application.lower() for _, application in users]
    if name in _HOLDS_LINUX or any(word in app for app in applications for word in _RUNS_LINUX):
        return "wsl --shutdown"
    return None
