"""What a table lacks, counted window by window, against a list of its slots."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vhdx
from tests.support.layout import FULLY_PRESENT, MIB, TIB
from vhdx.examine.absence import Absence, AbsenceCount
from vhdx.examine.slots import Window
from vhdx.geometry import Geometry

SECTOR_SLOTS = 64
ABSENT, PRESENT, NAMED, RESERVED = 0, 5 * MIB | 6, 7 * MIB, 4
ENTRIES = st.sampled_from([ABSENT, PRESENT, NAMED, RESERVED])


def windows(entries: Sequence[int], geometry: Geometry, chunks: int) -> list[Window]:
    """As `Slots.windows` cuts a table."""
    found = []
    for first_chunk in range(0, geometry.chunk_count, chunks):
        first = first_chunk * geometry.chunk_ratio
        blocks = np.array(entries[first : first + chunks * geometry.chunk_ratio], dtype=np.uint64)
        is_full = bool((blocks == PRESENT).all())
        bitmaps = np.zeros(min(chunks, geometry.chunk_count - first_chunk), dtype=np.uint64)
        found.append(Window(first_chunk, first, blocks, blocks[:0], bitmaps, is_full))
    return found


def naive(entries: Sequence[int], geometry: Geometry) -> Absence:
    slots = [0] * geometry.bat_entry_count
    for block, entry in enumerate(entries):
        slots[geometry.payload_index(block)] = int(entry == PRESENT)
    sums = [sum(slots[at : at + SECTOR_SLOTS]) for at in range(0, len(slots), SECTOR_SLOTS)]
    filled = [number for number, count in enumerate(sums) if count]
    around = list(zip([-1, *filled], filled, strict=False))
    has_empty_sector = not filled or any(
        last - first > 1 and sums[last] >= 32 and (first < 0 or sums[first] >= 32) for first, last in around
    )
    named = [entry for entry in entries if entry == NAMED][:8]
    lacks_first = entries[0] != PRESENT
    return Absence(sum(entry != PRESENT for entry in entries), has_empty_sector, lacks_first, tuple(named))


@given(
    runs=st.lists(st.tuples(ENTRIES, st.integers(1, 150)), min_size=1, max_size=8),
    block_mibs=st.sampled_from([256, 32]),
    chunks=st.integers(1, 5),
    differencing=st.booleans(),
)
def test_it_counts_what_a_list_of_all_slots_says(
    runs: list[tuple[int, int]], block_mibs: int, chunks: int, differencing: bool
) -> None:
    entries = [entry for entry, count in runs for _ in range(count)]
    block_size = block_mibs * MIB
    geometry = Geometry(len(entries) * block_size, block_size, 512, differencing)
    count = AbsenceCount(geometry.bat_entry_count, geometry)
    for window in windows(entries, geometry, chunks):
        count.add(window)
    assert count.found() == naive(entries, geometry)


def test_a_check_reads_a_table_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "full.vhdx"
    vhdx.create(image, TIB, block_size=MIB)
    end = image.stat().st_size
    blocks = np.arange(TIB // MIB, dtype=np.uint64)
    table = np.zeros((len(blocks) // 4096, 4097), dtype="<u8")
    table[:, :4096] = ((blocks << np.uint64(20)) + np.uint64(end | FULLY_PRESENT)).reshape(-1, 4096)
    with open(image, "r+b") as file:
        file.seek(3 * MIB)
        file.write(table.tobytes()[:-8])
        file.truncate(end + TIB)
    read = 0
    really = os.preadv

    def counted(*arguments: Any) -> int:
        nonlocal read
        count = really(*arguments)
        read += count
        return count

    monkeypatch.setattr(os, "preadv", counted)
    assert vhdx.check(image).errors == 0
    assert table.nbytes - 8 <= read < 1.5 * table.nbytes  # headers and metadata are read, too
