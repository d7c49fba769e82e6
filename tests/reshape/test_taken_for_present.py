"""State 7 without a parent, and of sector bitmaps: present for every verb, and nowhere written."""

from collections.abc import Callable
from pathlib import Path

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, PARTIALLY_PRESENT
from tests.support.parts import Block
from tests.support.patterns import pattern

SIZE = 10 * MIB


def _compact(path: Path) -> None:
    vhdx.compact(path)


def _grow(path: Path) -> None:
    vhdx.resize(path, SIZE)


def _write(path: Path) -> None:
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(disk.pread(512, 3 * MIB), 3 * MIB)


def _repair(path: Path) -> None:
    assert "bat.taken_for_present" in vhdx.check(path).codes
    assert "bat.taken_for_present" not in vhdx.repair(path).left.codes


VERBS = pytest.mark.parametrize("verb", [_compact, _grow, _write, _repair])


@VERBS
def test_blocks_without_a_parent(verb: Callable[[Path], None], tmp_path: Path) -> None:
    image = ImageBuilder(SIZE, gap=6 * MIB)
    image.blocks = {number: Block(pattern(number, MIB), PARTIALLY_PRESENT) for number in (0, 3, 9)}
    path = image.write(tmp_path / "a.vhdx")
    content = b"".join(pattern(n, MIB) if n in image.blocks else bytes(MIB) for n in range(10))
    with vhdx.open(path) as disk:
        assert disk.pread(SIZE, 0) == content
        assert sum(extent.length for extent in disk.extents() if extent.kind.name == "DATA") == 3 * MIB
    verb(path)
    with vhdx.open(path) as disk:
        assert disk.pread(SIZE, 0) == content
    assert vhdx.check(path).errors == 0


@VERBS
def test_sector_bitmaps(verb: Callable[[Path], None], tmp_path: Path) -> None:
    parent = ImageBuilder(SIZE, blocks={0: Block(pattern(7, MIB))})
    parent.write(tmp_path / "parent.vhdx")
    child = parent.child()
    child.gap = 6 * MIB
    child.blocks = {0: Block(pattern(0, MIB), PARTIALLY_PRESENT, present=range(0, 2048, 3))}
    content = child.content(parent.content())
    child.bat = {child.bitmap_index(0): child.plan().bitmaps[0] | 7}
    path = child.write(tmp_path / "child.vhdx")
    verb(path)
    with vhdx.open(path) as disk:
        assert disk.pread(SIZE, 0) == content
    assert vhdx.check(path).errors == 0


def test_a_merge(tmp_path: Path) -> None:
    parent = ImageBuilder(SIZE, blocks={n: Block(pattern(n, MIB), PARTIALLY_PRESENT) for n in (1, 2)})
    below = parent.write(tmp_path / "parent.vhdx")
    child = parent.child()
    child.blocks = {1: Block(pattern(9, MIB))}
    vhdx.merge(child.write(tmp_path / "child.vhdx"))
    expected = bytes(MIB) + pattern(9, MIB) + pattern(2, MIB) + bytes(7 * MIB)
    with vhdx.open(below) as disk:
        assert disk.pread(SIZE, 0) == expected
