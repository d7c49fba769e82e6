"""Lost parts of the block table: found, and no byte of what stood there goes unless the user says so."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, MIB
from tests.support.parts import Block
from tests.support.patterns import pattern
from vhdx.ops.compact import compact
from vhdx.ops.make.convert import convert
from vhdx.ops.repair import repair
from vhdx.ops.resize import resize

Kind = Literal["dynamic", "fixed", "differencing"]
COUNT = 110
"""Blocks of the disk: more than the 64 entries of a sector."""


def stored(kind: Kind, sector: int) -> ImageBuilder:
    """An image of which most blocks are stored, all of them in a fixed one."""
    blocks = range(COUNT) if kind == "fixed" else range(COUNT - 40)
    image = ImageBuilder((COUNT + 20) * MIB if kind != "fixed" else COUNT * MIB, MIB, sector, 4096)
    image.blocks = {number: Block(pattern(number, 4096)) for number in blocks}
    if kind == "differencing":
        base, image = image, image.child()
        image.blocks = dict(base.blocks)
    image.disk_type = kind
    return image


def damaged(path: Path, kind: Kind, sector: int, first: int, length: int) -> None:
    """Write it, and lose bytes of its table."""
    image = stored(kind, sector)
    image.write(path)
    with open(path, "r+b") as file:
        file.seek(image.plan().bat_offset + first)
        file.write(bytes(length))


def mebibyte(path: Path, place: int) -> bytes:
    """What stands at a place of the file."""
    with open(path, "rb") as file:
        file.seek(place)
        return file.read(MIB)


LOSSES = {"a sector": (0, 512), "a page": (0, 4096), "64 KiB": (0, 65536), "the whole": (0, MIB)}
KINDS: list[Kind] = ["dynamic", "fixed", "differencing"]


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", LOSSES)
def test_lost_entries_are_errors_and_doubts(loss: str, kind: Kind, sector: int, tmp_path: Path) -> None:
    path = tmp_path / "image.vhdx"
    damaged(path, kind, sector, *LOSSES[loss])
    codes = vhdx.check(path).codes
    assert "space.lost_entries" in codes
    assert ("bat.fixed_absent" in codes) == (kind == "fixed")
    if kind != "differencing":
        doubts: list[vhdx.Doubt] = []
        convert(path, tmp_path / "disk.raw", salvage=True, on_doubt=doubts.append, lock=False)
        assert any("lost entries" in doubt.reason for doubt in doubts)


def _write(path: Path) -> None:
    with vhdx.open(path, "r+") as disk:
        for block in (3, 70, COUNT - 5):
            disk.pwrite(b"new", block * MIB + 5000)


def _zero(path: Path) -> None:
    with vhdx.open(path, "r+") as disk:
        disk.zero(length=2 * MIB, offset=(COUNT - 30) * MIB)


def _trim(path: Path) -> None:
    with vhdx.open(path, "r+") as disk:
        disk.trim(length=2 * MIB, offset=(COUNT - 30) * MIB)


def _grow(path: Path) -> None:
    resize(path, (COUNT + 60) * MIB)


def _shrink(path: Path) -> None:
    resize(path, (COUNT - 35) * MIB)


def _compact(path: Path) -> None:
    with pytest.raises(vhdx.CorruptImageError):
        compact(path, punch=True)


def _repair(path: Path) -> None:
    assert repair(path).refused


VERBS: list[Callable[[Path], None]] = [_write, _zero, _trim, _grow, _shrink, _compact, _repair]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", ["dynamic", "fixed"])
@pytest.mark.parametrize("loss", ["a sector", "the whole"])
def test_no_byte_of_a_lost_block_goes(
    loss: str, kind: Kind, verb: Callable[[Path], None], tmp_path: Path
) -> None:
    if kind == "fixed" and verb in (_shrink, _zero):
        return  # these are asked to let go of blocks that a fixed image has
    path = tmp_path / "image.vhdx"
    first, length = LOSSES[loss]
    damaged(path, kind, 512, first, length)
    places = stored(kind, 512).plan().blocks
    lost = {block: place for block, place in places.items() if first <= block * 8 < first + length}
    before = {block: mebibyte(path, place) for block, place in lost.items()}
    verb(path)
    for block, place in lost.items():
        assert mebibyte(path, place) == before[block], block


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_fixed_image_gets_its_table_back(loss: str, sector: int, tmp_path: Path) -> None:
    path = tmp_path / "image.vhdx"
    damaged(path, "fixed", sector, *LOSSES[loss])
    assert repair(path, rebuild=True).refused is None
    assert vhdx.check(path).is_clean
    places = stored("fixed", sector).plan().blocks
    with vhdx.open(path) as disk:
        for block, extent in enumerate(each for each in disk.extents() if each.file_offset is not None):
            assert extent.file_offset == places[extent.offset // MIB], block
        assert disk.pread(disk.size, 0) == stored("fixed", sector).content()


def test_a_table_is_not_rebuilt_where_blocks_stand_out_of_order(tmp_path: Path) -> None:
    image = stored("fixed", 512)
    places = image.plan().blocks
    image.bat = {0: places[1] | FULLY_PRESENT, 1: places[0] | FULLY_PRESENT, 5: 0}
    path = image.write(tmp_path / "image.vhdx")
    before = path.read_bytes()
    refused = repair(path, rebuild=True).refused
    assert refused is not None
    assert "in order" in refused
    assert path.read_bytes() == before


def test_lost_entries_of_a_dynamic_image_are_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "image.vhdx"
    damaged(path, "dynamic", 512, *LOSSES["a page"])
    before = path.read_bytes()
    refused = repair(path, rebuild=True).refused or ""
    assert "which tell no order" in refused
    assert "vhdx convert --salvage --carve PIECES" in refused
    assert path.read_bytes() == before


def leaking(path: Path) -> Path:
    """A lone block that no entry names, as a crash leaves it, and free space."""
    image = ImageBuilder(40 * MIB, MIB)
    image.blocks = {number: Block(pattern(number, 4096)) for number in range(4)}
    image.gap = 6 * MIB
    start = min(image.plan().blocks.values()) - 6 * MIB
    image.patches = [(start + 2 * MIB, b"of nobody")]
    return image.write(path)


def test_a_lone_block_is_a_warning_and_stays_until_the_file_is_compacted(tmp_path: Path) -> None:
    path = leaking(tmp_path / "image.vhdx")
    found = vhdx.check(path)
    assert found.errors == 0
    assert found.codes["space.leaked"] == 1
    with vhdx.open(path, "r+") as disk:
        for block in range(10, 20):
            disk.pwrite(b"new", block * MIB)
    assert b"of nobody" in path.read_bytes()
    assert compact(path, dry_run=True).unexplained_size == MIB
    assert compact(path).unexplained_size == MIB
    assert b"of nobody" not in path.read_bytes()
    assert vhdx.check(path).is_clean


def test_strong_evidence_is_given_up_when_the_user_says_so(tmp_path: Path) -> None:
    path = tmp_path / "image.vhdx"
    damaged(path, "dynamic", 512, *LOSSES["a page"])
    assert compact(path, accept_data_loss=True).unexplained_size == (COUNT - 40) * MIB
    assert vhdx.check(path).is_clean
    assert os.path.getsize(path) < 10 * MIB


def test_a_host_without_holes_reuses_what_was_trimmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred sessions fill and trim, and the file does not grow: what was freed is zeros."""
    monkeypatch.setattr("vhdx.storage.file.host.punch", lambda *_: False)
    path = tmp_path / "image.vhdx"
    vhdx.create(path, 64 * MIB, block_size=MIB)
    longest = 0
    for turn in range(100):
        with vhdx.open(path, "r+") as disk:
            disk.pwrite(b"kept", 60 * MIB)
            for block in range(8):
                disk.pwrite(b"x" * MIB, block * MIB)
        with vhdx.open(path, "r+") as disk:
            disk.trim(length=7 * MIB, offset=turn % 2 * MIB)
        size = os.path.getsize(path)
        longest = longest or size + 2 * MIB
        assert size <= longest
    assert vhdx.check(path).is_clean
