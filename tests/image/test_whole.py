"""Extents of many blocks at once are those that each run alone gives, errors included."""

import itertools
import random
from pathlib import Path

import pytest

import vhdx
from tests.support.layout import MIB
from vhdx.disk.open import open_disk
from vhdx.errors import CorruptImageError
from vhdx.extents import Extent, ExtentKind, merged
from vhdx.image import bat, read
from vhdx.image.read import Reader

BLOCKS = 9000
SIZE = BLOCKS * MIB - 512


def write_table(image: Path, child: Path | None, seed: int, *, faulty: bool) -> Path:
    """An image whose entries are random: long runs, single blocks, all states, some places wrong."""
    chance = random.Random(seed)
    path = child or image
    with open_disk(path) as disk:
        layer = disk.layers[0]
        table, ratio, end = layer.regions.bat.file_offset, layer.geometry.chunk_ratio, path.stat().st_size
    states = [0, 1, 2, 3, 5, 6, 6, 6] + ([7] if child else []) + ([4] if faulty else [])
    with path.open("r+b") as file:
        block, place = 0, end // MIB
        while block < BLOCKS:
            state = chance.choice(states)
            count = min(BLOCKS - block, chance.choice([1, 1, 2, 700]))
            for number in range(block, block + count):
                named = place if state in (6, 7) or (state in (1, 3) and chance.random() < 0.1) else 0
                if faulty and chance.random() < 0.001:
                    named = chance.choice([1 << 43, 1, (1 << 44) - 1])
                place += bool(named)
                file.seek(table + 8 * (number + number // ratio))
                file.write((named << 20 | state).to_bytes(8, "little"))
            block += count
            place += chance.random() < 0.3
        if child:  # every chunk has a bitmap, with runs of sectors
            for chunk in range(-(-BLOCKS // ratio)):
                file.seek(table + 8 * ((chunk + 1) * ratio + chunk))
                file.write((place << 20 | 6).to_bytes(8, "little"))
                file.seek(place * MIB)
                file.write(chance.randbytes(MIB // 64) + bytes(MIB - MIB // 64))
                place += 1
        file.truncate((place + 1) * MIB)
    return path


@pytest.fixture(name="paths", params=[False, True], ids=["dynamic", "child"])
def _paths(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, Path | None]:
    image = tmp_path / "vm.vhdx"
    vhdx.create(image, SIZE, block_size="1M")
    if not request.param:
        return image, None
    vhdx.create(tmp_path / "vm.avhdx", parent=image, block_size="1M")
    return image, tmp_path / "vm.avhdx"


def told(reader: Reader, offset: int, length: int, *, said: bool) -> tuple[list[Extent], str]:
    """The extents of a range up to the first error, neighbours made one, and that error."""
    found: list[Extent] = []
    try:
        extents = reader.said_extents(offset, length) if said else reader.extents(offset, length)
        found.extend(extents)
    except CorruptImageError as error:
        return list(merged(found)), str(error)
    return list(merged(found)), ""


@pytest.mark.parametrize("faulty", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_as_one_by_one(
    paths: tuple[Path, Path | None], seed: int, faulty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_table(*paths, seed, faulty=faulty)
    chance = random.Random(seed)
    ranges = [(0, SIZE), *((cut := chance.randrange(SIZE), chance.randrange(SIZE - cut)) for _ in range(8))]
    with open_disk(path) as disk:
        reader = disk.layers[0].reader
        for (offset, length), said in itertools.product(ranges, (False, True)):
            monkeypatch.setattr(read, "MANY", 1 << 60)
            alone = told(reader, offset, length, said=False)
            if said:
                alone = [each for each in alone[0] if each.kind is not ExtentKind.UNALLOCATED], alone[1]
            monkeypatch.setattr(read, "MANY", 1)
            assert told(reader, offset, length, said=said) == alone


def test_changes_in_memory_are_seen_where_the_table_is_a_hole(tmp_path: Path) -> None:
    """A table of a new image is a hole of the host's file until its pages are committed."""
    path = tmp_path / "large.vhdx"
    vhdx.create(path, "4T", block_size="1M")
    far = 3 << 40
    with open_disk(path, "r+") as disk:
        disk.pwrite(b"x" * MIB, far)
        for _ in range(2):
            data = [each for each in disk.extents() if each.kind is ExtentKind.DATA]
            assert [(each.offset, each.length) for each in data] == [(far, MIB)]
            disk.flush()
    with open_disk(path, "r+") as disk:  # what stands far behind in the table is not free space
        disk.pwrite(b"y" * MIB, 0)
        places = {each.offset: each.file_offset for each in disk.extents() if each.kind is ExtentKind.DATA}
        assert len({*places.values()}) == 2
        assert disk.pread(MIB, far) == b"x" * MIB
    assert vhdx.check(path).errors == 0


@pytest.mark.parametrize("differencing", [False, True])
def test_a_survey_passes_over_holes_and_over_nothing_else(tmp_path: Path, differencing: bool) -> None:
    """Blocks and sector bitmaps in the first, a middle and the last window of the table."""
    path = tmp_path / "large.vhdx"
    vhdx.create(path, "2T", block_size="1M")
    if differencing:
        vhdx.create(tmp_path / "child.vhdx", parent=path, block_size="1M")
        path = tmp_path / "child.vhdx"
    size, length = 2 << 40, 4096 if differencing else MIB
    places = [0, bat.WINDOW * MIB - MIB, bat.WINDOW * MIB, 5 * bat.WINDOW * MIB + 7 * MIB, size - MIB]
    for number, place in enumerate(places):  # each in a session of its own, which surveys anew
        with open_disk(path, "r+") as disk:
            disk.pwrite(bytes([65 + number]) * length, place)
    with open_disk(path) as disk:
        assert [disk.pread(length, place)[:1] for place in places] == [b"A", b"B", b"C", b"D", b"E"]
    result = vhdx.check(path)
    assert (result.errors, result.warnings) == (0, 0)
