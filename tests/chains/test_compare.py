"""`compare`: contents of raw files, images and chains; where they differ first; exit codes."""

import json
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import run
from tests.support.layout import FULLY_PRESENT, MIB, PARTIALLY_PRESENT, ZERO
from tests.support.parts import Block
from tests.support.patterns import pattern
from vhdx.ops.compare import compare

from .making import own_block
from .test_diff import chain

SIZE = 6 * MIB


@pytest.fixture(name="child")
def _child(tmp_path: Path) -> Path:
    blocks = {
        0: own_block(0, PARTIALLY_PRESENT, range(3, 900)),
        2: Block(state=ZERO),
        4: own_block(4, FULLY_PRESENT, ()),
    }
    return chain(tmp_path, blocks)[0]


def raw_of(image: Path) -> bytearray:
    with vhdx.open(image) as disk:
        return bytearray(disk.pread(disk.size, 0))


def test_a_chain_is_its_own_content(child: Path, tmp_path: Path) -> None:
    (tmp_path / "flat.raw").write_bytes(raw_of(child))
    vhdx.convert(child, tmp_path / "flat.vhdx")
    for one in (child, tmp_path / "flat.raw", tmp_path / "flat.vhdx"):
        for other in (child, tmp_path / "flat.raw", tmp_path / "flat.vhdx"):
            found = compare(one, other)
            assert found.identical
            assert found.first_virtual_size == found.second_virtual_size == SIZE


@pytest.mark.parametrize(
    "at",
    [
        0,
        1,
        511,
        512,
        1535,
        1536,
        900 * 512 - 1,
        900 * 512,
        MIB - 1,
        MIB,
        2 * MIB,
        3 * MIB - 1,
        3 * MIB,
        SIZE - 1,
    ],
)
def test_the_first_difference_is_exact(child: Path, tmp_path: Path, at: int) -> None:
    content = raw_of(child)
    content[at] ^= 0xFF
    content[-1] ^= at != SIZE - 1
    (tmp_path / "flat.raw").write_bytes(content)
    assert compare(child, tmp_path / "flat.raw").first_difference == at
    assert compare(tmp_path / "flat.raw", child).first_difference == at


def test_sizes_count(child: Path, tmp_path: Path) -> None:
    content = raw_of(child)
    (tmp_path / "long.raw").write_bytes(content + bytes(512))
    found = compare(child, tmp_path / "long.raw")
    assert (found.identical, found.first_difference) == (False, None)
    assert (found.first_format, found.first_virtual_size) == ("vhdx", SIZE)
    assert (found.second_format, found.second_virtual_size) == ("raw", SIZE + 512)
    (tmp_path / "short.raw").write_bytes(content[:-512])
    found = compare(tmp_path / "short.raw", child)
    assert (found.identical, found.first_difference) == (False, None)
    assert (found.first_virtual_size, found.second_virtual_size) == (SIZE - 512, SIZE)
    done = run("compare", child, tmp_path / "long.raw")
    assert done.code == 1
    assert "different sizes" in done.out


def test_exit_codes(child: Path, tmp_path: Path) -> None:
    content = raw_of(child)
    (tmp_path / "same.raw").write_bytes(content)
    content[4097] ^= 1
    (tmp_path / "other.raw").write_bytes(content)
    assert run("compare", child, tmp_path / "same.raw").code == 0
    done = run("compare", child, tmp_path / "other.raw", "--json")
    assert done.code == 1
    assert json.loads(done.out)["first_difference"] == 4097
    assert run("compare", child, tmp_path / "missing.raw").code == 2
    (tmp_path / "0.vhdx").rename(tmp_path / "elsewhere")
    assert run("compare", child, tmp_path / "same.raw").code == 2
    assert run("compare", child).code == 64


def test_a_disk_of_one_extent_is_watched_as_it_goes(tmp_path: Path) -> None:
    for name in ("a.raw", "b.raw"):
        (tmp_path / name).write_bytes(pattern(1, 4 * MIB))
    seen: list[tuple[int, int | None]] = []
    vhdx.compare(tmp_path / "a.raw", tmp_path / "b.raw", progress=lambda *now: seen.append(now))
    assert seen == [(number * MIB, 4 * MIB) for number in range(1, 5)]
