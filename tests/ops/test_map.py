"""What a disk is made of: counted as it is told, told as it is read."""

import json
import random
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import (
    FULLY_PRESENT,
    MIB,
    NOT_PRESENT,
    PARTIALLY_PRESENT,
    UNDEFINED,
    UNMAPPED,
    ZERO,
)
from tests.support.parts import Bitmap, Block
from tests.support.tools import needs
from vhdx import CorruptImageError, Extent, ExtentKind
from vhdx.disk.census import count_layer, layer_extents
from vhdx.disk.chain import VhdxDisk
from vhdx.disk.open import open_any, open_disk
from vhdx.ops.map import cells, layer_rows, map_rows, summary
from vhdx.tally import Tally

BLOCKS = 400
STATES = (NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED, FULLY_PRESENT, FULLY_PRESENT)


def _image(seed: int, parent: ImageBuilder | None = None, *, blocks: int = BLOCKS) -> ImageBuilder:
    """Blocks in runs of any state, most of them in order in the file, some elsewhere, some anchored."""
    chance = random.Random(seed)
    size = blocks * MIB - chance.choice((0, 512, 4096))
    image = ImageBuilder(size, MIB, seed=seed) if parent is None else parent.child(f"{seed - 1}.vhdx")
    image.disk_size, image.block_size = size, MIB
    states = STATES if parent is None else (*STATES, PARTIALLY_PRESENT, NOT_PRESENT)
    number = 0
    while number < blocks:
        state, run = chance.choice(states), chance.choice((1, 1, 2, 5, 70))
        for block in range(number, min(blocks, number + run)):
            present = {chance.randrange(2048) for _ in range(chance.randrange(5))}
            if chance.random() < 0.3:
                present = set(range(2048)) - present
            anchored = state in (UNDEFINED, UNMAPPED) and chance.random() < 0.5
            shown = present if state == PARTIALLY_PRESENT else None
            image.blocks[block] = Block(b"", state, present=shown, anchored=anchored)
        number += run
    plan = image.plan()
    places = dict(plan.blocks)
    full = [number for number, block in image.blocks.items() if block.state == FULLY_PRESENT]
    for first, second in zip(full[:-7:40], full[7::40], strict=False):
        places[first], places[second] = places[second], places[first]
    for number, place in places.items():
        image.blocks[number].file_offset = place
    image.bitmaps = {chunk: Bitmap(file_offset=place) for chunk, place in plan.bitmaps.items()}
    return image


