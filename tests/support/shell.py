"""Lines that are said to the user, as a shell of the host takes them."""

import ctypes
import shlex
import sys

if sys.platform == "win32":

    def words_of(line: str) -> list[str]:
        """The words of a command, as a program gets them: shells of Windows hand on the line."""
        split, free = ctypes.windll.shell32.CommandLineToArgvW, ctypes.windll.kernel32.LocalFree
        split.restype, free.argtypes = ctypes.POINTER(ctypes.c_wchar_p), [ctypes.c_void_p]
        count = ctypes.c_int()
        found = split(f"program {line}", ctypes.byref(count))
        words = found[1 : count.value]
        free(found)
        return [word or "" for word in words]

else:
    words_of = shlex.split
