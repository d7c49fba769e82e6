"""Which processes run on Windows, and on which machine."""

from __future__ import annotations

import functools
import sys

from vhdx.storage import windows_api as api

assert sys.platform == "win32"

_SYNCHRONIZE = 0x00100000
_LARGEST_NUMBER = 0xFFFFFFFF
_NO_SUCH_PROCESS = api.ERROR_INVALID_PARAMETER
_IT_RUNS = 0x102  # waiting for its end timed out


def process_runs(process: int) -> bool:
    """Whether a process of this number runs here; True as well where that cannot be told."""
    if process > _LARGEST_NUMBER:
        return True
    handle = api.kernel32.OpenProcess(_SYNCHRONIZE, False, process)
    if not handle:
        return api.last_error().winerror != _NO_SUCH_PROCESS
    try:
        return int(api.kernel32.WaitForSingleObject(handle, 0)) == _IT_RUNS
    finally:
        api.kernel32.CloseHandle(handle)


@functools.cache
def machine_tag() -> str:
    """A short word that other machines have another one for."""
    import contextlib  # noqa: PLC0415  readers need not wait for them
    import hashlib  # noqa: PLC0415
    import os  # noqa: PLC0415
    import winreg  # noqa: PLC0415

    told = os.environ.get("COMPUTERNAME", "")
    with (
        contextlib.suppress(OSError),
        winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography") as key,
    ):
        told += f"\0{winreg.QueryValueEx(key, 'MachineGuid')[0]}"
    return hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest()[:8]
