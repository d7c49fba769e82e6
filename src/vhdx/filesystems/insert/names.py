"""Names that FAT and exFAT can have, and the entries that FAT keeps long ones in."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING
from zlib import crc32

from vhdx.filesystems.insert.base import SLOT

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

LONG_NAME = 0x0F
"""The attributes of an entry that holds a piece of a long name."""
_FORBIDDEN = frozenset('"*/:<>?\\|') | frozenset(map(chr, range(32))) | {"\x7f"}
_LONGEST = 255
_IN_ENTRY = 13
_PIECES = struct.Struct("<B10sBBB12sH4s")
_LAST = 0x40
_SHORT = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'()-@^_`{}~")


def check_name(name: str) -> None:
    """Raise ValueError for a name that FAT and exFAT cannot have."""
    if not name.strip(" ."):
        raise ValueError(f"{name!r} is no name that FAT can have")
    wrong = sorted(_FORBIDDEN.intersection(name))
    if wrong:
        raise ValueError(f"FAT can have no name with {wrong[0]!r} in it: {name!r}")
    if name[-1] in " .":
        raise ValueError(f"names on a FAT do not end with a space or a dot: {name!r}")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in name):
        raise ValueError(f"the name is not text in UTF-8, and names on a FAT are text: {name!r}")
    if units(name) > _LONGEST:
        raise ValueError(f"names on a FAT have at most {_LONGEST} characters, not {units(name)}: {name!r}")


def units(name: str) -> int:
    """The length of a name in UTF-16, in which FAT and exFAT count."""
    return len(name.encode("utf-16-le")) // 2


def long_slots(name: str) -> int:
    """How many entries of FAT a long name takes; none where the short one is all there is to it."""
    return 0 if is_short(name) else -(-units(name) // _IN_ENTRY)


def is_short(name: str) -> bool:
    """Whether a name is one of at most eight characters and three, as DOS has them."""
    stem, dot, end = name.partition(".")
    fits = 0 < len(stem) <= 8 and (0 < len(end) <= 3 if dot else True)
    return fits and _SHORT.issuperset(stem) and _SHORT.issuperset(end)


def short_name(name: str, taken: Container[bytes]) -> bytes:
    """The eleven bytes of a short name: its own, or one made of it that nobody has yet."""
    if is_short(name):
        stem, _, end = name.partition(".")
        return _padded(stem, end)
    plain = name.upper().lstrip(". ").replace(" ", "")
    stem, _, end = plain.rpartition(".") if "." in plain else (plain, "", "")
    stem, end = (_replaced(part.replace(".", "")) for part in (stem, end))
    for tail in _tails(name):
        found = _padded((stem[: 8 - len(tail)] or "_") + tail, end)
        if found not in taken:
            return found
    raise ValueError(f"there are too many names like {name!r} in its directory")


def _tails(name: str) -> Iterator[str]:
    """What makes a short name of its own of one that others have: numbers, soon behind a checksum.

    As Windows does it, so that a thousand names that begin alike need not try a thousand numbers each.
    """
    yield from (f"~{number}" for number in range(1, 5))
    total = crc32(name.encode("utf-16-le")) & 0xFFFF
    yield from (f"{total:04X}~{number}" for number in range(1, 10))
    yield from (f"~{number}" for number in range(5, 1_000_000))


def _replaced(part: str) -> str:
    return "".join(character if character in _SHORT else "_" for character in part)


def _padded(stem: str, end: str) -> bytes:
    return (stem[:8].ljust(8) + end[:3].ljust(3)).encode("ascii")


def shown(short: bytes) -> str:
    """A short name as people write it."""
    stem, end = (part.decode("cp437").rstrip(" ") for part in (short[:8], short[8:]))
    return f"{stem}.{end}" if end else stem


def checksum(short: bytes) -> int:
    """By which the pieces of a long name say whose they are."""
    total = 0
    for byte in short:
        total = ((total & 1) << 7 | total >> 1) + byte & 0xFF
    return total


def long_entries(name: str, short: bytes) -> bytes:
    """The entries of a long name, the last piece first."""
    raw = name.encode("utf-16-le")
    count = long_slots(name)
    if len(raw) < count * _IN_ENTRY * 2:
        raw = (raw + b"\0\0").ljust(count * _IN_ENTRY * 2, b"\xff")
    entries = []
    for number in range(count, 0, -1):
        piece = raw[(number - 1) * _IN_ENTRY * 2 : number * _IN_ENTRY * 2]
        order = number | (_LAST if number == count else 0)
        entries.append(
            _PIECES.pack(order, piece[:10], LONG_NAME, 0, checksum(short), piece[10:22], 0, piece[22:])
        )
    return b"".join(entries)


def named_entries(slots: bytes) -> Iterator[tuple[int, int, str | None]]:
    """(first slot, last slot, long name) of every entry of a FAT directory that is no piece of a name."""
    pieces: list[tuple[int, int, bytes]] = []
    for position in range(0, len(slots), SLOT):
        entry = slots[position : position + SLOT]
        index = position // SLOT
        if entry[0] == 0:
            return
        if entry[0] == 0xE5:
            pieces = []
        elif entry[11] & 0x3F == LONG_NAME:
            order, one, _, _, total, two, _, three = _PIECES.unpack(entry)
            if order & _LAST:
                pieces = []
            if order & _LAST or pieces:
                pieces.append((order & 0x3F, total, one + two + three))
        else:
            name = _joined(pieces, checksum(entry[:11]))
            yield index - (len(pieces) if name is not None else 0), index, name
            pieces = []


def _joined(pieces: list[tuple[int, int, bytes]], total: int) -> str | None:
    """The long name of pieces that are whole and belong to a short one."""
    whole = [(number, total) for number in range(len(pieces), 0, -1)]
    if not pieces or [piece[:2] for piece in pieces] != whole:
        return None
    raw = b"".join(piece for _, _, piece in reversed(pieces))
    return raw.decode("utf-16-le", "replace").partition("\0")[0]
