"""Names on FAT and exFAT: which can be, what the short ones are, hashes and sums as others have them."""

import time

import pytest

from vhdx.filesystems.insert.exfat_names import Upcase, name_hash, rotated_sum
from vhdx.filesystems.insert.names import (
    check_name,
    checksum,
    long_entries,
    long_slots,
    named_entries,
    short_name,
    shown,
)
from vhdx.filesystems.insert.times import packed


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("README.TXT", b"README  TXT"),
        ("A", b"A          "),
        ("readme.txt", b"README~1TXT"),
        ("a long name.html", b"ALONGN~1HTM"),
        (".profile", b"PROFIL~1   "),
        ("two.dots.gz", b"TWODOT~1GZ "),
        ("ümläut", b"_ML_UT~1   "),
        ("日本", b"__~1       "),
        ("a+b.c", b"A_B~1   C  "),
        ("TOOLONGNAME", b"TOOLON~1   "),
        ("X.LONG", b"X~1     LON"),
    ],
)
def test_short_names(name: str, short: bytes) -> None:
    assert short_name(name, set()) == short


def test_short_names_of_thousands_that_begin_alike_are_quick_and_all_different() -> None:
    taken: set[bytes] = set()
    begin = time.process_time()
    for number in range(5000):
        found = short_name(f"a file with number {number}.txt", taken)
        assert found not in taken
        taken.add(found)
    assert time.process_time() - begin < 5
    assert b"AFILEW~4TXT" in taken
    assert b"AFILEW~5TXT" not in taken


def test_the_checksum_is_that_of_the_specification() -> None:
    for short in (b"README~1TXT", b"A          ", bytes(range(11))):
        assert checksum(short) == _naive(short)


def _naive(short: bytes) -> int:
    total = 0
    for byte in short:
        total = (0x80 if total & 1 else 0) + (total >> 1) + byte
        total %= 256
    return total


@pytest.mark.parametrize("length", [1, 12, 13, 14, 25, 26, 27, 254, 255])
def test_long_names_come_back(length: int) -> None:
    name = ("näme" * 64)[:length]
    short = short_name(name, set())
    entries = long_entries(name, short) + short + bytes(21)
    assert len(entries) == (long_slots(name) + 1) * 32
    assert list(named_entries(entries + bytes(32))) == [(0, long_slots(name), name)]


def test_pieces_that_do_not_belong_together_are_no_name() -> None:
    short = short_name("a long name of a file", set())
    entries = long_entries("a long name of a file", short)
    for broken in (entries[32:], entries[:32] + entries[:32], entries[:13] + b"\1" + entries[14:]):
        (found,) = named_entries(broken + short + bytes(21))
        assert found[2] is None
        assert found[0] == found[1]
    deleted = b"\xe5" + entries[1:] + short + bytes(21)
    assert [name for _, _, name in named_entries(deleted)] == [None]


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", " ", "a/b", "a\\b", "a:b", "a*", "a?", 'a"', "a<", "a|", "a\0", "a\x1f", "a.", "a "],
)
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(ValueError, match=r"FAT|name"):
        check_name(name)


def test_lengths_count_in_units_of_utf_16() -> None:
    check_name("x" * 255)
    check_name("🎉" * 127)
    with pytest.raises(ValueError, match="at most 255 characters, not 256"):
        check_name("🎉" * 128)
    with pytest.raises(ValueError, match="not text"):
        check_name("a\udcff")


def test_shown() -> None:
    assert shown(b"README  TXT") == "README.TXT"
    assert shown(b"A          ") == "A"


def test_upper_case_by_the_table() -> None:
    """Identity for 97 characters, then A to C for a to c, the rest as it is."""
    table = Upcase(b"\xff\xff\x61\x00" + "ABC".encode("utf-16-le") + b"\xff\xff\x9b\xff")
    assert table.folded("xabcz") == "xABCz"
    assert table.folded("🎉a") == "🎉A"


def test_sums_rotate() -> None:
    assert rotated_sum(b"\1") == 1
    assert rotated_sum(b"\1\0") == 0x8000
    assert rotated_sum(b"\xff\xff") == 0x8000 + 0x7F + 0xFF & 0xFFFF
    assert name_hash("A") == rotated_sum(b"A\0")


def test_times_are_kept_within_what_can_be() -> None:
    assert packed(0) == packed(-(10**30)) == packed(315532800 * 10**9)
    assert packed(10**30).date >> 9 == 127
    odd = packed(1_700_000_001_990_000_000)
    assert odd.tens == 199
    assert odd.time & 31 == 10
