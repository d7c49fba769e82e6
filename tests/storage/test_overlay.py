"""The overlay of a replay, against a bytearray to which the same changes are made oldest first."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.layout import SECTOR
from vhdx.storage.overlay import Overlay, OverlayFullError
from vhdx.storage.stream import StreamStorage

SECTORS = 24
Change = tuple[int, int, int | None]  # sector, number of sectors, fill (None: zeros)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.integers(0, SECTORS), st.just(1), st.integers(1, 255)),
        st.tuples(st.integers(0, SECTORS), st.integers(0, 8), st.none()),
    ),
    max_size=24,
)


def base_of(length: int) -> bytes:
    return bytes((n * 7 + n // 251) % 255 + 1 for n in range(length))


def overlaid(base: bytes, changes: list[Change], size: int = 0) -> Overlay:
    """An overlay filled newest first, as it has to be."""
    overlay = Overlay(StreamStorage(io.BytesIO(base)), limit=1000)
    for sector, count, fill in reversed(changes):
        if fill is None:
            overlay.put_zeros(sector * SECTOR, count * SECTOR)
        else:
            overlay.put_sector(sector * SECTOR, bytes([fill]) * SECTOR)
    overlay.extend(size)
    overlay.seal()
    return overlay


def twin_of(base: bytes, changes: list[Change], size: int = 0) -> bytes:
    """The file that the changes make of the base, oldest first."""
    twin = bytearray(base)
    for sector, count, fill in changes:
        start, length = sector * SECTOR, count * SECTOR
        if length:
            twin.extend(bytes(max(0, start + length - len(twin))))
            twin[start : start + length] = bytes([fill or 0]) * length
    return bytes(twin.ljust(size, b"\0"))


@settings(max_examples=300)
@given(st.integers(0, SECTORS * SECTOR), CHANGES, st.integers(0, 30 * SECTOR), st.data())
def test_promise_4_an_overlay_reads_as_the_changed_file(
    length: int, changes: list[Change], size: int, data: st.DataObject
) -> None:
    base = base_of(length)
    overlay, twin = overlaid(base, changes, size), twin_of(base, changes, size)
    assert overlay.size() == len(twin)
    assert overlay.read(len(twin), 0) == twin
    for _ in range(6):
        start = data.draw(st.integers(0, len(twin)))
        count = data.draw(st.integers(0, min(3 * SECTOR, len(twin) - start)))
        assert overlay.read(count, start) == twin[start : start + count]
        buffer = memoryview(bytearray(b"\xff" * count))
        overlay.read_into(buffer, start)
        assert bytes(buffer) == twin[start : start + count]


def test_the_base_is_left_as_it_is() -> None:
    file = io.BytesIO(base_of(5 * SECTOR))
    overlay = Overlay(StreamStorage(file), limit=4)
    overlay.put_sector(SECTOR, bytes(SECTOR))
    overlay.seal()
    assert overlay.read(5 * SECTOR, 0) != base_of(5 * SECTOR)
    assert file.getvalue() == base_of(5 * SECTOR)


@pytest.mark.parametrize("start", [4 * SECTOR, 4 * SECTOR - 1, 100 * SECTOR])
def test_a_read_past_the_end_is_an_error(start: int) -> None:
    overlay = overlaid(base_of(2 * SECTOR), [(3, 1, 7)])
    assert overlay.size() == 4 * SECTOR
    with pytest.raises(OSError, match="ends inside"):
        overlay.read(2, start)


def test_sectors_and_runs_are_limited_each() -> None:
    overlay = Overlay(StreamStorage(io.BytesIO()), limit=3)
    for n in range(3):
        overlay.put_sector(n * SECTOR, bytes(SECTOR))
        overlay.put_zeros((10 + 2 * n) * SECTOR, SECTOR)
    overlay.put_sector(0, b"x" * SECTOR)
    overlay.put_sector(10 * SECTOR, b"x" * SECTOR)
    overlay.put_zeros(11 * SECTOR, SECTOR)
    with pytest.raises(OverlayFullError):
        overlay.put_sector(5 * SECTOR, bytes(SECTOR))
    overlay.put_zeros(20 * SECTOR, SECTOR)
    with pytest.raises(OverlayFullError):
        overlay.put_zeros(30 * SECTOR, SECTOR)


def test_what_is_under_the_newest_costs_nothing() -> None:
    overlay = Overlay(StreamStorage(io.BytesIO(bytes(8 * SECTOR))), limit=1)
    for n in range(50):
        overlay.put_sector(0, bytes([n]) * SECTOR)
        overlay.put_zeros(SECTOR, SECTOR)
        overlay.put_sector(SECTOR, b"under zeros" * 372 + b"1234")
    overlay.seal()
    assert overlay.read(2 * SECTOR, 0) == bytes(2 * SECTOR)


def test_name_holes_and_closing_are_those_of_the_base() -> None:
    file = io.BytesIO(bytes(SECTOR))
    overlay = Overlay(StreamStorage(file, "its name"), limit=1)
    assert overlay.name == "its name"
    assert list(overlay.data_ranges(5, 100)) == [(5, 100)]
    assert list(overlay.data_ranges(5, 0)) == []
    overlay.close()
    assert file.closed


@given(CHANGES)
def test_changed_ranges_hold_every_sector_that_changes(changes: list[Change]) -> None:
    base = base_of(9 * SECTOR + 100)
    overlay = overlaid(base, changes)
    after = overlay.read(overlay.size(), 0)
    before = base.ljust(len(after), b"\0")
    sectors = [slice(at, at + SECTOR) for at in range(0, len(after), SECTOR)]
    ranges = list(overlay.changed_ranges())
    inside = {at for start, length in ranges for at in range(start, start + length, SECTOR)}
    differing = {sector.start for sector in sectors if before[sector] != after[sector]}
    assert differing <= inside
    assert all(start % SECTOR == length % SECTOR == 0 < length for start, length in ranges)
    ends = [start + length for start, length in ranges]
    assert all(end < start for end, (start, _) in zip(ends, ranges[1:], strict=False))
