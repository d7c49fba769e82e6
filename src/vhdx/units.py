"""Bytes as people write and read them: ``"10GiB"`` to 10737418240 and back."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

_SUFFIXES = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}
_NAMES = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def parse_size(size: int | str) -> int:
    """A size in bytes from an integer or a word such as ``4096``, ``"10G"``, ``"1.5 gib"``.

    Every suffix is binary, as in qemu-img. Decimal words such as ``"10GB"`` are refused, because their
    readers disagree by 7 %. Raises ValueError for anything else, for negative sizes and for fractions of
    a byte; TypeError for other types.
    """
    if isinstance(size, bool) or not isinstance(size, int | str):
        raise TypeError(f"a size is an integer or a string, not {type(size).__name__}")
    if isinstance(size, int):
        if size < 0:
            raise ValueError(f"a size cannot be negative: {size}")
        return size
    whole, fraction, power = _split(size)
    # Whole numbers all the way: "0.1T" must not depend on what a float can hold.
    size_in_parts: int = int(whole + fraction) * 1024**power
    parts: int = 10 ** len(fraction)
    if size_in_parts % parts:
        raise ValueError(f"{size!r} is not a whole number of bytes")
    return size_in_parts // parts


def _split(word: str) -> tuple[str, str, int]:
    text = word.strip().lower()
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    suffix = text[len(digits) :].strip()
    if len(suffix) == 2 and suffix[1] == "b" and suffix[0] in _SUFFIXES:
        raise ValueError(
            f"{word!r} is ambiguous: write {digits.strip()}{suffix[0].upper()}iB for powers of 1024, or bytes"
        )
    suffix = suffix[0] if len(suffix) == 3 and suffix.endswith("ib") and suffix[0] != "b" else suffix
    plain = digits.replace(".", "", 1)
    if suffix not in _SUFFIXES or not (plain.isascii() and plain.isdigit()) or len(digits) > 40:
        raise ValueError(f"{word!r} is not a size; write it like 4096, 512M, 10GiB or 1.5T")
    whole, _, fraction = digits.partition(".")
    return whole, fraction, _SUFFIXES[suffix]


def format_size(size: int) -> str:
    """A size for people: ``"4 MiB"``, ``"1.5 GiB"``, ``"512 bytes"``; at most two decimals."""
    power = 0
    while power + 1 < len(_NAMES) and size >= 1024 ** (power + 1):
        power += 1
    number = f"{size / 1024**power:.2f}".rstrip("0").rstrip(".") if power else str(size)
    return f"{number} {_NAMES[power]}"


def size_text(size: int) -> str:
    """A size for people that loses nothing: ``"1.5 GiB (1610612737 bytes)"``."""
    short = format_size(size)
    return short if short.endswith("bytes") else f"{short} ({size} bytes)"
