"""Free space of FAT12, FAT16 and FAT32, against dosfstools, mtools and partclone."""

import hashlib
import os
import random
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.support.tools import needs
from vhdx.filesystems import fat
from vhdx.filesystems.base import FileSystem, examine
from vhdx.filesystems.fat_boot import Boot, parsed
from vhdx.filesystems.fat_table import ENTRIES_AT_ONCE

from .noise import partclone_free, patch
from .scribble import clean, contents, needs_partclone, number, over, reader, reason, run, scribble

MIB = 1 << 20
pytestmark = needs("mkfs.vfat", "fsck.fat", "mcopy", "mdel", "mmd")


def made(path: Path, size: int, *options: str) -> Path:
    with open(path, "wb") as file:
        file.truncate(size)
    run("mkfs.vfat", "-n", "LABEL", "-i", "1234abcd", *options, path)
    return path


SHAPES = {
    "FAT12": (2 * MIB, "-F", "12", "-s", "1"),
    "FAT12, odd number of clusters, one FAT": (3 * MIB - 5 * 512, "-F", "12", "-s", "2", "-f", "1"),
    "FAT12, sectors of 4096": (8 * MIB, "-F", "12", "-S", "4096", "-s", "1"),
    "FAT16": (32 * MIB, "-F", "16"),
    "FAT16, one FAT": (32 * MIB, "-F", "16", "-s", "2", "-f", "1"),
    "FAT16, sectors of 4096": (64 * MIB, "-F", "16", "-S", "4096", "-s", "1"),
    "FAT32": (48 * MIB, "-F", "32", "-s", "1"),
    "FAT32, one FAT": (80 * MIB + 512, "-F", "32", "-s", "2", "-f", "1"),
    "FAT32, sectors of 4096": (300 * MIB, "-F", "32", "-S", "4096", "-s", "1"),
}


def shaped(path: Path, shape: str) -> Path:
    size, *options = SHAPES[shape]
    return made(path, int(size), *map(str, options))


def kind(shape: str) -> str:
    return shape[:5]


