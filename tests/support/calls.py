"""System calls that tests make themselves, for every host."""

import os
import sys
from pathlib import Path

OPEN_FLAGS = getattr(os, "O_BINARY", 0)
"""What `os.open` wants so that Windows changes no line ends."""

if sys.platform == "win32":

    def pread(descriptor: int, length: int, offset: int) -> bytes:
        """Up to ``length`` bytes of a file of Python's own."""
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, length)

    def pwrite(descriptor: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        """Write the data; how much went."""
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.write(descriptor, data)

    def space_of(path: Path) -> int:
        """How many bytes of the host's disk a file takes."""
        from vhdx.storage import windows  # noqa: PLC0415  this host has it

        descriptor = windows.open_to_read(str(path), lock=False)
        try:
            return windows.allocated(descriptor)
        finally:
            windows.close(descriptor)

    def files_held(folder: Path) -> list[str]:
        """The files below a folder that somebody has open."""
        from vhdx.storage import windows_api as api  # noqa: PLC0415  this host has it

        held = []
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                handle = api.kernel32.CreateFileW(
                    str(path), api.GENERIC_READ, 0, None, api.OPEN_EXISTING, 0, None
                )
                if handle == api.NO_HANDLE:
                    held.append(str(path))
                else:
                    api.kernel32.CloseHandle(handle)
        return held

else:
    pread, pwrite = os.pread, os.pwrite

    def space_of(path: Path) -> int:
        """How many bytes of the host's disk a file takes."""
        return path.stat().st_blocks * 512

    def files_held(folder: Path) -> list[str]:
        """The files below a folder that this process has open."""
        held = []
        for number in os.listdir("/proc/self/fd"):
            try:
                held.append(os.readlink(f"/proc/self/fd/{number}"))
            except OSError:  # the descriptor that listed the directory
                continue
        return sorted(name for name in held if name.startswith(str(folder)))
