"""Names of guests, and where their links lead, as Windows can have them: `host_names` for Windows."""

from __future__ import annotations

import re
from functools import lru_cache
from zlib import crc32

from vhdx.storage.windows_paths import FORBIDDEN, is_reserved

_LONGEST = 255
"""Units of UTF-16."""
_NOT_NAMES = ("", ".", "..")
_DRIVE = re.compile(r"[A-Za-z]:(?=[\\/]|$)")


@lru_cache(maxsize=4096)  # the names of directories come again with everything in them
def host_name(name: str) -> str:
    """The name itself, or one that can be: what cannot stand in it is escaped as ``%`` and its number.

    Of names that are too long the beginning is kept, and a checksum of all of it.
    """
    if name in _NOT_NAMES:
        return "".join(map(_number, name)) or "%"
    escaped = "".join(map(_escaped, name))
    if escaped[-1] in ". ":
        escaped = escaped[:-1] + _number(escaped[-1])
    if is_reserved(escaped):
        escaped = _number(escaped[0]) + escaped[1:]
    raw = escaped.encode("utf-16-le")
    if len(raw) <= 2 * _LONGEST:
        return escaped
    end = f"~{crc32(raw):08x}"
    return raw[: 2 * (_LONGEST - len(end))].decode("utf-16-le", "ignore") + end


def _number(character: str) -> str:
    return f"%{ord(character):02X}"


def _escaped(character: str) -> str:
    number = ord(character)
    if character in FORBIDDEN:
        return _number(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8
        return f"%{number - 0xDC00:02X}"
    if 0xD800 <= number <= 0xDFFF:  # half of a character of UTF-16
        return f"%u{number:04X}"
    return character


def host_target(target: str, *, is_windows: bool) -> str:
    r"""Where a symbolic link leads, in names of Windows; ``is_windows`` says whether the guest is one.

    Raises ValueError for a link that leads nowhere, and for one that Windows would ask another machine for:
    looking at it would tell that who does.
    """
    drive = _DRIVE.match(target) if is_windows else None
    start = drive[0] if drive else ""
    parts = re.split(r"[\\/]" if is_windows else "/", target[len(start) :])
    if parts == [""] and not start:
        raise ValueError("a link that leads nowhere; it is left out")
    if len(parts) > 2 and parts[:2] == ["", ""]:
        raise ValueError(f"a link to {target}, which Windows takes for another machine; it is left out")
    return start + "\\".join(part if part in _NOT_NAMES else host_name(part) for part in parts)
