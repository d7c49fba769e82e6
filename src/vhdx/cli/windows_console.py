"""Consoles of Windows: they show colours since Windows 10, where a program asks for it."""

from __future__ import annotations

import ctypes
import functools
import sys
from ctypes import wintypes

assert sys.platform == "win32"

_STANDARD_OUTPUT = wintypes.DWORD(-11)
_UNDERSTANDS_SEQUENCES = 4  # ENABLE_VIRTUAL_TERMINAL_PROCESSING


@functools.cache
def shows_colours() -> bool:
    """Ask the console behind standard output to; False where it is none, or an older one."""
    kernel32 = ctypes.WinDLL("kernel32")
    kernel32.GetStdHandle.restype = wintypes.HANDLE
    console, mode = wintypes.HANDLE(kernel32.GetStdHandle(_STANDARD_OUTPUT)), wintypes.DWORD()
    if not kernel32.GetConsoleMode(console, ctypes.byref(mode)):
        return False
    return bool(kernel32.SetConsoleMode(console, mode.value | _UNDERSTANDS_SEQUENCES))
