"""Size words: of the library, of the command, and of resizing. The twin counts in fractions."""

import contextlib
import re
from collections.abc import Iterator
from fractions import Fraction

from vhdx.format.metadata import MAXIMUM_DISK_SIZE
from vhdx.ops.make.plan import Rounding, disk_size_from
from vhdx.ops.resize import _wanted
from vhdx.units import TIB, format_size, parse_size

__all__ = ["corpus", "run"]

_OLD_SIZE = 3 * TIB + 512
_WORD = re.compile(r"(?=[0-9.]*[0-9])([0-9]*)(?:\.([0-9]*))? *(?:([kmgtpe])(?:ib?|(b))?|b)?", re.ASCII)
_WORDS = (
    "0",
    "4096",
    "512M",
    "10GiB",
    "1.5 tib",
    "0.1T",
    "10GB",
    "1.000001Tb",
    "3 mi",
    ".5k",
    "7.",
    "1b",
    "1e",
    "+1G",
    "-512",
    " 8 E ",
)


def corpus() -> Iterator[bytes]:
    """Words as people write them."""
    yield from (word.encode() for word in _WORDS)


def run(data: bytes) -> None:
    """Read the bytes as a size, and as a size to resize to."""
    word = data.decode("utf-8", "surrogateescape")
    wanted = _twin(word)
    size: int | None = None
    with contextlib.suppress(ValueError):
        size = parse_size(word)
    assert size == wanted, f"{word!r} is {size}, not {wanted}"
    if size is not None:
        assert parse_size(size) == size
        assert format_size(size)
        _resized(word, size)
    _changed(word)


def _twin(word: str) -> int | None:
    """The bytes that a word stands for, None where it is no size."""
    digits = word.strip().lower().rstrip("abcdefghijklmnopqrstuvwxyz ")
    found = _WORD.fullmatch(word.strip().lower())
    if found is None or len(digits) > 40:
        return None
    whole, fraction, unit, decimal = found.groups()
    number = Fraction(int(whole or "0")) + Fraction(int(fraction or "0"), 10 ** len(fraction or ""))
    number *= (1000 if decimal else 1024) ** (" kmgtpe".index(unit) if unit else 0)
    return int(number) if number.denominator == 1 else None


def _resized(word: str, size: int) -> None:
    assert _wanted(word, _OLD_SIZE) == size
    assert _wanted(f"+{word}", _OLD_SIZE) == _OLD_SIZE + size
    if size < _OLD_SIZE:
        assert _wanted(f"-{word}", _OLD_SIZE) == _OLD_SIZE - size


def _changed(word: str) -> None:
    rounding = Rounding()
    try:
        legal = disk_size_from(_wanted(word, _OLD_SIZE), 4096, rounding)
    except ValueError:
        return
    assert 0 < legal <= MAXIMUM_DISK_SIZE
    assert legal % 4096 == 0
    assert len(rounding.sentences) <= 1
