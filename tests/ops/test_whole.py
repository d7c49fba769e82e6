"""How much of a disk is whole where the file ends early: a download that was broken off."""

from pathlib import Path

import pytest

import vhdx
from tests.cli.running import run
from tests.partitions.tables import gpt_disk
from tests.support.layout import MIB
from tests.support.patterns import pattern


def cut(folder: Path, size: int) -> Path:
    """A disk of 32 MiB with two full partitions, in a file that ends at `size`."""
    raw = bytearray(gpt_disk(32 * MIB, [(2048, 20479), (20480, 61439)]))
    raw[MIB : 30 * MIB] = pattern(1, 29 * MIB)
    (folder / "a.raw").write_bytes(raw)
    path = folder / "a.vhdx"
    vhdx.convert(folder / "a.raw", path, options=vhdx.ImageOptions(block_size=MIB))
    path.write_bytes(path.read_bytes()[:size])
    return path


@pytest.mark.parametrize("size", [4 * MIB + 20 * MIB, 4 * MIB + 20 * MIB + 12345])
def test_what_is_left_of_a_download(size: int, tmp_path: Path) -> None:
    path = cut(tmp_path, size)
    there = size - 4 * MIB
    result = vhdx.check(path)
    assert result.whole is not None
    assert result.whole.stored - result.whole.lost == there
    assert [(part.number, part.lost) for part in result.whole.partitions] == [(1, 0), (2, 30 * MIB - there)]
    done = run("check", path)
    assert "partition 1: whole" in done.out
    assert "partition 2: " in done.out
    target = tmp_path / "b.raw"
    assert run("convert", "--salvage", path, target).code == 3
    assert target.read_bytes()[:there] == (tmp_path / "a.raw").read_bytes()[:there]


def test_a_whole_file_says_nothing_of_it(tmp_path: Path) -> None:
    assert vhdx.check(cut(tmp_path, 1 << 40)).whole is None


def test_nothing_is_said_where_nothing_can_be_read(tmp_path: Path) -> None:
    assert vhdx.check(cut(tmp_path, 2 * MIB + 100)).whole is None
