"""What a path means on Windows: devices, names that files cannot have, paths that need a prefix."""

from __future__ import annotations

import ntpath
import re

from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_DEVICE = "\\\\.\\"
_LITERAL = "\\\\?\\"
_SHARE = "\\\\"
_UNC = "UNC\\"
_DRIVE = re.compile(r"[A-Za-z]:\\")
_LONGEST_PLAIN = 247
"""Characters of the longest path that every Windows takes as it is, a new file in a directory included."""
FORBIDDEN = frozenset('/\\:*?"<>|' + "".join(map(chr, range(32))))
"""Characters that stand in no name."""
_DEVICE_NAMES = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$", "clock$"}
    | {f"{port}{digit}" for port in ("com", "lpt") for digit in "123456789\N{SUPERSCRIPT ONE}²³"}
)


def is_device(path: str) -> bool:
    r"""Whether a path names a device, such as ``\\.\PhysicalDrive0``, and no file."""
    return path.replace("/", "\\").startswith(_DEVICE)


def opened_as(path: str) -> str:
    """The path under which Windows opens a file: with a prefix where it is too long to go without."""
    if path.startswith(_LITERAL) or is_device(path):
        return path
    whole = ntpath.abspath(path)
    if len(whole) <= _LONGEST_PLAIN or is_device(whole):
        return path
    return literal(whole)


def literal(path: str) -> str:
    """A whole path with the prefix that lets Windows take it as it stands."""
    if path.startswith(_LITERAL):
        return path
    if path.startswith(_SHARE):
        return _LITERAL + _UNC + path.removeprefix(_SHARE)
    return _LITERAL + path


def plain(path: str) -> str:
    """The path without that prefix, as others are written; that of a volume without a letter keeps it."""
    rest = path.removeprefix(_LITERAL)
    if rest.upper().startswith(_UNC):
        return _SHARE + rest[len(_UNC) :]
    return rest if _DRIVE.match(rest) else path


def refuse_as_new(path: str) -> None:
    """Raise ValueError for a name that Windows would take for a device or give to another file."""
    if not path.startswith(_LITERAL):
        refuse_as_named([ntpath.basename(path)])


def refuse_as_named(parts: Iterable[str]) -> None:
    """The same for parts of a path, directories included. Raises ValueError."""
    for part in parts:
        if is_reserved(part):
            raise ValueError(f"{part} names a device of Windows; no file can have that name")
        if part not in (".", "..") and part != part.rstrip(". "):
            raise ValueError(f"{part} ends in a dot or a blank, which Windows drops; leave it out")


def refuse_as_one_name(name: str) -> None:
    """The same for what is to be one name and nothing else. Raises ValueError."""
    if name in ("", ".", "..") or not FORBIDDEN.isdisjoint(name):
        raise ValueError(f"{name!r} is no name of a file on Windows")
    refuse_as_named([name])


def is_reserved(name: str) -> bool:
    """Whether a part of a path stands for a device, with or without a suffix and blanks before it."""
    return name.partition(".")[0].partition(":")[0].rstrip(" ").lower() in _DEVICE_NAMES
