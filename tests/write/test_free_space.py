"""Free space: runs between other things are found whatever was looked for before."""

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, UNMAPPED
from tests.support.parts import Block
from vhdx.write.space import Space

WISHES = ["take 1", "take 2", "take 4", "back"]
STEPS = st.lists(st.tuples(st.sampled_from(WISHES), st.integers(0, 9)), max_size=30)


@given(STEPS)
def test_a_free_run_is_always_found(steps: list[tuple[str, int]]) -> None:
    space, used = Space(7 * MIB), bytearray(7)
    taken: list[tuple[int, int]] = []
    for step, which in steps:
        if step == "back":
            if taken:
                first, count = taken.pop(which % len(taken))
                space.give_back(first * MIB, count * MIB)
                used[first : first + count] = bytes(count)
            continue
        count = int(step[-1])
        place = space.find(count * MIB)
        assert (place is None) == (used.find(bytes(count)) < 0)
        if place is not None:
            first = place // MIB
            assert space.claim(place, count * MIB)
            assert not any(used[first : first + count])
            used[first : first + count] = b"\1" * count
            taken.append((first, count))


def test_space_that_very_many_blocks_keep_is_marked_in_bounded_memory(tmp_path: Path) -> None:
    """131072 and more entries go the vectorised way: kept space stays nobody's, whatever stands there."""
    image = ImageBuilder(140_000 * MIB, MIB, blocks={0: Block(b"own")})
    place = image.plan().blocks[0]
    image.bat = {139_000: place + 2 * MIB | UNMAPPED, 139_001: place | UNMAPPED, 139_002: 1 << 40 | UNMAPPED}
    image.tail = bytes(4 * MIB)
    path = image.write(tmp_path / "image.vhdx")
    with vhdx.open(path, "r+") as disk:
        for number in range(1, 4):
            disk.pwrite(b"new", number * MIB)
        found = {e.file_offset for e in disk.extents(length=4 * MIB) if e.kind is vhdx.ExtentKind.DATA}
    assert place + 2 * MIB not in {offset // MIB * MIB for offset in found if offset is not None}
    with vhdx.open(path) as disk:
        assert disk.pread(3, 0) == b"own"


def test_too_many_blocks_that_keep_space_behind_the_file_are_refused(tmp_path: Path) -> None:
    image = ImageBuilder(1_200_000 * MIB, MIB)
    image.fill = lambda blocks: np.full_like(blocks, 1 << 40 | UNMAPPED)
    path = image.write(tmp_path / "image.vhdx")
    with vhdx.open(path, "r+") as disk, pytest.raises(vhdx.CorruptImageError, match="keep space behind"):
        disk.pwrite(b"x", 0)


@given(
    st.lists(st.tuples(st.integers(3, 60), st.integers(1, 4)), max_size=6),
    st.integers(0, 12),
    st.integers(1, 4),
)
def test_how_far_it_will_reach(kept: list[tuple[int, int]], count: int, length: int) -> None:
    """Space that is kept where the file does not reach yet is passed over."""
    space = Space(3 * MIB)
    for first, mebibytes in kept:
        space.keep([first * MIB], mebibytes * MIB)
    told = space.end_after(count, length * MIB)
    for _ in range(count):
        space.extend(length * MIB)
    assert space.end <= told
    if not kept:
        assert space.end == told