def fill(path: Path, seed: int, folder: Path) -> None:
    """Files, half of them deleted, and files again, of which some go into the gaps."""
    room = path.stat().st_size // 3
    folder.mkdir()
    names = []
    for index, data in enumerate(contents(seed, 60, min(room // 8, MIB))):
        room -= len(data)
        if room > 0:
            (folder / f"file {index}").write_bytes(data)
            names.append(f"file {index}")
    run("mmd", "-i", path, "::sub folder")
    run("mcopy", "-o", "-i", path, *(folder / name for name in names), "::sub folder")
    run("mdel", "-i", path, *(f"::sub folder/{name}" for name in names[::2]))
    run("mcopy", "-o", "-i", path, *(folder / name for name in names[1::4]), "::")
    run("mcopy", "-o", "-i", path, *(folder / name for name in names[::3]), "::sub folder")


def hashes(path: Path, folder: Path) -> dict[str, str]:
    folder.mkdir()
    run("mcopy", "-s", "-i", path, "::*", folder)
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def fsck_free(path: Path) -> int:
    """Clusters that are free by fsck.fat, which must find nothing wrong."""
    said = run("fsck.fat", "-n", "-v", path)
    return number(said, r"/(\d+) clusters") - number(said, r" (\d+)/\d+ clusters")


@pytest.mark.parametrize("shape", SHAPES)
def test_files_live_through_noise_in_what_is_free(tmp_path: Path, shape: str) -> None:
    path = shaped(tmp_path / "f", shape)
    fill(path, len(shape), tmp_path / "source")
    before = hashes(path, tmp_path / "before")
    result = clean(fat, path)
    assert result.file_system.kind == kind(shape)
    assert (result.file_system.label, result.file_system.uuid) == ("LABEL", "1234-ABCD")
    free = fsck_free(path) * result.file_system.block_size
    assert result.file_system.free == free > 0
    assert scribble(path, result) == free
    assert fsck_free(path) * result.file_system.block_size == free
    assert hashes(path, tmp_path / "after") == before


@needs_partclone
@pytest.mark.parametrize("shape", ["FAT16", "FAT32"])  # it takes some free clusters of FAT12 for used ones
def test_partclone_finds_the_same(tmp_path: Path, shape: str) -> None:
    path = shaped(tmp_path / "f", shape)
    fill(path, 5, tmp_path / "source")
    assert clean(fat, path).file_system.free == partclone_free("partclone.fat", path)


def boot_of(path: Path) -> Boot:
    boot = parsed(reader(path)(512, 0))
    assert not isinstance(boot, str)
    return boot


def entry(path: Path, cluster: int, value: int, copies: tuple[int, ...] = (0, 1)) -> None:
    """Set an entry of the FATs."""
    boot = boot_of(path)
    for copy in copies:
        start = boot.fat_offset + copy * boot.fat_length
        bits = boot.width.bits
        with open(path, "rb") as file:
            file.seek(start + cluster * bits // 8)
            old = int.from_bytes(file.read(4), "little")
        shift = cluster * bits % 8
        mask = ((1 << min(bits, 32)) - 1) << shift
        patch(path, start + cluster * bits // 8, (old & ~mask | value << shift).to_bytes(4, "little"))


END = {"FAT12": 0xFFF, "FAT16": 0xFFFF, "FAT32": 0x0FFFFFFF}
BAD = {"FAT12": 0xFF7, "FAT16": 0xFFF7, "FAT32": 0x0FFFFFF7}


@pytest.mark.parametrize("shape", ["FAT12", "FAT16", "FAT32"])
def test_entries(tmp_path: Path, shape: str) -> None:
    path = shaped(tmp_path / "f", shape)
    before = clean(fat, path).file_system
    assert before.free is not None
    cluster = before.block_size
    entry(path, 101, BAD[shape])
    assert clean(fat, path).file_system.free == before.free - cluster
    entry(path, 100, 102)
    assert "leads to cluster 102, which is free" in reason(fat, path)
    entry(path, 102, END[shape])
    assert clean(fat, path).file_system.free == before.free - 3 * cluster
    entry(path, 103, 102)
    assert "two chains" in reason(fat, path)
    entry(path, 103, 104)
    entry(path, 104, 103)
    clean(fat, path)  # a circle is in use, and nobody follows it
    entry(path, 103, 1)
    assert "mean nothing" in reason(fat, path)
    entry(path, 103, END[shape] - 15)
    assert "mean nothing" in reason(fat, path)
    entry(path, 103, END[shape])
    clean(fat, path)
    entry(path, 105, END[shape], copies=(1,))
    assert "FATs differ" in reason(fat, path)


def test_chain_goes_on_and_is_met_by_another(tmp_path: Path) -> None:
    path = shaped(tmp_path / "f", "FAT16")
    for cluster, value in ((50, 51), (51, 52), (52, 0xFFFF), (70, 52)):
        entry(path, cluster, value)
    assert "two chains" in reason(fat, path)


def test_high_bits_of_fat32_mean_nothing(tmp_path: Path) -> None:
    path = shaped(tmp_path / "f", "FAT32")
    before = clean(fat, path).file_system.free
    entry(path, 200, 0xF0000000)
    assert clean(fat, path).file_system.free == before


@pytest.mark.parametrize(
    ("shape", "value", "told"),
    [
        ("FAT16", 0x7FFF, "not unmounted"),
        ("FAT16", 0xBFFF, "errors"),
        ("FAT32", 0x07FFFFFF, "not unmounted"),
        ("FAT32", 0x0BFFFFFF, "errors"),
    ],
)
def test_bits_of_the_table_that_say_unclean(tmp_path: Path, shape: str, value: int, told: str) -> None:
    path = shaped(tmp_path / "f", shape)
    entry(path, 1, value)
    assert told in reason(fat, path)


@pytest.mark.parametrize(("shape", "at"), [("FAT12", 0x25), ("FAT16", 0x25), ("FAT32", 0x41)])
def test_byte_that_says_in_use(tmp_path: Path, shape: str, at: int) -> None:
    path = shaped(tmp_path / "f", shape)
    for value in (1, 2, 3):
        patch(path, at, bytes([value]))
        assert "not unmounted" in reason(fat, path)


def test_only_one_fat_counts(tmp_path: Path) -> None:
    path = shaped(tmp_path / "f", "FAT32")
    before = clean(fat, path).file_system
    entry(path, 300, END["FAT32"], copies=(1,))
    patch(path, 40, b"\x81")
    assert before.free is not None
    assert clean(fat, path).file_system.free == before.free - before.block_size
    patch(path, 40, b"\x80")
    assert clean(fat, path).file_system.free == before.free
    patch(path, 40, b"\x82")
    assert examine_bytes(path.read_bytes()).state == "unknown"


def examine_bytes(data: bytes) -> FileSystem:
    found = fat.recognise(over(data), len(data))
    assert found is not None
    return examine(found, len(data)).file_system


def test_root_and_media(tmp_path: Path) -> None:
    path = shaped(tmp_path / "f", "FAT32")
    entry(path, 2, 0)
    assert "root directory leads to cluster 2, which is free" in reason(fat, path)
    patch(path, 44, struct.pack("<I", 1 << 27))
    assert "root directory is outside" in reason(fat, path)
    path = shaped(tmp_path / "f", "FAT16")
    entry(path, 0, 0xFFF0)
    assert "first byte" in reason(fat, path)


def test_shapes_that_contradict_themselves(tmp_path: Path) -> None:
    data = shaped(tmp_path / "f", "FAT32").read_bytes()[:MIB]
    for at, value in (
        (13, b"\x80"),
        (14, b"\0\0"),
        (16, b"\5"),
        (17, b"\0\2"),
        (32, bytes(4)),
        (32, b"\x10\0\0\0"),
        (36, b"\x08\0\0\0"),
        (36, b"\xff\xff\xff\xff"),
        (42, b"\1"),
    ):
        told = examine_bytes(data[:at] + value + data[at + len(value) :])
        assert told.state == "unknown", at
        assert told.reasons
    assert "only" in examine_bytes(data).reasons[0]


def test_what_is_no_fat(tmp_path: Path) -> None:
    data = shaped(tmp_path / "f", "FAT16").read_bytes()[:4096]
    for at, value in (
        (0, b"\0"),
        (510, b"\0"),
        (54, b"NTFS"),
        (11, b"\1\2"),
        (13, b"\0"),
        (13, b"\3"),
        (16, b"\0"),
    ):
        other = data[:at] + value + data[at + len(value) :]
        assert fat.recognise(over(other), len(other)) is None
    assert fat.recognise(over(data[:100]), 100) is None


def chained(path: Path, clusters: int) -> Path:
    """A FAT32 of many clusters whose table is written here: chains that cross the borders of its pieces."""
    path = made(path, clusters * 512 + 16 * MIB, "-F", "32", "-s", "1")
    boot = boot_of(path)
    entries = np.arange(1, boot.clusters + 3, dtype="<u4")
    entries[3:][np.random.default_rng(3).random(boot.clusters - 1) < 0.5] = 0x0FFFFFFF
    entries[-1] = 0x0FFFFFFF
    entries[:3] = 0x0FFFFFF8, 0x0FFFFFFF, 0x0FFFFFFF
    entries[ENTRIES_AT_ONCE - 3 : ENTRIES_AT_ONCE + 2] = 0
    entries[ENTRIES_AT_ONCE - 4] = 0x0FFFFFFF
    for copy in (0, 1):
        patch(path, boot.fat_offset + copy * boot.fat_length, entries.tobytes())
    return path


def test_table_of_several_pieces(tmp_path: Path) -> None:
    path = chained(tmp_path / "f", ENTRIES_AT_ONCE + 100_000)
    ((offset, length),) = clean(fat, path).free_ranges()
    boot = boot_of(path)
    assert (offset - boot.data_offset) // 512 == ENTRIES_AT_ONCE - 5
    assert length == 5 * 512
    entry(path, ENTRIES_AT_ONCE + 3, ENTRIES_AT_ONCE - 1)
    assert "which is free" in reason(fat, path)
    os.unlink(path)


@pytest.mark.parametrize("shape", ["FAT12", "FAT16", "FAT32"])
def test_mutations_end_in_a_reason_or_in_ranges(tmp_path: Path, shape: str) -> None:
    data = shaped(tmp_path / "f", shape).read_bytes()[: 2 * MIB]
    dice = random.Random(shape)
    for _ in range(150):
        other = bytearray(data)
        for _ in range(dice.randrange(1, 4)):
            at = dice.choice((dice.randrange(11, 90), dice.randrange(32 * 512, 40 * 512)))
            other[at] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        found = fat.recognise(over(other), len(other))
        if found is not None:
            list(examine(found, 1 << 40).free_ranges())


def test_last_cluster_goes_on_behind_the_end(tmp_path: Path) -> None:
    for clusters in (4096, 4102, 4103):  # the bits of the table end with a byte, or do not
        path = made(tmp_path / f"{clusters}", clusters * 2048 + 3 * MIB, "-F", "16", "-s", "4")
        count = boot_of(path).clusters + 2
        entry(path, count - 1, count)
        assert "free cluster near" in reason(fat, path)