@pytest.fixture(name="chain", scope="module")
def _chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three layers of about 400 blocks, the middle one shorter than the others."""
    folder = tmp_path_factory.mktemp("chain")
    base = _image(0)
    middle = _image(1, base, blocks=BLOCKS - 30)
    top = _image(2, middle)
    for image in (base, middle, top):
        path = image.write(folder / f"{image.seed}.vhdx")
    return path


def _counted(extents: list[Extent]) -> tuple[dict[tuple[int, ExtentKind, int], tuple[int, int]], int]:
    """Runs and bytes by depth, kind and state, and jumps: one by one."""
    runs: Counter[tuple[int, ExtentKind, int]] = Counter()
    lengths: Counter[tuple[int, ExtentKind, int]] = Counter()
    jumps, before = 0, None
    for extent in extents:
        found = extent.depth, extent.kind, int(extent.state)
        runs[found] += 1
        lengths[found] += extent.length
        if before and before.kind is extent.kind is ExtentKind.DATA and before.depth == extent.depth:
            assert before.file_offset is not None
            jumps += before.file_offset + before.length != extent.file_offset
        before = extent
    return {found: (runs[found], lengths[found]) for found in runs}, jumps


def _summed(
    disk: VhdxDisk, depth: int | None = None
) -> tuple[dict[tuple[int, ExtentKind, int], tuple[int, int]], int]:
    tally = Tally()
    if depth is None:
        found = summary(disk)
        rows = {
            (row.depth, ExtentKind(row.kind), int(vhdx.BlockState[row.state.upper()])): (row.runs, row.length)
            for row in found.rows
        }
        return rows, found.jumps
    count_layer(disk, depth, tally, 0, disk.layers[depth - 1].geometry.disk_size)
    counts = {(d, k, int(s)): tuple(count) for (d, k, s), count in tally.counts.items() if count.runs}
    return counts, tally.jumps  # type: ignore[return-value]


def test_a_summary_is_the_extents_counted(chain: Path) -> None:
    with open_disk(chain) as disk:
        expected = _counted(list(disk.extents()))
        assert len(expected[0]) > 10
        assert expected[1] > 2
        assert _summed(disk) == expected


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_layer_is_its_extents_counted(chain: Path, depth: int) -> None:
    with open_disk(chain) as disk:
        expected = _counted(list(layer_extents(disk, depth)))
        assert _summed(disk, depth) == expected
        assert (
            sum(row.length for row in summary(disk, depth).rows) == disk.layers[depth - 1].geometry.disk_size
        )


@pytest.mark.parametrize("seed", range(12))
def test_other_images(seed: int, tmp_path: Path) -> None:
    with open_disk(_image(seed, blocks=130).write(tmp_path / "a.vhdx")) as disk:
        assert _summed(disk) == _counted(list(disk.extents()))


@pytest.mark.parametrize("scattered", [False, True])
def test_several_windows(tmp_path: Path, *, scattered: bool) -> None:
    """140000 blocks: more than one window of the table, bitmap slots between them, no numpy per block."""
    count = 140_000
    image = ImageBuilder(count * MIB, MIB, default_state=FULLY_PRESENT)
    if scattered:
        one, start = np.uint64, image.plan().blocks_offset // MIB
        image.fill = lambda blocks: (blocks * one(48271) % one(count) + one(start) << one(20)) | one(6)
    image.bat = {image.bat_index(number): ZERO for number in (0, 5, 4096, 131071, 131072, count - 1)}
    with open_disk(image.write(tmp_path / "a.vhdx")) as disk:
        assert _summed(disk) == _counted(list(disk.extents()))


@pytest.mark.parametrize("word", [4, 7, 6, 1 << 20 | 6, (1 << 64) - (1 << 20) | 6, 1 << 47 | 6])
def test_a_block_that_cannot_be_read_is_an_error(tmp_path: Path, word: int) -> None:
    image = _image(3)
    image.bat = {200: word}
    with open_disk(image.write(tmp_path / "a.vhdx")) as disk:
        with pytest.raises(CorruptImageError) as told:
            list(disk.extents())
        with pytest.raises(CorruptImageError) as counted:
            summary(disk)
        assert str(counted.value) == str(told.value)


def test_rows_are_the_extents(chain: Path) -> None:
    with open_disk(chain) as disk:
        for row, extent in zip(map_rows(disk), disk.extents(), strict=True):
            assert row[:2] == extent[:2]
            assert (row.kind, row.state) == (extent.kind.value, extent.state.name.lower())
            assert (row.depth, row.file_offset) == (extent.depth, extent.file_offset)
            assert row.file == (disk.chain[extent.depth - 1] if extent.depth else None)


def test_what_a_parent_says_itself(chain: Path) -> None:
    with open_disk(chain) as disk:
        found = list(layer_rows(disk, 3))
    with open_disk(chain.with_name("0.vhdx")) as base:
        alone = list(map_rows(base))
    assert [(r.offset, r.length, r.kind, r.state, r.file_offset) for r in found] == [
        (r.offset, r.length, r.kind, r.state, r.file_offset) for r in alone
    ]
    assert {(row.depth, row.file) for row in found} == {(3, str(chain.with_name("0.vhdx")))}


@pytest.mark.parametrize("most", [1, 7, 64, 10_000])
def test_cells(chain: Path, most: int) -> None:
    with open_disk(chain) as disk:
        found = list(cells(disk, most))
        assert len(found) <= most
        assert len({cell.length for cell in found[:-1]}) <= 1
        jumps = 0
        for cell in found:
            parts = list(disk.extents(offset=cell.offset, length=cell.length))
            assert cell.data == sum(part.length for part in parts if part.kind is ExtentKind.DATA)
            assert cell.zeros == sum(part.length for part in parts if part.kind is ExtentKind.ZERO)
            jumps += cell.jumps
        assert sum(cell.length for cell in found) == disk.size
        assert jumps == summary(disk).jumps


@needs("qemu-img")
def test_the_holes_of_a_raw_file_are_those_that_qemu_sees(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        for megabyte in (1, 2, 5, 9):
            file.seek(megabyte * MIB)
            file.write(b"x" * 4096)
        file.truncate(12 * MIB)
    command = ["qemu-img", "map", "-f", "raw", "--output=json", str(path)]
    theirs = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    with open_any(str(path)) as disk:
        ours = [(row.offset, row.length, row.kind == "data", row.file_offset) for row in map_rows(disk)]
        data = sum(length for _, length, is_data, _ in ours if is_data)
        assert sum(row.length for row in summary(disk).rows if row.kind == "data") == data
    assert ours == [
        (row["start"], row["length"], row["data"], row["offset"] if row["data"] else None) for row in theirs
    ]
