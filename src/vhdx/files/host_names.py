"""Names of guests, and where their links lead, as hosts of POSIX can have them."""

from __future__ import annotations

from functools import lru_cache
from zlib import crc32

_LONGEST = 255
"""Bytes of a name on every host that this runs on."""
_NOT_NAMES = ("", ".", "..")


@lru_cache(maxsize=4096)  # the names of directories come again with everything in them
def host_name(name: str) -> str:
    """The name itself, or one that can be: what cannot stand in it is escaped as ``%`` and its number.

    Of names that are too long the beginning is kept, and a checksum of all of it.
    """
    if name in _NOT_NAMES:
        return "".join(f"%{ord(character):02X}" for character in name) or "%"
    escaped = "".join(_escaped(character) for character in name)
    raw = escaped.encode("utf-8", "surrogateescape")
    if len(raw) <= _LONGEST:
        return escaped
    end = f"~{crc32(raw):08x}"
    return raw[: _LONGEST - len(end)].decode("utf-8", "ignore") + end


def _escaped(character: str) -> str:
    number = ord(character)
    if character in "/\0":
        return f"%{number:02X}"
    if 0xD800 <= number <= 0xDFFF and not 0xDC80 <= number <= 0xDCFF:  # half of a character of UTF-16
        return f"%u{number:04X}"
    return character


def host_target(target: str, *, is_windows: bool) -> str:  # noqa: ARG001  Windows' own names differ
    """Where a symbolic link leads on the host. Raises ValueError for one that leads nowhere."""
    if not target:
        raise ValueError("a link that leads nowhere; it is left out")
    return target
