"""VHD on the command line: `info`, `convert` and `compare` know it by its contents."""

import subprocess
import uuid
from pathlib import Path

import pytest

from tests.partitions.tables import gpt_disk
from tests.support.layout import MIB
from tests.support.vhd import DIFFERENCING, DYNAMIC, FIXED, VhdBuilder, relative

from .running import USAGE, info, rows, run, succeed

GEOMETRY = {"cylinders": 65535, "heads": 16, "sectors_per_track": 255}
SECTORS = {3: b"s" * 512}


def test_info_of_a_dynamic_vhd(tmp_path: Path) -> None:
    VhdBuilder(4 * MIB, DYNAMIC, sectors=SECTORS).write(tmp_path / "a.vhd")
    assert "disk id" not in succeed("info", tmp_path / "a.vhd")
    shown = rows(succeed("info", "-v", tmp_path / "a.vhd"))
    assert shown["type"] == "dynamic VHD"
    assert shown["virtual size"] == "4 MiB (4194304 bytes)"
    assert shown["block size"] == "2 MiB (2097152 bytes)"
    assert shown["disk id"] == str(uuid.UUID(int=77))
    assert shown["creator"] == "win 10.0"
    assert shown["made"] == "2026-08-01T00:53:20+00:00"
    found = info(tmp_path / "a.vhd")
    assert (found["format"], found["disk_type"], found["geometry"]) == ("vhd", "dynamic", GEOMETRY)
    assert found["partition_table"]["kind"] == "none"


