"""Size words: what people write, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.layout import GIB, KIB, MIB, TIB
from vhdx.units import format_size, is_decimal, parse_size

WORDS: list[tuple[int | str, int]] = [
    (0, 0),
    (2**70, 2**70),
    ("0", 0),
    ("4096", 4096),
    ("4096b", 4096),
    ("10K", 10 * KIB),
    ("10k", 10 * KIB),
    ("10KiB", 10 * KIB),
    ("10kib", 10 * KIB),
    ("512M", 512 * MIB),
    ("10G", 10 * GIB),
    ("10GiB", 10 * GIB),
    ("10gib", 10 * GIB),
    ("10 GiB", 10 * GIB),
    (" 10g ", 10 * GIB),
    ("64T", 64 * TIB),
    ("64TiB", 64 * TIB),
    ("1P", 2**50),
    ("1EiB", 2**60),
    ("1.5G", 3 * GIB // 2),
    ("0.5k", 512),
    (".5k", 512),
    ("2.k", 2 * KIB),
    ("0.0009765625M", KIB),
]


@pytest.mark.parametrize(("word", "size"), WORDS)
def test_words_that_are_sizes(word: int | str, size: int) -> None:
    assert parse_size(word) == size


PREFIXES = [(prefix, power) for power, prefix in enumerate("KMGTPE", 1)]


@pytest.mark.parametrize(("prefix", "power"), PREFIXES)
def test_only_words_like_gb_are_decimal(prefix: str, power: int) -> None:
    for word in (f"10{prefix}B", f"10 {prefix.lower()}b", f" 10{prefix}b "):
        assert parse_size(word) == 10 * 1000**power
        assert is_decimal(word)
    for word in (
        f"10{prefix}",
        f"10{prefix}i",
        f"10{prefix}iB",
        f"10 {prefix.lower()}ib",
        "10b",
        "10",
        "",
        "B",
    ):
        assert not is_decimal(word)
    for word in (f"10{prefix}", f"10{prefix}i", f"10{prefix}iB"):
        assert parse_size(word) == 10 * 1024**power


def test_fractions_of_decimal_words() -> None:
    assert parse_size("1.5GB") == 1_500_000_000
    assert parse_size("0.001kB") == 1
    with pytest.raises(ValueError, match="whole number of bytes"):
        parse_size("0.0001kB")


NO_SIZES = [
    "",
    " ",
    "G",
    "-1",
    "+1",
    "-1G",
    "1,5G",
    "1.2.3G",
    ".",
    "1e3",
    "0x10",
    "1_000",
    "ten",
    "10Q",
    "10GiBB",
    "10GG",
]
NO_SIZES += [
    "10 G B",
    "1/2G",
    "nan",
    "inf",
    "\u0661\u0660",
    "1\u00b2",
    "10iB",
    "10bib",
    "10 ib",
    "9" * 100,
    "1\n2",
]


@pytest.mark.parametrize("word", NO_SIZES)
def test_words_that_are_no_sizes(word: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(word)


@pytest.mark.parametrize("word", ["0.3", "0.3k", "1.0001K", "0.1b"])
def test_fractions_of_a_byte_are_refused(word: str) -> None:
    with pytest.raises(ValueError, match="not a whole number of bytes"):
        parse_size(word)


@pytest.mark.parametrize("number", [-1, -(2**70)])
def test_negative_numbers_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match="negative"):
        parse_size(number)


@pytest.mark.parametrize("thing", [None, 1.5, True, b"10G", ["10G"]], ids=repr)
def test_other_things_are_a_type_error(thing: Any) -> None:
    with pytest.raises(TypeError, match="integer or a string"):
        parse_size(thing)


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_a_value_error(word: str) -> None:
    try:
        size = parse_size(word)
    except ValueError as error:
        assert len(str(error)) < 200  # noqa: PT017  both outcomes are asserted
    else:
        assert size >= 0


@pytest.mark.parametrize(
    ("size", "word"),
    [
        (0, "0 bytes"),
        (512, "512 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (100 * MIB, "100 MiB"),
        (10 * GIB, "10 GiB"),
        (136365211648, "127 GiB"),
        (64 * TIB, "64 TiB"),
        (GIB + GIB // 100, "1.01 GiB"),
        (2**70, "1024 EiB"),
    ],
)
def test_sizes_for_people(size: int, word: str) -> None:
    assert format_size(size) == word


@given(st.integers(0, 1023), st.integers(0, 6))
def test_whole_sizes_come_back_as_they_were(number: int, power: int) -> None:
    word = format_size(number * 1024**power)
    assert parse_size(word.replace("bytes", "b")) == number * 1024**power
