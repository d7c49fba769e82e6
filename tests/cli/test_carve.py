"""``convert --salvage --carve`` as it is typed, and lists of JSON that are printed while they grow."""

import json
import os
from pathlib import Path

import pytest

from tests.support.build import ImageBuilder
from tests.support.damage import overwrite
from tests.support.layout import MIB
from tests.support.parts import Block
from vhdx.cli.render import JsonLists

from .running import USAGE, run

TEXT = b"a line of text\n" * 5000


def damaged(folder: Path) -> int:
    """An image that lost two entries, and where the first block stands."""
    image = ImageBuilder(80 * MIB, MIB, blocks={number: Block(TEXT) for number in range(2)})
    image.write(folder / "vm.vhdx")
    overwrite(folder / "vm.vhdx", image.plan().bat_offset, bytes(512))
    return image.plan().blocks[0]


def test_what_is_carved_is_listed(tmp_path: Path) -> None:
    place = damaged(tmp_path)
    done = run("convert", "--salvage", "--carve", "pieces", "vm.vhdx", "vm.raw", cwd=tmp_path)
    assert done.code == 3
    names = [os.path.join("pieces", f"{place + at:014}-text") for at in (0, MIB)]
    assert [line.split(":")[0] for line in done.out.splitlines()[:2]] == names
    assert f": {MIB} bytes at {place}: text" in done.out
    assert (tmp_path / names[0]).read_bytes() == TEXT.ljust(MIB, b"\0")
    again = run("convert", "--salvage", "--carve", "pieces", "vm.vhdx", "new.raw", cwd=tmp_path)
    assert (again.code, again.err) == (1, "vhdx: pieces exists already; --force replaces it\n")


def test_what_is_carved_is_json(tmp_path: Path) -> None:
    damaged(tmp_path)
    done = run("convert", "--json", "--salvage", "--carve", "pieces", "vm.vhdx", "vm.raw", cwd=tmp_path)
    told = json.loads(done.out)
    assert [len(told["doubts"]), len(told["carved"]), told["result"]["carved"]] == [1, 2, 2]
    assert {each["looks_like"] for each in told["carved"]} == {"text"}


@pytest.mark.parametrize("options", [[], ["--salvage", "--state", "map"]], ids=["alone", "with a map"])
def test_it_goes_with_salvage_alone(options: list[str], tmp_path: Path) -> None:
    damaged(tmp_path)
    done = run("convert", *options, "--carve", "pieces", "vm.vhdx", "vm.raw", cwd=tmp_path)
    assert done.code == USAGE
    assert not (tmp_path / "pieces").exists()


@pytest.mark.parametrize("first", [[], [1], [1, 2]])
@pytest.mark.parametrize("second", [[], [3], [3, 4]])
def test_lists_that_grow(first: list[int], second: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    lists = JsonLists("one", "two")
    one, two = lists.adder("one"), lists.adder("two")
    for item in first:
        one(item)
    for item in second:
        two(item)
    lists.finish({"done": True})
    assert json.loads(capsys.readouterr().out) == {"one": first, "two": second, "result": {"done": True}}
