"""How much of a disk is whole where the file ends early: a download that was broken off."""

import subprocess
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import run
from tests.filesystems.ext_making import free_ranges_by_dumpe2fs
from tests.partitions.tables import gpt_disk
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.support.tools import needs


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


@needs("mkfs.ext4", "dumpe2fs")
@pytest.mark.parametrize("place", [0, 4 * MIB])
def test_the_share_of_files(place: int, tmp_path: Path) -> None:
    """Of a file system with 12 MiB of files, on the disk as a whole and in a partition, with a lost end."""
    (files := tmp_path / "files").mkdir()
    for number in range(12):
        (files / str(number)).write_bytes(pattern(number, MIB))
    system, raw, path = tmp_path / "ext4", tmp_path / "a.raw", tmp_path / "a.vhdx"
    with open(system, "wb") as file:
        file.truncate(28 * MIB)
    making = ["mkfs.ext4", "-q", "-b", "4096", "-O", "^has_journal", "-d", str(files), str(system)]
    subprocess.run(making, check=True, timeout=60)
    table = gpt_disk(33 * MIB, [(place // 512, (place + 28 * MIB) // 512 - 1)]) if place else b""
    disk = bytearray(table.ljust(33 * MIB if place else 28 * MIB, b"\0"))
    disk[place : place + 28 * MIB] = system.read_bytes()
    raw.write_bytes(disk)
    vhdx.convert(raw, path, options=vhdx.ImageOptions(block_size=MIB, disk_type="fixed"))
    there = 9 * MIB
    with open(path, "r+b") as cut:
        cut.truncate(4 * MIB + place + there)
    result = vhdx.check(path)
    assert result.whole is not None
    (found,) = result.whole.file_systems
    free = [range(start, start + length) for start, length in free_ranges_by_dumpe2fs(system)]
    in_use = sum(not any(at in run for run in free) for at in range(there, 28 * MIB, 4096))
    assert (found.name, found.kind) == ("partition 1" if place else "whole disk", "ext4")
    assert found.lost == in_use * 4096 > 0
    assert " in use are lost" in run("check", path).out


@needs("mkfs.ext4")
def test_a_file_system_whose_own_notes_are_lost(tmp_path: Path) -> None:
    """What is in use of it is not known any more, and nobody guesses."""
    raw = tmp_path / "a.raw"
    (tmp_path / "a.raw").write_bytes(bytes(32 * MIB))
    subprocess.run(["mkfs.ext4", "-q", "-b", "1024", str(raw)], check=True, timeout=60)
    path = tmp_path / "a.vhdx"
    vhdx.convert(raw, path, options=vhdx.ImageOptions(block_size=MIB, disk_type="fixed"))
    with open(path, "r+b") as cut:
        cut.truncate(4 * MIB + 6 * MIB)
    whole = vhdx.check(path).whole
    assert whole is not None
    (found,) = whole.file_systems
    assert (found.used, found.lost) == (None, None)
    assert "how much of its files is lost is not known: " in run("check", path).out
