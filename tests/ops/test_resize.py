"""`resize`: sizes, partitions that keep a sound table, data that is not cut, children, file systems."""

import errno
import hashlib
import os
import random
import shutil
import subprocess
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

import vhdx
from tests.cli.running import COMMAND, USAGE, run, succeed
from tests.partitions.tables import gpt_disk, mbr_record, sound_copy
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, UNDEFINED, UNMAPPED
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.tools import needs
from tests.write.checking import guids_of, is_clean
from vhdx.disk.volumes import FileSystemOn
from vhdx.ops.resize_advice import growing, useless
from vhdx.partitions.table import PartitionTable

EXT4 = needs("mkfs.ext4", "fsck.ext4", "debugfs")
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
    assert (done.virtual_size_before, done.virtual_size_after, done.table_kind, done.table_moved) == (
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


def test_an_old_backup_that_the_table_gives_to_a_partition_stays(tmp_path: Path) -> None:
    disk = gpt_disk(16 * MIB, [(2048, 32767)])
    vhdx.resize(image_of(disk, tmp_path), "20M")
    assert content_of(tmp_path / "disk.vhdx")[MIB : 16 * MIB] == disk[MIB:]


def test_down_to_the_minimum(tmp_path: Path) -> None:
    path = image_of(gpt_disk(16 * MIB, PLACES), tmp_path)
    out = succeed("resize", path, "--to-minimum")
    assert "16 MiB → 10.02 MiB (\u221237 %); " in out
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
    assert "there is data at 12582929; shrink" in run("resize", path, "12M").sentence
    assert "there is data at 5242879, in partition 1; shrink" in run("resize", path, "-12M").sentence
    assert guids_of(path) == before
    out = succeed("resize", path, "-12M", "--shrink")
    assert "partition 1: 4 MiB, Linux, cut" in out
    assert content_of(path) == disk[: 4 * MIB]


def test_data_behind_a_backup_that_is_not_at_the_end_is_data(tmp_path: Path) -> None:
    disk = gpt_disk(16 * MIB, PLACES) + bytes(MIB)
    disk[-1] = 7
    path = image_of(disk, tmp_path)
    assert f"there is data at {17 * MIB - 1};" in run("resize", path, "-1M").sentence
    assert f"there is data at {17 * MIB - 1};" in run("resize", path, "-4M").sentence


def test_without_a_table(tmp_path: Path) -> None:
    path = image_of(pattern(1, MIB), tmp_path)
    assert (
        "no partition or file system that says where data ends"
        in run("resize", path, "--to-minimum").sentence
    )
    assert "the disk has only 1 MiB" in run("resize", path, "-2M").sentence
    assert vhdx.resize(path, "+1000").virtual_size_after == MIB + 1024
    assert content_of(path) == pattern(1, MIB) + bytes(1024)


def test_data_far_behind_zeros_in_the_same_piece_is_found(tmp_path: Path) -> None:
    path = image_of(bytes(2 * MIB - 400_000) + pattern(1, 400_000), tmp_path)
    assert "there is data at 16971" in run("resize", path, "512K").sentence


def test_a_new_backup_overwrites_no_data(tmp_path: Path) -> None:
    """Behind the last partition somebody may keep something; also where another tool grew the disk."""
    disk = gpt_disk(16 * MIB, PLACES)
    disk[12 * MIB - 600] = 1
    assert "there is data at 12582312" in run("resize", image_of(disk, tmp_path), "12M").sentence
    grown = gpt_disk(16 * MIB, PLACES) + bytes(MIB)
    grown[-600] = 1
    path = image_of(grown, tmp_path)
    for word in ("17M", "+4096"):
        assert f"there is data at {17 * MIB - 600}" in run("resize", path, word).sentence


def interrupted(path: Path, word: str, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """A resize that does not get further than the function of this name."""
    with monkeypatch.context() as patched:
        patched.setattr(at, Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            vhdx.resize(path, word)


@pytest.mark.parametrize("at", ["vhdx.ops.resize.resize_image", "vhdx.ops.resize_gpt._clear"])
@pytest.mark.parametrize("word", ["13M", "20M"])
def test_an_interrupted_resize_is_run_again(
    tmp_path: Path, word: str, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = image_of(gpt_disk(16 * MIB, PLACES), tmp_path)
    interrupted(path, word, monkeypatch, at)
    assert sound_copy(content_of(path), 1, 512) is not None
    vhdx.resize(path, word)
    assert_gpt_at_the_end(content_of(path))
    vhdx.resize(path, "12M")
    assert_gpt_at_the_end(content_of(path))


def test_a_damaged_primary_is_restored_before_the_disk_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = gpt_disk(16 * MIB, PLACES)
    disk[512:1024] = bytes(512)
    path = image_of(disk, tmp_path)
    interrupted(path, "30M", monkeypatch, "vhdx.ops.resize_gpt.Move.after")
    with vhdx.open(path) as opened:
        assert opened.size == 30 * MIB
        assert len(opened.partitions()) == 2
    vhdx.resize(path, "30M")
    assert_gpt_at_the_end(content_of(path))


def test_a_gpt_of_the_other_sector_size_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhdx"
    vhdx.create(path, 16 * MIB)
    with vhdx.open(path, "r+") as disk:  # a conversion would rewrite the table
        disk.pwrite(gpt_disk(16 * MIB, [(256, 767)], 4096), 0)
    done = vhdx.resize(path, "20M")
    assert (done.table_moved, done.remarks) == (
        False,
        ("the GPT counts in sectors of 4096 bytes: it was left alone",),
    )
    assert "there is data at" in run("resize", path, "15M").sentence


def test_a_partition_behind_the_end_is_no_minimum(tmp_path: Path) -> None:
    path = image_of(mbr_record({0: (0x83, 2048, 1 << 20)}).ljust(4 * MIB, b"\0"), tmp_path)
    assert "partition 1 needs 537919488 bytes" in run("resize", path, "--to-minimum").sentence
    with vhdx.open(path) as disk:
        assert disk.size == 4 * MIB


def test_a_host_that_is_full_leaves_a_fixed_image_and_its_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = image_of(pattern(1, MIB), tmp_path, disk_type="fixed", block_size=MIB)
    before, size = guids_of(path)[1], path.stat().st_size
    full = Mock(side_effect=OSError(errno.ENOSPC, "full"))
    monkeypatch.setattr("vhdx.storage.file.host.reserve", full)
    with pytest.raises(OSError, match="full"):
        vhdx.resize(path, "5M")
    assert (guids_of(path)[1], path.stat().st_size) == (before, size)
    assert content_of(path) == pattern(1, MIB)


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


@needs("mkfs.vfat", "fsck.vfat", "mcopy")
def test_a_fat_file_system_survives(tmp_path: Path) -> None:
    part = tmp_path / "part.raw"
    with part.open("wb") as file:
        file.truncate(40 * MIB)
    subprocess.run(["mkfs.vfat", "-F", "32", part], check=True, capture_output=True)
    content = pattern(3, 5 * MIB + 77)
    (tmp_path / "one").write_bytes(content)
    subprocess.run(["mcopy", "-i", part, tmp_path / "one", "::one"], check=True)
    disk = mbr_record({0: (0x0C, 2048, 40 * 2048)}).ljust(64 * MIB, b"\0")
    path = image_of(disk[:MIB] + part.read_bytes() + disk[41 * MIB :], tmp_path)
    for change in (
        lambda: vhdx.resize(path, "+100M"),
        lambda: vhdx.compact(path, scan_zeros=True, punch=True),
        lambda: vhdx.resize(path, to_minimum=True),
        lambda: vhdx.set_properties(path, disk_type="fixed"),
        lambda: vhdx.resize(path, "+3M"),
    ):
        change()
        vhdx.convert(path, part, partition=1, overwrite=True)
        subprocess.run(["fsck.vfat", "-n", part], check=True, capture_output=True)
        subprocess.run(["mcopy", "-n", "-o", "-i", part, "::one", tmp_path / "back"], check=True)
        assert (tmp_path / "back").read_bytes() == content


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
        process.kill()
        process.wait()
        new = size + int(wanted[:2]) * (1 << 30)
        with vhdx.open(path) as disk:
            assert disk.size in (size, new)
            assert hashlib.sha256(disk.pread(MIB, 700 * MIB + 5)).hexdigest() == digest
        assert vhdx.resize(path, new).virtual_size_after == new
        size = new
        with vhdx.open(path, "r+") as disk:
            assert disk.size == size
            disk.pwrite(b"\0", size - 1)


@pytest.mark.parametrize("behind", [0, 1, 3, 7, 8, 500])
@pytest.mark.parametrize("state", [UNDEFINED, UNMAPPED])
def test_a_fixed_disk_grows_around_space_that_is_kept_behind_the_end_of_its_file(
    state: int, behind: int, tmp_path: Path
) -> None:
    image = ImageBuilder(8 * MIB, MIB, disk_type="fixed")
    length = image.length()
    image.blocks[2] = Block(state=state, file_offset=length + behind * MIB)
    path = image.write(tmp_path / "a.vhdx")
    os.truncate(path, length)
    vhdx.resize(path, "16MiB")
    found = vhdx.check(path)
    assert not found.errors, found.codes
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(1, 8 * MIB), 8 * MIB)
        assert disk.pread(16 * MIB, 0) == bytes(8 * MIB) + pattern(1, 8 * MIB)


# What limits a size, and what makes use of one -----------------------------------------------------


@needs("mkfs.ext4")
def test_the_file_system_that_limits_a_disk_is_named(tmp_path: Path) -> None:
    raw, path = tmp_path / "disk.raw", tmp_path / "a.vhdx"
    raw.write_bytes(gpt_disk(40 * MIB, [(2048, 2048 + 32 * 2048 - 1)]))
    part = tmp_path / "part"
    part.write_bytes(bytes(20 * MIB))
    subprocess.run(["mkfs.ext4", "-q", "-L", "root", part], check=True)
    with open(raw, "r+b") as file:
        file.seek(MIB)
        file.write(part.read_bytes())
    vhdx.convert(raw, path)
    done = vhdx.resize(path, to_minimum=True)
    assert done.limit == (
        "partition 1 ends there; its ext4 'root' takes only 20 MiB of its 32 MiB, so the partition can shrink"
    )
    assert done.grow_commands == ()
    grown = vhdx.resize(path, "1G")
    assert grown.grow_commands == ("growpart /dev/sdX 1", "resize2fs /dev/sdX1")
    assert grown.limit is None
    for number in (1, None):  # whoever says it again has not run the command yet
        done = vhdx.resize(path, grow_partition=1)
        assert (done.grown_partition, done.grow_commands) == (number, ("resize2fs /dev/sdX1",))


@needs("mkfs.ext4")
def test_a_disk_without_a_table_ends_with_its_file_system(tmp_path: Path) -> None:
    raw, path = tmp_path / "disk.raw", tmp_path / "a.vhdx"
    raw.write_bytes(bytes(64 * MIB))
    subprocess.run(["mkfs.ext4", "-q", "-b", "4096", raw, f"{24 * MIB // 1024}k"], check=True)
    vhdx.convert(raw, path)
    done = vhdx.resize(path, to_minimum=True)
    assert done.virtual_size_after == 24 * MIB
    assert done.limit == "its ext4 ends there, and would have to shrink first"
    assert vhdx.resize(path, "+1G").grow_commands == ("resize2fs /dev/sdX",)
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(b"data behind it", 100 * MIB)
    with pytest.raises(vhdx.UnsupportedImageError, match="there is data at"):
        vhdx.resize(path, to_minimum=True)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("XFS", ("xfs_growfs MOUNTPOINT",)),
        ("LVM2 PV", ("pvresize /dev/sdX", "lvextend -r -l +100%FREE GROUP/VOLUME")),
        ("exFAT", ()),
    ],
)
def test_each_kind_grows_in_its_way(kind: str, said: tuple[str, ...]) -> None:
    found = FileSystemOn(None, "whole disk", 0, kind, None, None, MIB, 4096, 0, MIB, "clean", ())
    assert growing(None, found) == said


def test_what_is_of_no_use_to_anybody_is_told(tmp_path: Path) -> None:
    """An MBR counts in 32 bits, and exFAT never grows."""
    with open(tmp_path / "a.raw", "wb") as raw:
        raw.write(mbr_record({0: (0x07, 2048, 4096)}))
        raw.truncate(4 * MIB)
    path = tmp_path / "a.vhdx"
    vhdx.convert(tmp_path / "a.raw", path)
    assert vhdx.resize(path, "1T", grow_partition=1).remarks == ()
    done = vhdx.resize(path, "3T", grow_partition=1)
    (remark,) = done.remarks
    assert remark.startswith("an MBR reaches 2 TiB here: the last 1 TiB of the disk can be in none of its ")
    assert done.partitions[0].end <= 2 << 40
    more = vhdx.resize(path, "4T")
    assert "the last 2 TiB of the disk" in more.remarks[0]
    assert more.grow_commands == ()
    exfat = FileSystemOn(1, "partition 1", MIB, "exFAT", None, None, MIB, 4096, 0, MIB, "clean", ())
    assert "makes exFAT larger" in useless(PartitionTable("mbr", 512, None, (), (), None), MIB, exfat)[0]


def test_progress_counts_data_and_no_holes(tmp_path: Path) -> None:
    """What is cut off is looked at for data: of 60 MiB two blocks are stored."""
    image = tmp_path / "vm.vhdx"
    vhdx.create(image, 64 * MIB, block_size=MIB)
    with vhdx.open(image, "r+") as disk:
        disk.pwrite(b"\0" * MIB, 10 * MIB)
        disk.pwrite(b"\0" * MIB, 40 * MIB)
    seen = list[tuple[int, int | None]]()
    vhdx.resize(image, 4 * MIB, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(MIB, 2 * MIB), (2 * MIB, 2 * MIB)]