def test_info_lists_partitions(tmp_path: Path) -> None:
    disk = bytes(gpt_disk(MIB, [(40, 50)]))
    stored = {number: disk[number * 512 : number * 512 + 512] for number in range(MIB // 512)}
    VhdBuilder(MIB, FIXED, sectors=stored).write(tmp_path / "a.vhd")
    assert "  1. at 20 KiB: 5.5 KiB, Linux 'part 1'" in succeed("info", tmp_path / "a.vhd")


def test_info_of_a_child(tmp_path: Path) -> None:
    VhdBuilder(MIB, FIXED).write(tmp_path / "parent.vhd")
    VhdBuilder(
        *(MIB, DIFFERENCING),
        unique_id=uuid.UUID(int=1),
        parent_id=uuid.UUID(int=77),
        locators=(relative("parent.vhd"),),
    ).write(tmp_path / "child.vhd")
    alone = info(tmp_path / "child.vhd")
    assert alone["parent_names"] == [".\\parent.vhd"]
    assert alone["parent_id"] == str(uuid.UUID(int=77))
    assert (alone["chain"], alone["parent"]) == (None, str(tmp_path / "parent.vhd"))
    assert alone["partition_table"]["kind"] == "none"
    told = rows(succeed("info", tmp_path / "child.vhd"))
    assert told["parent"] == f"{tmp_path / 'parent.vhd'}, which is there"
    chained = info("--chain", tmp_path / "child.vhd")
    assert chained["chain"] == [str(tmp_path / "child.vhd"), str(tmp_path / "parent.vhd")]
    assert "was copied" in chained["notes"][0]
    assert f"  2. {tmp_path / 'parent.vhd'}" in succeed("info", "--chain", tmp_path / "child.vhd")


def test_a_child_without_its_parent_says_so(tmp_path: Path) -> None:
    child = VhdBuilder(
        *(MIB, DIFFERENCING), parent_id=uuid.UUID(int=7), locators=(relative("gone.vhd"),)
    ).write(tmp_path / "child.vhd")
    told = rows(succeed("info", child))["parent"]
    assert told.startswith(".\\gone.vhd: the parent with unique id ")
    assert told.endswith(" was not found; --parent-dir DIR looks for it elsewhere")
    found = info(child)
    assert (found["parent"], found["partition_table"], found["file_systems"]) == (None, None, None)
    assert found["parent_problem"] in told
    done = run("info", child, "--chain")
    assert done.code == 1
    assert done.err.splitlines()[-1] == f"try: vhdx info {child} --chain --parent-dir DIR"


@pytest.mark.parametrize(("creator", "said"), [(b"vpc ", True), (b"win ", False)])
def test_info_says_who_sees_less(tmp_path: Path, creator: bytes, said: bool) -> None:
    VhdBuilder(MIB, FIXED, creator=creator, geometry=(20, 4, 17)).write(tmp_path / "a.vhd")
    assert ("show only 696320 bytes" in succeed("info", tmp_path / "a.vhd")) == said


def test_convert_and_compare(tmp_path: Path) -> None:
    vhd = VhdBuilder(MIB, DYNAMIC, sectors=SECTORS)
    vhd.write(tmp_path / "a.vhd")
    succeed("convert", tmp_path / "a.vhd", tmp_path / "b.vhdx")
    succeed("convert", tmp_path / "b.vhdx", tmp_path / "c", "-O", "vhd")
    assert (tmp_path / "c").read_bytes()[:-512] == vhd.content()
    assert run("compare", "-f", "vhd", tmp_path / "a.vhd", tmp_path / "b.vhdx").code == 0
    assert run("compare", tmp_path / "a.vhd", "-F", "raw", tmp_path / "c").code == 1


def test_a_word_on_rounding(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(1000))
    done = run("convert", tmp_path / "a.raw", tmp_path / "a.vhd")
    assert done.err == "vhdx: virtual size rounded from 1000 bytes to 1048576 (1 MiB)\n"


def test_what_reads_a_vhdx_reads_the_others(tmp_path: Path) -> None:
    """The same words, the same bytes; what a VHD has not is said in one sentence."""
    vhd = VhdBuilder(4 * MIB, DYNAMIC, sectors=SECTORS)
    vhd.write(tmp_path / "a.vhd")
    (tmp_path / "a.raw").write_bytes(vhd.content())
    (tmp_path / "a.bin2").write_bytes(vhd.content())
    for words in (["a.vhd"], ["a.raw"], ["a.bin2"], ["-f", "raw", "a.bin2"]):
        assert succeed("read", *words, "1536", "3", cwd=tmp_path) == "sss"


@pytest.mark.parametrize(
    "line",
    [
        *("write {} 0", "zero {} 0 1M", "trim {} 0 1M", "trim --free {}", "resize {} 1G", "compact {}"),
        *(
            "compact --dry-run {}",
            "log {}",
            "log --diff {}",
            "diff {}",
            "dump {}",
            "dump {} bat",
            "set {} --disk-id new",
        ),
        *("metadata list {}", "merge {}", "rebase {} --parent {}", "create new.vhdx --parent {}"),
    ],
)
def test_what_only_a_vhdx_has(line: str, tmp_path: Path) -> None:
    """Is said of the others in the same sentences by every verb, and what it advises works."""
    vhd = VhdBuilder(4 * MIB, DYNAMIC, sectors=SECTORS)
    vhd.write(tmp_path / "a.vhd")
    (tmp_path / "a.raw").write_bytes(vhd.content())
    opens_to_write = line.split(maxsplit=1)[0] in ("write", "zero")
    sentences = {
        "a.vhd": "this is a VHD, the older format"
        + (", which is only read" if opens_to_write else ": only a VHDX will do here"),
        "a.raw": "this has the name of a raw disk and begins like no VHDX: only a VHDX has that",
    }
    for name, sentence in sentences.items():
        if (name == "a.raw" and line.split(maxsplit=1)[0] in ("write", "zero")) or line.startswith("trim {}"):
            continue
        done = run(*line.format(name, name).split(), cwd=tmp_path, stdin=subprocess.DEVNULL)
        assert done.sentence == f"{name}: {sentence}; try: vhdx convert {name} NEW.vhdx"
        assert done.code == 1
        succeed("convert", name, "NEW.vhdx", "--force", cwd=tmp_path)
    assert (tmp_path / "a.raw").read_bytes() == vhd.content()


def test_raw_disks_are_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"x" * (2 * MIB))
    for name, words in (("a.raw", []), ("a.disk", ["-f", "raw"])):
        path = path.rename(tmp_path / name)
        done = run("write", name, "5", *words, cwd=tmp_path, input="hello")
        assert done.out == f"{name}: wrote 5 bytes at offset 5\n"
        succeed("zero", name, "10", "4", *words, cwd=tmp_path)
        assert path.read_bytes()[:16] == b"xxxxxhello\0\0\0\0xx"
        assert (
            succeed("trim", name, "1M", "1M", *words, cwd=tmp_path)
            == f"{name}: let go of 1 MiB at offset 1048576\n"
        )
        assert path.read_bytes()[MIB - 1 :] == b"x" + bytes(MIB)
        assert path.stat().st_blocks * 512 <= MIB
    done = run("write", "a.disk", "0", cwd=tmp_path, input="hello")
    assert "say that its format is raw" in done.sentence
    assert run("write", "a.disk", "2097150", "-f", "raw", cwd=tmp_path, input="hello").code == 1
    assert run("trim", "--free", "a.disk", "-f", "raw", cwd=tmp_path).code == USAGE
