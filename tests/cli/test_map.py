"""``vhdx map`` as text, as JSON, summed up and drawn."""

import json
import os
from pathlib import Path

import pytest

from tests.partitions.tables import gpt_disk
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, PARTIALLY_PRESENT, ZERO
from tests.support.parts import Block
from vhdx.cli import drawing
from vhdx.cli.layers import jumps_text, layer_names

from .running import USAGE, run, succeed


@pytest.fixture(name="child")
def _child(tmp_path: Path) -> Path:
    """A child over a parent in `tmp_path`, both with blocks of 1 MiB; blocks begin at 4 MiB of the files."""
    parent = ImageBuilder(6 * MIB, MIB, seed=1)
    parent.blocks = {0: Block(file_offset=5 * MIB), 1: Block(file_offset=4 * MIB)}
    parent.write(tmp_path / "parent.vhdx")
    child = parent.child()
    child.blocks = {1: Block(state=PARTIALLY_PRESENT, present=range(8)), 4: Block(state=ZERO), 5: Block(b"x")}
    return child.write(tmp_path / "child.vhdx")


def test_text(child: Path) -> None:
    assert succeed("map", child).splitlines() == [
        "    offset     length contents       in file at layer",
        "         0         1M data                   5M parent.vhdx",
        "        1M         4K data, in part          5M child.vhdx",
        "     1028K      1020K data                4100K parent.vhdx",
        "        2M         2M unallocated",
        "        4M         1M zeros                     child.vhdx",
        "        5M         1M data                   6M child.vhdx",
    ]


def test_exact_text(child: Path) -> None:
    rows = [line.split(maxsplit=7) for line in succeed("map", "-v", child).splitlines()]
    parent = str(child.with_name("parent.vhdx"))
    assert rows == [
        ["offset", "length", "kind", "state", "layer", "file", "offset", "file"],
        ["0", "1048576", "data", "fully", "present", "2", "5242880", parent],
        ["1048576", "4096", "data", "partially", "present", "1", "5242880", str(child)],
        ["1052672", "1044480", "data", "fully", "present", "2", "4198400", parent],
        ["2097152", "2097152", "unallocated", "not", "present", "-", "-", "-"],
        ["4194304", "1048576", "zero", "zero", "1", "-", str(child)],
        ["5242880", "1048576", "data", "fully", "present", "1", "6291456", str(child)],
    ]


def test_json_has_the_same_rows(child: Path) -> None:
    told = json.loads(succeed("map", "--json", child))
    assert (told["path"], told["format"]) == (str(child), "vhdx")
    found = told["runs"]
    assert found[1] == {
        "offset": MIB,
        "length": 4096,
        "kind": "data",
        "state": "partially_present",
        "depth": 1,
        "file": str(child),
        "file_offset": 5 * MIB,
    }
    assert found[3]["file"] is found[3]["file_offset"] is None
    assert found[3]["depth"] == 0
    assert len(found) == len(succeed("map", child).splitlines()) - 1


def test_layers(child: Path) -> None:
    found = json.loads(succeed("map", "--layers", "--json", child))["runs"]
    assert [(row["depth"], row["offset"], row["kind"]) for row in found] == [
        (1, 0, "unallocated"),
        (1, MIB, "data"),
        (1, MIB + 4096, "unallocated"),
        (1, 4 * MIB, "zero"),
        (1, 5 * MIB, "data"),
        (2, 0, "data"),
        (2, MIB, "data"),
        (2, 2 * MIB, "unallocated"),
    ]


def test_summary(child: Path) -> None:
    assert succeed("map", "--summary", child).splitlines()[1:] == [
        "  contents           runs       size  share layer",
        "  unallocated           1      2 MiB  33.3%",
        "  data                  1      1 MiB  16.7% child.vhdx",
        "  data, in part         1      4 KiB   0.1% child.vhdx",
        "  zeros                 1      1 MiB  16.7% child.vhdx",
        "  data                  2      2 MiB  33.3% parent.vhdx",
        "  fragmentation: none",
    ]
    assert "2 MiB (2093056 bytes)" in succeed("map", "--summary", "-v", child)
    scattered = succeed("map", "--summary", child.with_name("parent.vhdx"))
    assert scattered.endswith("  fragmentation: much, 1 jumps, 1 MiB in a row\n")
    both = json.loads(succeed("map", "--summary", "--layers", "--json", child))
    assert (both["path"], both["format"], both["virtual_size"]) == (str(child), "vhdx", 6 * MIB)
    assert [found["jumps"] for found in both["summaries"]] == [0, 1]
    assert [sum(row["length"] for row in found["rows"]) for found in both["summaries"]] == [6 * MIB] * 2


