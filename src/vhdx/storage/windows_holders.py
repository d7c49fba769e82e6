"""Who has a file on Windows, by its restart manager, and how they let go of it."""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes import wintypes

from vhdx.errors import ImageLockedError
from vhdx.storage import windows_api as api

assert sys.platform == "win32"

_HOLDS_LINUX = ("ext4.vhdx", "docker_data.vhdx", "swap.vhdx")
"""Names that WSL and Docker give to their disks."""
_RUNS_LINUX = ("wsl", "vmmem", "docker")
_ATTACHED_BY_WINDOWS = (".vhdx", ".avhdx", ".vhd", ".avhd")
_WINDOWS_ITSELF = 4  # the process of its kernel
_MOST_USERS = 1024
_LOCKED = frozenset({api.ERROR_SHARING_VIOLATION, api.ERROR_LOCK_VIOLATION})


class ProcessInfo(ctypes.Structure):
    """RM_PROCESS_INFO of the restart manager: who uses a file."""

    _fields_ = (
        ("process", wintypes.DWORD),
        ("started", wintypes.FILETIME),
        ("application", wintypes.WCHAR * 256),
        ("service", wintypes.WCHAR * 64),
        ("kind", ctypes.c_int),
        ("status", wintypes.ULONG),
        ("session", wintypes.DWORD),
        ("restartable", wintypes.BOOL),
    )
    process: int
    application: str


assert ctypes.sizeof(ProcessInfo) == 668


def is_locked(error: OSError) -> bool:
    """Whether an error says that somebody else has the file."""
    return error.winerror in _LOCKED


def users_of(path: str) -> list[tuple[int, str]]:
    """Process numbers and names of the programs that have a file open; none where Windows cannot tell."""
    manager = ctypes.WinDLL("rstrtmgr")
    session, needed, reasons = wintypes.DWORD(), wintypes.UINT(), wintypes.DWORD()
    key = ctypes.create_unicode_buffer(33)
    if manager.RmStartSession(ctypes.byref(session), 0, key):
        return []
    try:
        files = (wintypes.LPCWSTR * 1)(path)
        if manager.RmRegisterResources(session, 1, files, 0, None, 0, None):
            return []
        ended, count = api.ERROR_MORE_DATA, 16
        while ended == api.ERROR_MORE_DATA and count <= _MOST_USERS:
            found = (ProcessInfo * count)()
            there = wintypes.UINT(count)
            ended = manager.RmGetList(
                session, ctypes.byref(needed), ctypes.byref(there), found, ctypes.byref(reasons)
            )
            count = max(2 * count, needed.value)
        return [] if ended else [(one.process, one.application) for one in found[: there.value]]
    finally:
        manager.RmEndSession(session)


def locked(path: str) -> ImageLockedError:
    """The error for a file that somebody else has, with the names of the programs and how they let go."""
    users = users_of(os.path.abspath(path))
    names = [f"process {process} ({application or '?'})" for process, application in users]
    who = " and ".join(names) or "another program, a virtual machine or Windows itself"
    return ImageLockedError(f"{who} holds it", image=path, next_command=_what_lets_go(path, users))


def _what_lets_go(path: str, users: list[tuple[int, str]]) -> str | None:
    """The command that makes the holders let go, where one is known that does."""
    name = os.path.basename(path).lower()
    applications = [application.lower() for _, application in users]
    if name in _HOLDS_LINUX or any(word in app for app in applications for word in _RUNS_LINUX):
        return "wsl --shutdown"
    programs = [process for process, _ in users if process != _WINDOWS_ITSELF]
    if name.endswith(_ATTACHED_BY_WINDOWS) and not programs:
        return "Dismount-DiskImage '{}'".format(os.path.abspath(path).replace("'", "''"))  # of PowerShell
    return None
