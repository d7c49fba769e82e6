"""``--partition N``: a partition as a disk of its own, on all verbs that read or write; `info` lists them."""

import subprocess
from pathlib import Path

import pytest

import vhdx
from tests.ops.make.making import write_raw
from tests.partitions.tables import gpt_disk
from tests.support.layout import MIB
from tests.support.patterns import pattern

from .running import COMMAND, USAGE, info, run, succeed

FIRST, SECOND = (2048, 4095), (4096, 6143)
ONE, TWO = pattern(1, MIB), pattern(2, MIB)


def disk_bytes() -> bytes:
    disk = gpt_disk(4 * MIB, [FIRST, SECOND])
    disk[MIB : 2 * MIB] = ONE
    disk[2 * MIB : 3 * MIB] = TWO
    return bytes(disk)


@pytest.fixture(name="image")
def _image(tmp_path: Path) -> Path:
    write_raw(tmp_path / "a.raw", 4 * MIB, {0: disk_bytes()})
    vhdx.convert(tmp_path / "a.raw", tmp_path / "a.vhdx", options=vhdx.ImageOptions(block_size=MIB))
    return tmp_path / "a.vhdx"


def whole(image: Path) -> bytes:
    with vhdx.open(image) as disk:
        return disk.pread(disk.size, 0)


def test_info_lists_them(image: Path) -> None:
    text = succeed("info", image)
    assert "partitions (gpt):\n" in text
    assert "  2. at 2 MiB: 1 MiB, Linux 'part 2'\n" in text
    exact = succeed("info", "-v", image)
    assert "partitions (gpt, disk id 11111111-2222-3333-4444-555555555555):\n" in exact
    assert "  2. at 2 MiB (2097152 bytes): 1 MiB (1048576 bytes), Linux 'part 2'\n" in exact
    table = info(image)["partition_table"]
    assert (table["kind"], table["sector_size"], table["findings"]) == ("gpt", 512, [])
    assert [(p["number"], p["offset"], p["length"]) for p in table["partitions"]] == [
        (1, MIB, MIB),
        (2, 2 * MIB, MIB),
    ]


def test_info_says_what_is_wrong(image: Path) -> None:
    with vhdx.open(image, "r+") as disk:
        disk.pwrite(b"\xff", 520)
    assert "note: partitions: the primary GPT is damaged" in succeed("info", image)


def test_info_of_a_child_reads_the_table_with_its_parents_only(image: Path) -> None:
    child = image.with_name("child.vhdx")
    succeed("create", child, "--parent", image)
    assert info(child)["partition_table"]["kind"] == "gpt"
    assert info("--chain", child)["partition_table"]["kind"] == "gpt"
    image.rename(image.with_name("gone"))
    assert info(child)["partition_table"] is None


def test_info_of_an_unreadable_table_is_an_answer(image: Path) -> None:
    """A file that is cut can still be looked into."""
    with open(image, "r+b") as file:
        file.truncate(5 * MIB)
    assert "cannot be read" in info(image)["partition_table"]["findings"][0]
    text = succeed("info", image)
    assert text.count("behind the end of the file") == 1, "the reason is said once"
    assert "file systems:" not in text


def test_read(image: Path) -> None:
    command = [*COMMAND, "read", str(image), "100", "1000000", "--partition", "2"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == TWO[100:1000100]


def test_write_zero_and_trim_stay_inside(image: Path, tmp_path: Path) -> None:
    expected = bytearray(disk_bytes())
    (tmp_path / "new").write_bytes(b"n" * 1000)
    with open(tmp_path / "new", "rb") as source:
        succeed("write", image, "5", "--partition", "2", stdin=source)
    expected[2 * MIB + 5 : 2 * MIB + 1005] = b"n" * 1000
    assert whole(image) == expected
    succeed("zero", image, "100", "1000", "--partition", "1")
    expected[MIB + 100 : MIB + 1100] = bytes(1000)
    assert whole(image) == expected
    succeed("trim", image, "0", "1M", "--partition", "2")
    expected[2 * MIB : 3 * MIB] = bytes(MIB)
    assert whole(image) == expected


@pytest.mark.parametrize("verb", ["read", "zero", "trim"])
def test_nothing_reaches_out(image: Path, verb: str) -> None:
    before = image.read_bytes()
    done = run(verb, image, "512K", "1M", "--partition", "1")
    assert done.code == USAGE
    assert "are not inside the disk of 1048576 bytes" in done.sentence
    assert image.read_bytes() == before


def test_what_does_not_fit_is_not_written(image: Path, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(bytes(MIB + 1))
    with open(tmp_path / "new", "rb") as source:
        assert run("write", image, "0", "--partition", "1", stdin=source).code == USAGE
    assert whole(image) == disk_bytes()


def test_convert(image: Path, tmp_path: Path) -> None:
    succeed("convert", image, tmp_path / "b.raw", "--partition", "1")
    assert (tmp_path / "b.raw").read_bytes() == ONE
    succeed("convert", tmp_path / "a.raw", tmp_path / "b.vhdx", "--partition", "2")
    assert whole(tmp_path / "b.vhdx") == TWO
    succeed("convert", image, tmp_path / "c.vhdx", "--partition", "2")
    assert whole(tmp_path / "c.vhdx") == TWO
    assert info(tmp_path / "c.vhdx")["disk_id"] != info(image)["disk_id"]


def test_convert_from_a_pipe(image: Path, tmp_path: Path) -> None:
    raw = image.with_name("a.raw")
    line = [*COMMAND, "convert", "-f", "raw", "-", str(tmp_path / "b.raw"), "--partition", "1"]
    done = subprocess.run(line, input=raw.read_bytes(), capture_output=True, check=True)
    assert (tmp_path / "b.raw").read_bytes() == ONE
    assert b"a temporary file without a name" in done.stderr


def test_compare(image: Path) -> None:
    raw = image.with_name("a.raw")
    changed = bytearray(disk_bytes())
    changed[2 * MIB + 7] ^= 1
    raw.write_bytes(changed)
    assert run("compare", image, raw, "--partition", "1").code == 0
    done = run("compare", image, raw, "--partition", "2")
    assert (done.code, done.out) == (1, "the disks differ, first at offset 7\n")


def test_a_number_that_is_not_there(image: Path) -> None:
    done = run("read", image, "0", "1", "--partition", "3")
    assert (done.code, done.sentence) == (USAGE, "there is no partition 3; the disk has 1, 2")
    assert run("read", image, "0", "1", "--partition", "0").code == USAGE


def test_a_partition_behind_the_end(tmp_path: Path) -> None:
    cut = disk_bytes()[: 2 * MIB + 512]
    write_raw(tmp_path / "cut.raw", len(cut), {0: cut})
    done = run("convert", tmp_path / "cut.raw", tmp_path / "b.raw", "--partition", "2")
    assert (done.code, "behind the end" in done.sentence) == (USAGE, True)
