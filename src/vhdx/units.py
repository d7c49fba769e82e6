"""Bytes as people write and read them: ``"10GiB"`` to 10737418240 and back."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

_PREFIXES = "kmgtpe"
_DECIMAL = {f"{prefix}b": 1000**power for power, prefix in enumerate(_PREFIXES, 1)}
_UNITS = {
    **dict.fromkeys(("", "b"), 1),
    **{f"{prefix}{i}": 1024**power for power, prefix in enumerate(_PREFIXES, 1) for i in ("", "i", "ib")},
    **_DECIMAL,
}
"""The bytes that each suffix stands for."""
_NAMES = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def parse_size(size: int | str) -> int:
    """A size in bytes from an integer or a word such as ``4096``, ``"10G"``, ``"1.5 gib"``.

    ``10G``, ``10Gi`` and ``10GiB`` are binary, as in qemu-img; only ``10GB`` is decimal. Raises ValueError
    for anything else, for negative sizes and for fractions of a byte; TypeError for other types.
    """
    if isinstance(size, bool) or not isinstance(size, int | str):
        raise TypeError(f"a size is an integer or a string, not {type(size).__name__}")
    if isinstance(size, int):
        if size < 0:
            raise ValueError(f"a size cannot be negative: {size}")
        return size
    whole, fraction, unit = _split(size)
    # Whole numbers all the way: "0.1T" must not depend on what a float can hold.
    size_in_parts: int = int(whole + fraction) * unit
    parts: int = 10 ** len(fraction)
    if size_in_parts % parts:
        raise ValueError(f"{size!r} is not a whole number of bytes")
    return size_in_parts // parts


def is_decimal(word: str) -> bool:
    """Whether a size is a word such as ``"10GB"``, which some mean to be binary."""
    return _parts(word)[1] in _DECIMAL


def _split(word: str) -> tuple[str, str, int]:
    digits, suffix = _parts(word)
    plain = digits.replace(".", "", 1)
    if suffix not in _UNITS or not (plain.isascii() and plain.isdigit()) or len(digits) > 40:
        raise ValueError(f"{word!r} is not a size; write it like 4096, 512M, 10GiB or 1.5T")
    whole, _, fraction = digits.partition(".")
    return whole, fraction, _UNITS[suffix]


def _parts(word: str) -> tuple[str, str]:
    text = word.strip().lower()
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    return digits, text[len(digits) :].strip()


def format_size(size: int) -> str:
    """A size for people: ``"4 MiB"``, ``"1.5 GiB"``, ``"512 bytes"``; at most two decimals."""
    power = 0
    while power + 1 < len(_NAMES) and size >= 1024 ** (power + 1):
        power += 1
    number = f"{size / 1024**power:.2f}".rstrip("0").rstrip(".") if power else str(size)
    return f"{number} {_NAMES[power]}"


def exact_word(size: int) -> str:
    """A size as short as can be without losing anything, as `parse_size` reads it: ``"8M"``, ``"512"``."""
    power = 0
    while size and power < len(_PREFIXES) and size % 1024 ** (power + 1) == 0:
        power += 1
    return f"{size >> 10 * power}{_PREFIXES[power - 1].upper() if power else ''}"


def size_text(size: int) -> str:
    """A size for people that loses nothing: ``"1.5 GiB (1610612737 bytes)"``."""
    short = format_size(size)
    return short if short.endswith("bytes") else f"{short} ({size} bytes)"