def test_drawing(child: Path) -> None:
    drawn = succeed("map", "--draw", child).splitlines()
    assert drawn[0] == f"{child}: 6 MiB, each cell is 1 MiB"
    assert drawn[1] == "     0 bytes ##..0#"
    assert [line.split()[0] for line in drawn[2:]] == ["#", "0", "."]
    layers = succeed("map", "--draw", "--layers", child).splitlines()
    assert [line for line in layers if line.startswith("     0 bytes")] == [
        "     0 bytes .+..0#",
        "     0 bytes #%....",
    ]


def test_a_drawing_is_as_wide_as_the_terminal(tmp_path: Path) -> None:
    path = ImageBuilder(4000 * MIB, MIB, default_state=ZERO).write(tmp_path / "a.vhdx")
    drawn = succeed("map", "--draw", path, env=os.environ | {"COLUMNS": "40"}).splitlines()
    assert max(map(len, drawn[1:17])) <= 40
    assert sum(line.count("0") for line in (row[13:] for row in drawn[1:-1])) == 4000 // 10


def test_a_drawing_goes_with_nothing_else(child: Path) -> None:
    assert run("map", "--draw", "--json", child).code == USAGE


@pytest.mark.parametrize("option", ["--summary", "--draw", "--json"])
def test_a_raw_file_of_no_bytes(option: str, tmp_path: Path) -> None:
    (tmp_path / "empty.raw").touch()
    succeed("map", option, "-f", "raw", tmp_path / "empty.raw")


def test_the_borders_of_partitions(tmp_path: Path) -> None:
    """Under the cells in which they begin, and where the last one ends; numbers only where there is room."""
    disk = gpt_disk(32 * MIB, [(2048, 4095), (4096, 8191), (20480, 40959)])
    (tmp_path / "disk.raw").write_bytes(disk)
    succeed("convert", tmp_path / "disk.raw", tmp_path / "a.vhdx", "--block-size", "1M")
    drawn = succeed("map", "--draw", tmp_path / "a.vhdx", env=os.environ | {"COLUMNS": "60"}).splitlines()
    assert drawn[1:3] == [
        "     0 bytes #..............................#",
        "              ||2      |3        |",
    ]
    assert drawn[-1] == "             | a partition begins, or the last one ends"
    assert max(map(len, drawn[1:])) <= 60
    alone = succeed("map", "--draw", "--layers", tmp_path / "a.vhdx")
    assert "a partition begins" not in alone


@pytest.mark.parametrize("option", ["", "--summary", "--draw"])
def test_it_fits_sixty_columns(option: str, child: Path) -> None:
    child.rename(child.with_name("a.vhdx"))
    said = succeed("map", *option.split(), "a.vhdx", cwd=child.parent, env=os.environ | {"COLUMNS": "60"})
    assert max(map(len, said.splitlines())) <= 60


def test_layers_of_one_name_have_their_whole_names() -> None:
    assert layer_names(["a/x.vhdx", "b/y.vhdx"]) == {1: "x.vhdx", 2: "y.vhdx"}
    assert layer_names(["a/x.vhdx", "b/x.vhdx"]) == {1: "a/x.vhdx", 2: "b/x.vhdx"}
    long, like = "server 2022_1A2B.avhdx", "server 2022_9A2B.avhdx"
    assert layer_names([long], 12) == {1: "serve….avhdx"}
    assert layer_names([long, like], 12) == {1: long, 2: like}
    assert layer_names([long, like], 22) == {1: long, 2: like}
    assert layer_names([long, like], 21) == {1: "server 202…1A2B.avhdx", 2: "server 202…9A2B.avhdx"}


def test_nothing_normal_is_red() -> None:
    assert "red" not in {colour for colour, _ in drawing._LEGEND.values()}


@pytest.mark.parametrize(
    ("jumps", "data", "word"),
    [(0, 9, "none"), (1, 1 << 30, "little"), (10, 200 * MIB, "some"), (9, MIB, "much")],
)
def test_fragmentation_in_words(jumps: int, data: int, word: str) -> None:
    assert jumps_text(jumps, data).startswith(word)
