"""Disks for other sectors, as other programs see them; file systems live through it, and through a VHD."""

import subprocess
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import run as run_vhdx
from tests.ops.make.making import disk_of, write_raw
from tests.partitions.tables import mbr_record
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.support.tools import needs
from vhdx.ops.make.resector import BACKUP_MOVED, TAKEN_FOR_512

from .programs import run

SIZE = 24 * MIB
START, LENGTH = 2 * MIB, 16 * MIB
FILES = {"small": b"a few bytes", "large": pattern(1, MIB + 17), "empty": b""}
TO_4096 = vhdx.ImageOptions(logical_sector_size=4096)
TO_512 = vhdx.ImageOptions(logical_sector_size=512)

GPT_SCRIPT = "label: gpt\nstart=4096, size=32768, name=data\nstart=36864, size=8192, type=swap\n"
MBR_SCRIPT = (
    "label: dos\nstart=4096, size=32768, type=83\nstart=36864, size=8192, type=5\nstart=38912, size=4096\n"
)


def partitioned(raw: Path, script: str) -> Path:
    write_raw(raw, SIZE)
    done = subprocess.run(["sfdisk", "-q", raw], input=script, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return raw


def put(raw: Path, content: bytes) -> None:
    with open(raw, "r+b") as file:
        file.seek(START)
        file.write(content)


def ext4_of(folder: Path, block_size: int) -> bytes:
    """An ext4 file system with the files in it."""
    source, image = folder / "files", write_raw(folder / "ext4", LENGTH)
    source.mkdir()
    for name, data in FILES.items():
        (source / name).write_bytes(data)
    run("mkfs.ext4", "-q", "-F", "-b", str(block_size), "-d", source, image)
    return image.read_bytes()


def assert_ext4_lives(folder: Path, content: bytes) -> None:
    image = folder / "part"
    image.write_bytes(content)
    run("e2fsck", "-f", "-n", image)
    for name, data in FILES.items():
        run("debugfs", "-R", f"dump /{name} {folder / 'out'}", image)
        assert (folder / "out").read_bytes() == data


def listed_by_fdisk(raw: Path, unit: int) -> list[tuple[int, int]]:
    """Offset and length of each partition as fdisk lists them with sectors of this size."""
    text = run("fdisk", "-b", str(unit), "-o", "start,sectors", "-l", raw)
    lines = [line.split() for line in text.splitlines()]
    rows = [line for line in lines if len(line) == 2 and all(word.isdigit() for word in line)]
    return [(int(start) * unit, int(count) * unit) for start, count in rows]


@needs("sfdisk", "fdisk", "mkfs.ext4", "debugfs", "e2fsck")
@pytest.mark.parametrize("script", [GPT_SCRIPT, MBR_SCRIPT])
def test_ext4_lives_through_both_ways(tmp_path: Path, script: str) -> None:
    raw = partitioned(tmp_path / "a.raw", script)
    put(raw, ext4_of(tmp_path, 4096))
    before = listed_by_fdisk(raw, 512)
    made = vhdx.convert(raw, tmp_path / "b.vhdx", options=TO_4096)
    assert made.remarks == ("the partition table was rewritten for sectors of 4096 bytes",)
    large = tmp_path / "b.raw"
    large.write_bytes(disk_of(tmp_path / "b.vhdx"))
    assert listed_by_fdisk(large, 4096) == before
    assert "MBR" not in run("fdisk", "-b", "4096", "-l", large)  # no word of a size mismatch
    with vhdx.open(tmp_path / "b.vhdx") as disk:
        assert disk.partition_table().findings == ()
        part = disk.partitions()[0]
        assert (part.offset, part.length) == (START, LENGTH)
        assert_ext4_lives(tmp_path, disk.pread(LENGTH, START))
    vhdx.convert(tmp_path / "b.vhdx", tmp_path / "c.vhdx", options=TO_512)
    small = tmp_path / "c.raw"
    small.write_bytes(disk_of(tmp_path / "c.vhdx"))
    assert listed_by_fdisk(small, 512) == before
    assert "No errors detected" in run("sfdisk", "--verify", small)
    assert_ext4_lives(tmp_path, small.read_bytes()[START : START + LENGTH])


@needs("sfdisk", "sgdisk")
def test_gdisk_finds_no_problem_after_both_ways(tmp_path: Path) -> None:
    raw = partitioned(tmp_path / "a.raw", GPT_SCRIPT)
    vhdx.convert(raw, tmp_path / "b.vhdx", options=TO_4096)
    vhdx.convert(tmp_path / "b.vhdx", tmp_path / "c.vhd")
    vhdx.convert(tmp_path / "c.vhd", tmp_path / "c.raw")
    assert "No problems found" in run("sgdisk", "--verify", tmp_path / "c.raw")
    identities = [run("sgdisk", "-i", "1", path) for path in (raw, tmp_path / "c.raw")]
    assert identities[0] == identities[1]


@needs("sfdisk", "mkfs.ext4")
def test_ext4_with_small_blocks_is_named(tmp_path: Path) -> None:
    raw = partitioned(tmp_path / "a.raw", GPT_SCRIPT)
    put(raw, ext4_of(tmp_path, 1024))
    made = vhdx.convert(raw, tmp_path / "b.vhdx", options=TO_4096)
    assert made.remarks[1].startswith("partition 1 holds ext2/3/4 with blocks of 1024 bytes")


@needs("sfdisk", "mkfs.vfat", "mcopy")
def test_fat_is_named_and_lives_on_in_its_own_sectors(tmp_path: Path) -> None:
    raw = partitioned(tmp_path / "a.raw", MBR_SCRIPT)
    fat = write_raw(tmp_path / "fat", LENGTH)
    run("mkfs.vfat", fat)
    (tmp_path / "large").write_bytes(FILES["large"])
    run("mcopy", "-i", fat, tmp_path / "large", "::large")
    put(raw, fat.read_bytes())
    made = vhdx.convert(raw, tmp_path / "b.vhdx", options=TO_4096)
    assert made.remarks[1].startswith("partition 1 holds FAT with sectors of 512 bytes")
    vhdx.convert(tmp_path / "b.vhdx", tmp_path / "c.vhd")
    vhdx.convert(tmp_path / "c.vhd", tmp_path / "c.raw", partition=1)
    run("fsck.vfat", "-n", tmp_path / "c.raw")
    run("mcopy", "-n", "-i", tmp_path / "c.raw", "::large", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == FILES["large"]


@needs("mkfs.ntfs", "sfdisk")
def test_ntfs_is_named(tmp_path: Path) -> None:
    raw = partitioned(tmp_path / "a.raw", GPT_SCRIPT)
    ntfs = write_raw(tmp_path / "ntfs", LENGTH)
    run("mkfs.ntfs", "-q", "-F", "-f", "-s", "512", ntfs)
    put(raw, ntfs.read_bytes())
    made = vhdx.convert(raw, tmp_path / "b.vhdx", options=TO_4096)
    assert made.remarks[1].startswith("partition 1 holds NTFS with sectors of 512 bytes")


@needs("mkfs.ext4", "debugfs", "e2fsck", "qemu-img", "sfdisk")
def test_ext4_lives_through_a_vhd(tmp_path: Path) -> None:
    raw = partitioned(tmp_path / "a.raw", GPT_SCRIPT)
    put(raw, ext4_of(tmp_path, 1024))
    vhdx.convert(raw, tmp_path / "a.vhdx")
    vhdx.convert(tmp_path / "a.vhdx", tmp_path / "a.vhd")
    run("qemu-img", "compare", "-f", "vpc", "-F", "raw", tmp_path / "a.vhd", raw)
    run("qemu-img", "convert", "-f", "vpc", "-O", "vpc", tmp_path / "a.vhd", tmp_path / "dynamic.vhd")
    vhdx.convert(tmp_path / "dynamic.vhd", tmp_path / "b.vhdx")
    with vhdx.open(tmp_path / "b.vhdx") as disk:
        assert_ext4_lives(tmp_path, disk.pread(LENGTH, START))


@needs("sfdisk")
@pytest.mark.parametrize("extra", [512, 1000])
def test_odd_disks_are_rounded_up(tmp_path: Path, extra: int) -> None:
    raw = partitioned(tmp_path / "a.raw", MBR_SCRIPT)
    with open(raw, "ab") as file:
        file.write(b"x" * extra)
    done = run_vhdx("convert", raw, tmp_path / "b.vhdx", "--logical-sector-size", "4096")
    assert done.err.splitlines() == [
        f"vhdx: virtual size rounded from {SIZE + extra} bytes to {SIZE + 4096} (24 MiB)",
        "vhdx: the partition table was rewritten for sectors of 4096 bytes",
        f"vhdx: {TAKEN_FOR_512}",
    ]
    assert disk_of(tmp_path / "b.vhdx")[SIZE:] == (b"x" * extra).ljust(4096, b"\0")


@needs("sfdisk")
def test_odd_borders_leave_every_byte_alone(tmp_path: Path) -> None:
    raw = partitioned(tmp_path / "a.raw", "label: dos\nstart=63, size=4033\n")
    done = run_vhdx("convert", raw, tmp_path / "b.vhdx", "--logical-sector-size", "4K")
    assert done.code == 0
    assert "stays as it is" in done.err
    assert "partition 1 begins at byte 32256, which is no multiple of 4096" in done.err
    assert disk_of(tmp_path / "b.vhdx") == raw.read_bytes()


@needs("sfdisk")
def test_nothing_is_rewritten_unasked(tmp_path: Path) -> None:
    raw = partitioned(tmp_path / "a.raw", GPT_SCRIPT)
    for name in ("b.vhdx", "b.vhd", "b.raw"):
        assert vhdx.convert(raw, tmp_path / name).remarks == ()
        vhdx.convert(tmp_path / name, tmp_path / "c.raw", overwrite=True)
        assert (tmp_path / "c.raw").read_bytes() == raw.read_bytes()


@pytest.mark.parametrize(("sector_size", "words"), [(512, []), (4096, ["losetup --sector-size 4096"])])
def test_what_a_raw_file_cannot_say_is_told(tmp_path: Path, sector_size: int, words: list[str]) -> None:
    vhdx.create(tmp_path / "a.vhdx", "8MiB", logical_sector_size=sector_size)
    remarks = vhdx.convert(tmp_path / "a.vhdx", tmp_path / "b.raw").remarks
    assert len(remarks) == len(words)
    assert all(word in remark for word, remark in zip(words, remarks, strict=True))


@needs("sfdisk")
def test_a_pipe_keeps_its_table(tmp_path: Path) -> None:
    raw = partitioned(tmp_path / "a.raw", GPT_SCRIPT)
    with subprocess.Popen(["cat", raw], stdout=subprocess.PIPE) as source:
        words = ("convert", "-", tmp_path / "b.vhdx", "--logical-sector-size", "4096")
        done = run_vhdx(*words, stdin=source.stdout)
    assert "keeps its partition table" in done.err
    assert disk_of(tmp_path / "b.vhdx") == raw.read_bytes()


@needs("sfdisk")
def test_measuring_knows_the_new_table(tmp_path: Path) -> None:
    raw = partitioned(tmp_path / "a.raw", GPT_SCRIPT)
    options = vhdx.ImageOptions(logical_sector_size=4096, block_size=MIB)
    found = vhdx.measure(raw, options=options, scan_zeros=True)
    made = vhdx.convert(raw, tmp_path / "b.vhdx", options=options)
    assert (found.required_size, found.data_size) == (made.file_size, made.data_size)
    assert found.remarks == made.remarks


@needs("sfdisk", "sgdisk")
@pytest.mark.parametrize("suffix", ["raw", "vhdx"])
def test_the_backup_of_a_gpt_follows_the_end_of_a_disk_that_is_rounded_up(
    tmp_path: Path, suffix: str
) -> None:
    """A VHD has whole MiB."""
    raw = write_raw(tmp_path / "a.raw", SIZE + 51_200)
    subprocess.run(["sfdisk", "-q", raw], input=GPT_SCRIPT, text=True, capture_output=True, check=True)
    put(raw, pattern(1, LENGTH))
    source = raw
    if suffix == "vhdx":
        source = tmp_path / "a.vhdx"
        assert vhdx.convert(raw, source).remarks == ()
    made = vhdx.convert(source, tmp_path / "b.vhd")
    assert made.remarks[1:] == (BACKUP_MOVED,)
    assert vhdx.measure(source, target_format="vhd").remarks == made.remarks
    flat = tmp_path / "b.raw"
    flat.write_bytes((tmp_path / "b.vhd").read_bytes()[:-512])
    assert flat.read_bytes()[START:][:LENGTH] == pattern(1, LENGTH)
    assert "No problems found" in run("sgdisk", "--verify", flat)
    assert listed_by_fdisk(flat, 512) == listed_by_fdisk(raw, 512)


@needs("mkfs.ext4", "debugfs", "e2fsck")
def test_an_mbr_of_4096_byte_sectors_in_a_raw_disk(tmp_path: Path) -> None:
    """An MBR does not tell its sectors; the file systems that it leads to do."""
    raw = write_raw(tmp_path / "a.raw", SIZE, {0: mbr_record({0: (0x83, START // 4096, LENGTH // 4096)})})
    put(raw, ext4_of(tmp_path, 4096))
    for name, options in (("b.vhdx", TO_4096), ("d.vhdx", TO_512)):
        made = vhdx.convert(raw, tmp_path / name, options=options)
        assert any("rewritten" in remark for remark in made.remarks) == (options == TO_512)
        with vhdx.open(tmp_path / name) as disk:
            assert [(p.offset, p.length) for p in disk.partitions()] == [(START, LENGTH)]
    put(raw, bytes(LENGTH))
    guessed = vhdx.convert(raw, tmp_path / "c.vhdx", options=TO_4096)
    assert "it was taken for one of sectors of 512 bytes" in guessed.remarks[-1]
