"""What Windows' registry says of a user's distributions; inside WSL a program of Windows is asked."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    Values = Mapping[str, str | int]

KEY = r"Software\Microsoft\Windows\CurrentVersion\Lxss"
_VARIABLES = r"HKCU\Volatile Environment"
"""Where Windows keeps the variables of who is logged in: APPDATA for one."""
_SYSTEM = "/mnt/c/Windows/System32"
"""Where WSL mounts what it runs, if its path does not lead there."""
_VALUE = re.compile(
    r"^ {4}(?P<name>.+?) {4}REG_(?:(?:EXPAND_)?SZ {4}(?P<text>.*)|DWORD {4}(?P<number>0x[0-9a-fA-F]+))$"
)
_SECONDS = 30
_MOST = 1000
"""Distributions that are looked at; nobody has so many."""


def is_here() -> bool:
    """Whether there is a registry: on Windows, and inside WSL where it may start programs of Windows."""
    return os.name == "nt" or _program("reg.exe") is not None


def keys() -> dict[str, Values]:
    """The values of WSL's key, under "", and of each key in it. Raises OSError where there is no registry."""
    if sys.platform == "win32":
        return _asked()
    program = _program("reg.exe")
    if program is None:
        said = "there is no registry: disks of WSL are known by name only on Windows and inside WSL"
        raise OSError(errno.ENOTSUP, said)
    answer = _answer(program, "query", rf"HKCU\{KEY}", "/s")
    return {} if answer is None else parsed(answer)


def variable(name: str) -> str | None:
    """What a variable of the user's environment on Windows says; None where that is not known."""
    if os.name == "nt":
        return os.environ.get(name) or None
    program = _program("reg.exe")
    answer = None if program is None else _answer(program, "query", _VARIABLES, "/v", name)
    values = () if answer is None else parsed(answer).values()
    return next((str(found[name]) for found in values if name in found), None)


def host_path(path: str) -> str:
    """Where a path of Windows is here."""
    plain = path.removeprefix("\\\\?\\")
    if os.name == "nt":
        return plain
    program = shutil.which("wslpath")
    answer = None if program is None else _answer(program, "-u", plain)
    if answer is not None:
        return answer.rstrip("\n")
    drive, _, rest = plain.partition(":")
    return f"/mnt/{drive.lower()}{rest.replace(chr(92), '/')}"


def _answer(*command: str) -> str | None:
    """What a program prints; None if it fails. Raises OSError where it does not end."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603  fixed
    except subprocess.TimeoutExpired:
        raise OSError(errno.ETIMEDOUT, "does not answer", command[0]) from None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=_SYSTEM)


def parsed(text: str) -> dict[str, Values]:
    """What `reg.exe query /s` prints: keys, and below each its values."""
    found: dict[str, dict[str, str | int]] = {}
    current: dict[str, str | int] = {}
    for line in text.splitlines():
        value = _VALUE.match(line)
        if value is None and line.startswith("HKEY_"):
            current = found.setdefault(line.rpartition("Lxss")[2].strip("\\ "), {})
        elif value is not None:
            number = value["number"]
            current[value["name"]] = value["text"] if number is None else int(number, 16)
    return dict(list(found.items())[:_MOST])


if sys.platform == "win32":
    import winreg

    def _asked() -> dict[str, Values]:
        try:
            with winreg.OpenKey(winreg.HKEY_CURRENT_USER, KEY) as top:
                names = [
                    winreg.EnumKey(top, place) for place in range(min(_MOST, winreg.QueryInfoKey(top)[0]))
                ]
                found = {"": _values(top)}
                for name in names:
                    with winreg.OpenKey(top, name) as below:
                        found[name] = _values(below)
                return found
        except FileNotFoundError:  # nobody installed WSL
            return {}

    def _values(key: winreg.HKEYType) -> Values:
        found = (winreg.EnumValue(key, place) for place in range(winreg.QueryInfoKey(key)[1]))
        return {name: value for name, value, _ in found if isinstance(value, str | int)}
