"""The block allocation table: entries, and runs of few and of many against a naive twin."""

import io
from array import array
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.layout import MIB
from vhdx.geometry import Geometry
from vhdx.image import bat as bat_module
from vhdx.image.bat import WINDOW, Bat, BlockRun
from vhdx.image.pages import Pages
from vhdx.storage.stream import StreamStorage

TABLE = 3 * MIB
FULL, PARTIAL, ZERO, UNMAPPED = 6, 7, 2, 3


def bat_of(entries: list[int], geometry: Geometry) -> Bat:
    """A table with these payload entries, junk in every slot of a bitmap, at 3 MiB of a file."""
    slots = []
    for block, entry in enumerate(entries):
        slots.append(entry)
        if (block + 1) % geometry.chunk_ratio == 0:
            slots.append(0xDEAD_BEEF_0000_0006 + block)
    data = bytes(TABLE) + array("Q", slots).tobytes()
    return Bat(
        Pages(StreamStorage(io.BytesIO(data.ljust(TABLE + (len(slots) // 512 + 2) * 4096, b"\0")))),
        TABLE,
        geometry,
    )


def geometry_of(blocks: int, block_size: int = 256 * MIB, *, differencing: bool = False) -> Geometry:
    return Geometry(blocks * block_size, block_size, 512, differencing)


@pytest.mark.parametrize("count", [3, 40_000])
def test_where_there_are_no_bits_to_ask_state_seven_is_six(count: int) -> None:
    """In every entry of an image without a parent, in those of sector bitmaps of one with."""
    stored = [
        (number % 5 << 20) | (number % 3 << 3) | (FULL, PARTIAL, ZERO)[number % 3] for number in range(count)
    ]
    read = [entry - 1 if entry & 7 == PARTIAL else entry for entry in stored]
    alone, child = (bat_of(stored, geometry_of(count, differencing=kind)) for kind in (False, True))
    assert [alone.payload(n) for n in range(min(count, 99))] == read[:99]
    assert [*alone.payloads(0, count)] == read
    assert [*child.payloads(0, count)] == stored
    for table, expected in ((alone, read), (child, stored)):
        ratio = geometry_of(1).chunk_ratio
        slots = table.entries(0, count)
        assert [slots[n + n // ratio] for n in range(count - count // ratio - 1)] == expected[
            : count - count // ratio - 1
        ]
        bitmaps = [slots[(n + 1) * ratio + n] for n in range(count // (ratio + 1))]
        assert not [entry for entry in bitmaps if entry & 7 == PARTIAL]
        assert bitmaps == [table.bitmap(n) for n in range(len(bitmaps))]


def naive_runs(entries: list[int], block_size: int) -> list[tuple[int, int, int]]:
    """Runs in ten obvious lines: (first block, count, first entry)."""
    runs: list[tuple[int, int, int]] = []
    for block, entry in enumerate(entries):
        if runs:
            first, count, first_entry = runs[-1]
            step = {FULL: block_size * count, PARTIAL: None}.get(first_entry & 7, 0)
            if step is not None and entry == first_entry + step:
                runs[-1] = first, count + 1, first_entry
                continue
        runs.append((block, 1, entry))
    return runs


def joined(runs: list[BlockRun], block_size: int) -> list[tuple[int, int, int]]:
    """Runs as entries again, so that where a window cut them does not matter."""
    entries: list[int] = []
    for run in runs:
        assert run.first_block == len(entries)
        step = block_size if run.entry & 7 == FULL else 0
        assert run.entry & 7 != PARTIAL or run.block_count == 1
        entries += [run.entry + step * n for n in range(run.block_count)]
    return naive_runs(entries, block_size)


ENTRIES = st.lists(
    st.one_of(
        st.builds(lambda place, state: place * 256 * MIB | state, st.integers(0, 6), st.integers(0, 7)),
        st.builds(lambda place: place * 256 * MIB | FULL, st.integers(0, 40)),
        st.sampled_from(
            [0, 0, ZERO, UNMAPPED, 2**64 - 1, 2**64 - MIB | FULL, 2**64 - 256 * MIB | FULL, 8 | FULL]
        ),
    ),
    min_size=1,
    max_size=120,
)


def spread(entries: list[int]) -> list[int]:
    """The entries, each present one followed by its successors, so that there are long runs."""
    long: list[int] = []
    for entry in entries:
        step = 256 * MIB if entry & 7 == FULL and entry < 2**63 else 0
        long += [entry + step * n for n in range(1 + entry // MIB % 5)]
    return long


PLACE, STEP = 512 * MIB, 256 * MIB
TABLES: dict[str, list[int]] = {
    "one": [0],
    "partial blocks of one place": [PLACE | PARTIAL] * 3,
    "partial blocks in a row": [PLACE + n * STEP | PARTIAL for n in range(3)],
    "a full block and its neighbour, partial": [
        PLACE | FULL,
        PLACE + STEP | PARTIAL,
        PLACE + 2 * STEP | FULL,
    ],
    "full blocks in a row": [PLACE + n * STEP | FULL for n in range(5)],
    "full blocks of one place": [PLACE | FULL] * 3,
    "full blocks downwards": [PLACE + n * STEP | FULL for n in (2, 1, 0)],
    "full blocks with reserved bits": [PLACE | 8 | FULL, PLACE + STEP | 8 | FULL, PLACE + 2 * STEP | FULL],
    "zeros, some with an offset": [ZERO, ZERO, PLACE | ZERO, PLACE | ZERO, ZERO],
    "all states": list(range(8)) * 2,
}


@pytest.mark.parametrize("name", TABLES)
def test_runs_of_known_tables(name: str) -> None:
    wanted = naive_runs(TABLES[name], STEP)
    assert list(bat_module._runs_of_few(0, array("Q", TABLES[name]), STEP)) == wanted
    assert list(bat_module._runs_of_many(0, array("Q", TABLES[name]), STEP)) == wanted


@settings(max_examples=200)
@given(ENTRIES, st.booleans())
def test_runs_of_few_and_of_many_are_the_naive_ones(entries: list[int], long: bool) -> None:
    entries = spread(entries) if long else entries
    geometry = geometry_of(len(entries), differencing=True)
    wanted = naive_runs(entries, geometry.block_size)
    few = list(bat_module._runs_of_few(0, array("Q", entries), geometry.block_size))
    many = list(bat_module._runs_of_many(0, array("Q", entries), geometry.block_size))
    assert few == wanted
    # vectorised sums wrap at 64 bits, where no file reaches
    if max(entries) < 2**63:
        assert many == wanted
    assert list(bat_of(entries, geometry).runs(0, len(entries))) == wanted


@given(ENTRIES, st.data())
def test_runs_of_a_part_are_that_part(entries: list[int], data: st.DataObject) -> None:
    geometry = geometry_of(len(entries), differencing=True)
    first = data.draw(st.integers(0, len(entries) - 1))
    count = data.draw(st.integers(0, len(entries) - first))
    part = entries[first : first + count]
    assert list(bat_of(entries, geometry).payloads(first, count)) == part
    runs = [
        (run.first_block - first, run.block_count, run.entry)
        for run in bat_of(entries, geometry).runs(first, count)
    ]
    assert runs == naive_runs(part, geometry.block_size)


def test_runs_over_windows_of_a_large_table() -> None:
    blocks = 2 * WINDOW + 1000
    entries = [0] * blocks
    for start, count in ((5, 10), (WINDOW - 3, 7), (2 * WINDOW - 1, 2), (blocks - 1, 1)):
        entries[start : start + count] = [(64 + start + n) * MIB | FULL for n in range(count)]
    geometry = geometry_of(blocks, MIB, differencing=True)
    runs = list(bat_of(entries, geometry).runs(0, blocks))
    assert joined(runs, MIB) == naive_runs(entries, MIB)
    assert len(runs) <= len(naive_runs(entries, MIB)) + 2, "cut by windows at most"


@pytest.mark.parametrize("block_size", [32 * MIB, 256 * MIB])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 64, 65, 127, 128, 129, 300])
@pytest.mark.parametrize("first", [0, 1, 15, 16, 127, 128])
def test_slots_of_bitmaps_are_left_out(block_size: int, first: int, count: int) -> None:
    entries = [(block + 1) << 20 | FULL for block in range(first + count)]
    bat = bat_of(entries, geometry_of(len(entries), block_size))
    assert list(bat.payloads(first, count)) == entries[first:]
    assert [bat.payload(block) for block in range(first, first + count)] == entries[first:]


def test_the_slots_of_bitmaps() -> None:
    geometry = geometry_of(40, differencing=True)
    bat = bat_of(list(range(40)), geometry)
    assert [bat.bitmap(chunk) for chunk in range(2)] == [0xDEAD_BEEF_0000_0006 + block for block in (15, 31)]
    assert [bat.slot_offset(index) for index in (0, 1, 512)] == [TABLE, TABLE + 8, TABLE + 4096]
    assert all(one < other for one, other in pairwise(bat.slot_offset(n) for n in range(40)))
