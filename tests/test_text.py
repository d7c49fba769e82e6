"""Text of images in messages: harmless, short, and marked where it is cut."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhdx.text import printable, quoted, windows_word

ESCAPES = re.compile(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}|[^\\]|\\[nrt]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200 + "…"),
        ("\x01" * 50, "\\x01" * 50),
        ("\x01" * 51, "\\x01" * 50 + "…"),
        ("x" * 198 + "\x01", "x" * 198 + "…"),
        ("x" * 196 + "\x01", "x" * 196 + "\\x01"),
        ("x" * 196 + "\x01y", "x" * 196 + "\\x01…"),
    ],
)
def test_text_is_cut_between_characters_and_every_cut_is_marked(text: str, expected: str) -> None:
    assert quoted(text) == expected


@given(st.text(st.characters(exclude_characters="\\…"), max_size=300))
def test_what_is_quoted_is_whole_or_a_beginning_with_a_mark(text: str) -> None:
    found = quoted(text)
    assert len(found) <= 201
    assert found.isprintable()
    if found != printable(text):
        assert found.endswith("…")
        assert printable(text).startswith(found[:-1])
        assert ESCAPES.sub("", found) == ""


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("C:\\disks\\a-1.vhdx", "C:\\disks\\a-1.vhdx"),
        ("C:\\my disks\\ä.vhdx", '"C:\\my disks\\ä.vhdx"'),
        ("a&b.vhdx", '"a&b.vhdx"'),
        ("it's.vhdx", '"it\'s.vhdx"'),
        ("it's $5.vhdx", "'it''s $5.vhdx'"),
        ("a “b”.vhdx", "'a “b”.vhdx'"),
        ("\u2018a\u2019 “b”.vhdx", "'\u2018\u2018a\u2019\u2019 “b”.vhdx'"),
        ("D:\\my disks\\", '"D:\\my disks\\\\"'),
        ("-x.vhdx", ".\\-x.vhdx"),
        ("", '""'),
    ],
)
def test_words_for_the_shells_of_windows(path: str, word: str) -> None:
    assert windows_word(path) == word
