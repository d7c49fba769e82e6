"""The parent locator: what comes back as it was, and every rule with the place where it is broken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.layout import LOCATOR_TYPE, pack_locator
from vhdx.format import locator
from vhdx.format.locator import MalformedLocatorError

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30)
PAIRS = [("parent_linkage", "{x}"), ("relative_path", ".\\p")]


@given(st.dictionaries(TEXT, TEXT, max_size=8))
def test_keys_and_values_come_back_in_their_order(values: dict[str, str]) -> None:
    packed = locator.pack(values)
    assert packed == pack_locator(values)
    assert list(locator.unpack(packed).items()) == list(values.items())
    assert locator.locator_type(packed) == LOCATOR_TYPE


@pytest.mark.parametrize("value", ["p\udcff.vhdx", "p" * 32768])
def test_what_no_locator_can_say_is_refused(value: str) -> None:
    """A name that is no text, as hosts allow it; a path whose length its field cannot hold."""
    with pytest.raises(
        ValueError, match=r"the parent's path 'p.*' cannot be written into an image"
    ) as caught:
        locator.pack({"relative_path": value})
    assert type(caught.value) is ValueError
    assert str(caught.value).isprintable()
    assert locator.unpack(locator.pack({"relative_path": value[:1] * 32767}))


def test_strings_stand_in_any_order() -> None:
    packed = pack_locator(PAIRS)
    swapped = [{"key_offset": 50, "value_offset": 100, "key_length": 4, "value_length": 4}]
    item = pack_locator([("ab", "cd")], entries=swapped).ljust(100, b"\0") + "cd".encode("utf-16-le")
    item = item[:50] + "ab".encode("utf-16-le") + item[54:]
    assert locator.unpack(item) == {"ab": "cd"}
    assert locator.unpack(packed + b"behind the strings may be anything") == dict(PAIRS)


@pytest.mark.parametrize("length", [0, 1, 16, 19])
def test_an_item_too_short_for_a_header_has_no_type(length: int) -> None:
    assert locator.locator_type(pack_locator(PAIRS)[:length]) is None


MALFORMED: dict[str, tuple[bytes, int, str]] = {
    "more entries than fit": (pack_locator(PAIRS, key_value_count=99), 18, "99 entries need 1208 bytes"),
    "key at 0": (pack_locator(PAIRS, entries=[{}, {"key_offset": 0}]), 32, "key: "),
    "value at 0": (pack_locator(PAIRS, entries=[{}, {"value_offset": 0}]), 32, "relative_path"),
    "empty key": (pack_locator(PAIRS, entries=[{"key_length": 0}]), 20, "key: 0 bytes"),
    "empty value": (pack_locator(PAIRS, entries=[{"value_length": 0}]), 20, "0 bytes"),
    "key over the end": (pack_locator(PAIRS, entries=[{"key_offset": 120}]), 20, "do not lie inside"),
    "value past the end": (
        pack_locator(PAIRS, entries=[{"value_offset": 2**32 - 1}]),
        20,
        "do not lie inside",
    ),
    "odd key": (pack_locator(PAIRS, entries=[{"key_length": 3}]), 20, "is not UTF-16"),
    "lone surrogate": (pack_locator([("a", "\udfff")]), 20, "is not UTF-16"),
    "NUL in a key": (pack_locator([("a\0", "b")]), 20, "key has a NUL"),
    "NUL in a value": (pack_locator([("a", "\0")]), 20, "has a NUL"),
    "a key twice": (pack_locator([("a", "b"), ("c", "d"), ("a", "e")]), 44, "'a' stands twice"),
    "shared strings": (
        pack_locator(PAIRS * 9, entries=[{"value_offset": 300, "value_length": 400}] * 18),
        32,
        "longer",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_broken_rule_is_told_with_its_place(name: str) -> None:
    item, offset, words = MALFORMED[name]
    with pytest.raises(MalformedLocatorError, match=words.replace("(", "\\(")) as caught:
        locator.unpack(item)
    assert caught.value.offset == offset


@given(st.binary(max_size=400), st.integers(0, 40))
def test_any_bytes_are_a_locator_or_malformed(body: bytes, count: int) -> None:
    item = pack_locator({}, key_value_count=count) + body
    try:
        values = locator.unpack(item)
    except MalformedLocatorError as error:
        assert 0 <= error.offset < len(item)  # noqa: PT017  both outcomes are asserted
    else:
        assert len(values) == count
        assert all(key and value for key, value in values.items())
