"""`resize`: sizes, partitions that keep a sound table, data that is not cut, children, file systems."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import COMMAND, USAGE, run, succeed
from tests.partitions.tables import gpt_disk, mbr_record, sound_copy
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.writing.checking import guids_of, is_clean

EXT4 = pytest.mark.skipif(
    not all(map(shutil.which, ("mkfs.ext4", "fsck.ext4", "debugfs", "resize2fs"))),
    reason="the programs of ext4 are not installed",
)
PLACES = [(2048, 6143), (8192, 20479)]
"""Partitions of 2 and 6 MiB, the last one ends at 10 MiB."""


def image_of(content: bytes | bytearray, folder: Path, **options: object) -> Path:
    raw, path = folder / "disk.raw", folder / "disk.vhdx"
    raw.write_bytes(content)
    vhdx.convert(raw, path, options=vhdx.ImageOptions(**options), overwrite=True)  # type: ignore[arg-type]
    return path


def content_of(path: Path) -> bytes:
    with vhdx.open(path) as disk:
        return disk.pread(disk.size, 0)


def assert_gpt_at_the_end(content: bytes, unit: int = 512) -> None:
    last = len(content) // unit - 1
    primary, backup = sound_copy(content, 1, unit), sound_copy(content, last, unit)
    assert primary is not None
    assert backup is not None
    assert (primary.other_sector, backup.other_sector) == (last, 1)
    assert primary.places == backup.places
    assert primary.last_usable == backup.last_usable == last - 1 - -(-128 * 128 // unit)


@pytest.mark.parametrize("unit", [512, 4096])
@pytest.mark.parametrize("word", ["+20M", "40M", "-3M", "+4096", "-4096", "17.5M"])
def test_a_gpt_disk_of_another_size(tmp_path: Path, word: str, unit: int) -> None:
    places = [(2048 * 512 // unit, 6144 * 512 // unit - 1), (8192 * 512 // unit, 20480 * 512 // unit - 1)]
    old = gpt_disk(16 * MIB, places, unit)
    old[MIB : 3 * MIB] = pattern(1, 2 * MIB)
    path = image_of(old, tmp_path, logical_sector_size=unit, block_size=MIB)
    done = vhdx.resize(path, word)
    new = content_of(path)
    assert (done.old_size, done.new_size, done.table_kind, done.table_moved) == (
        16 * MIB,
        len(new),
        "gpt",
        True,
    )
    assert new[unit * 34 : 15 * MIB if len(new) > len(old) else 10 * MIB].rstrip(b"\0") == bytes(
        old[unit * 34 : 10 * MIB]
    ).rstrip(b"\0")
    assert_gpt_at_the_end(new, unit)
    assert done.free_size == len(new) - 10 * MIB - 128 * 128 - unit
    assert is_clean(path)
    assert vhdx.resize(path, len(new)).table_moved is False


def test_what_is_left_of_the_old_backup_is_zeros(tmp_path: Path) -> None:
    path = image_of(gpt_disk(16 * MIB, PLACES), tmp_path)
    vhdx.resize(path, "+9M")
    vhdx.resize(path, "-8M")  # which zeros alone let happen
    new = content_of(path)
    assert not any(new[10 * MIB : len(new) - 128 * 128 - 512])


def test_down_to_the_minimum(tmp_path: Path) -> None:
    path = image_of(gpt_disk(16 * MIB, PLACES), tmp_path)
    out = succeed("resize", path, "--to-minimum")
    assert f"to 10.02 MiB ({10 * MIB + 128 * 128 + 512} bytes)" in out
    assert "free behind the last partition: 0 bytes" in out
    assert_gpt_at_the_end(content_of(path))
    failed = run("resize", path, "-4096", "--shrink")
    assert failed.code == 1
    assert "make the last partitions smaller first" in failed.sentence


def test_data_is_not_cut_unasked(tmp_path: Path) -> None:
    disk = bytearray(16 * MIB)
    disk[:512] = mbr_record({0: (0x83, 2048, 8192)})
    disk[5 * MIB - 1] = disk[12 * MIB + 17] = 1
    path = image_of(disk, tmp_path)
    before = guids_of(path)
    assert "disk offset 12582929; shrink" in run("resize", path, "12M").sentence
    assert "disk offset 5242879, in partition 1; shrink" in run("resize", path, "-12M").sentence
    assert guids_of(path) == before
    out = succeed("resize", path, "-12M", "--shrink")
    assert "partition 1: 4 MiB (4194304 bytes), Linux, cut" in out
    assert content_of(path) == disk[: 4 * MIB]


def test_data_behind_a_backup_that_is_not_at_the_end_is_data(tmp_path: Path) -> None:
    disk = gpt_disk(16 * MIB, PLACES) + bytes(MIB)
    disk[-1] = 7
    path = image_of(disk, tmp_path)
    assert f"disk offset {17 * MIB - 1};" in run("resize", path, "-1M").sentence
    assert f"disk offset {17 * MIB - 1};" in run("resize", path, "-4M").sentence


def test_without_a_table(tmp_path: Path) -> None:
    path = image_of(pattern(1, MIB), tmp_path)
    assert "no partition table" in run("resize", path, "--to-minimum").sentence
    assert vhdx.resize(path, "+1000").new_size == MIB + 1024
    assert content_of(path) == pattern(1, MIB) + bytes(1024)


@pytest.mark.parametrize("words", [[], ["1G", "--to-minimum"], ["1G", "2G"]])
def test_wrong_usage(tmp_path: Path, words: list[str]) -> None:
    assert run("resize", tmp_path / "x.vhdx", *words).code == USAGE


def test_children_beside_it_refuse(tmp_path: Path) -> None:
    path = image_of(bytes(MIB), tmp_path)
    vhdx.create(tmp_path / "child.avhdx", parent=path)
    before = guids_of(path)
    assert "would take their parent from" in run("resize", path, "+1M").sentence
    assert guids_of(path) == before
    succeed("resize", path, "+1M", "--force")
    assert content_of(path) == bytes(2 * MIB)


def test_a_child(tmp_path: Path) -> None:
    parent = image_of(gpt_disk(16 * MIB, PLACES), tmp_path)
    child = tmp_path / "child.avhdx"
    vhdx.create(child, parent=parent)
    parent_bytes = parent.read_bytes()
    vhdx.resize(child, "+5M")
    assert_gpt_at_the_end(content_of(child))
    vhdx.resize(child, "12M")
    vhdx.resize(child, "+4M")
    new = content_of(child)
    assert_gpt_at_the_end(new)
    assert not any(new[12 * MIB : 15 * MIB])
    assert parent.read_bytes() == parent_bytes


@EXT4
def test_a_file_system_survives(tmp_path: Path) -> None:
    part, names = tmp_path / "part.raw", ["one", "two"]
    with part.open("wb") as file:
        file.truncate(48 * MIB)
    subprocess.run(["mkfs.ext4", "-q", part], check=True)
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(pattern(number, 3 * MIB))
        subprocess.run(["debugfs", "-w", "-R", f"write {tmp_path / name} {name}", part], check=True)
    disk = gpt_disk(64 * MIB, [(2048, 50 * 2048 - 1)])
    disk[MIB : 49 * MIB] = part.read_bytes()
    path = image_of(disk, tmp_path)
    for word in ("+100M", "-90M", "--to-minimum", "+1G"):
        vhdx.resize(path, to_minimum=True) if word.startswith("--") else vhdx.resize(path, word)
        vhdx.convert(path, part, partition=1, overwrite=True)
        subprocess.run(["fsck.ext4", "-fn", part], check=True)
        for name in names:
            subprocess.run(["debugfs", "-R", f"dump {name} {tmp_path / 'back'}", part], check=True)
            assert (tmp_path / "back").read_bytes() == (tmp_path / name).read_bytes()
    if shutil.which("sgdisk"):
        raw = tmp_path / "whole.raw"
        vhdx.convert(path, raw)
        done = subprocess.run(["sgdisk", "--verify", raw], capture_output=True, text=True, check=True)
        assert "No problems found" in done.stdout


def test_killed_in_the_middle(tmp_path: Path) -> None:
    """Fixed images of many blocks, so that there is a middle; then once more."""
    path, chance = tmp_path / "disk.vhdx", random.Random(1)
    vhdx.create(path, "1G", disk_type="fixed", block_size=MIB)
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(1, MIB), 700 * MIB + 5)
    digest = hashlib.sha256(pattern(1, MIB)).hexdigest()
    size = 1 << 30
    for wanted in ("+3G", "-2G", "+3G", "-1G"):
        process = subprocess.Popen([*COMMAND, "resize", path, wanted])
        time.sleep(chance.uniform(0.12, 0.35))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        new = size + int(wanted[:2]) * (1 << 30)
        with vhdx.open(path) as disk:
            assert disk.size in (size, new)
            assert hashlib.sha256(disk.pread(MIB, 700 * MIB + 5)).hexdigest() == digest
        assert vhdx.resize(path, new).new_size == new
        size = new
        with vhdx.open(path, "r+") as disk:
            assert disk.size == size
            disk.pwrite(b"\0", size - 1)
