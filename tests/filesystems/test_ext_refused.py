"""What is refused, in one sentence that says what to do; and what looks like a reason and is none."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from tests.filesystems.ext_making import looked, made, noised, shape, superblock_of, with_superblock
from tests.filesystems.making import MIB, need, raw_file, run
from tests.filesystems.noise import patch
from vhdx.filesystems import ext

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = shape("plain", "-t ext4 -b 1024 -N 512 -L named -U 12345678-9abc-def0-1234-56789abcdef0", 24 * MIB)
STATE, COMPAT, INCOMPAT, RO_COMPAT = 0x3A, 0x5C, 0x60, 0x64
DESCRIPTORS, BITMAP_POINTER = 2048, 2048


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("mkfs.ext4", "e2fsck", "debugfs")
    return made(tmp_path_factory.mktemp("plain"), PLAIN)


@pytest.fixture
def image(plain: Path, tmp_path: Path) -> Path:
    return shutil.copyfile(plain, tmp_path / "image")


def bits(image: Path, at: int, extra: int) -> tuple[int, int, int]:
    return at, 4, int.from_bytes(superblock_of(image)[at : at + 4], "little") | extra


def reason(image: Path) -> str:
    file_system = looked(image).file_system
    assert file_system.free is None
    assert file_system.used is None
    assert list(looked(image).free_ranges()) == []
    (sentence,) = file_system.reasons
    return f"{file_system.state}: {sentence}"


def test_what_it_says_of_itself(image: Path) -> None:
    file_system = looked(image).file_system
    assert file_system[:5] == ("ext4", "named", "12345678-9abc-def0-1234-56789abcdef0", 24 * MIB, 1024)
    assert file_system.state == "clean"
    assert looked(raw_and_filled(image)).file_system.state == "clean"


def raw_and_filled(image: Path) -> Path:
    """The same on a larger disk, whose end is none of its own."""
    with open(image, "ab") as file:
        file.write(b"x" * MIB)
    return image


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ([(STATE, 2, 0)], "unclean: it was not unmounted cleanly, or is mounted now"),
        ([(STATE, 2, 3)], "unclean: Linux found errors in it"),
        ([(STATE, 2, 0x21)], "unclean: it was not unmounted cleanly"),
        ([(0x0C, 4, 5)], "unclean: its superblock counts 5 free blocks and its groups"),
        ([(0x175, 1, 2)], "unknown: its checksums are of the unknown type 2"),
        ([(0xE0, 4, 0)], "unknown: its journal is on another device"),
        ([(0xE4, 4, 0x801)], "unknown: its journal is on another device"),
        ([(0xE0, 4, 7)], "un"),
        ([(0xE0, 4, 1 << 31)], "unclean: the inode of its journal does not exist"),
        ([(0x18, 4, 7)], "unclean: its superblock is damaged (block size)"),
        ([(0x18, 4, 0xFFFFFFFF)], "unclean: its superblock is damaged (block size)"),
        ([(0x20, 4, 8)], "unclean: its superblock is damaged (blocks per group)"),
        ([(0x20, 4, 8184)], "unclean: "),
        ([(0x28, 4, 0)], "unclean: its superblock is damaged (inodes per group)"),
        ([(0x58, 2, 200)], "unclean: its superblock is damaged (inode size)"),
        ([(0x14, 4, 0)], "unclean: its superblock is damaged (first data block)"),
        ([(0xFE, 2, 48)], "unclean: its superblock is damaged (size of descriptors)"),
        ([(0x04, 4, 0)], "unclean: its superblock is damaged (number of blocks)"),
        ([(0x150, 4, 1)], "unclean: the file system has"),
        ([(0x04, 4, 24 * 1024 + 1)], "unclean: the file system has"),
    ],
    ids=str,
)
def test_refused(image: Path, changes: list[tuple[int, int, int]], says: str) -> None:
    with_superblock(image, changes)
    assert reason(image).startswith(says)


@pytest.mark.parametrize(
    ("at", "feature", "says"),
    [
        (INCOMPAT, 0x1, "unknown: it is compressed"),
        (INCOMPAT, 0x8, "unknown: it is the external journal"),
        (INCOMPAT, 0x1000, "unknown: it has unknown incompat features (0x1000)"),
        (INCOMPAT, 1 << 31, "unknown: it has unknown incompat features"),
        (RO_COMPAT, 0x80, "unknown: it keeps snapshots"),
        (RO_COMPAT, 1 << 20, "unknown: it has unknown ro_compat features"),
        (COMPAT, 1 << 20, "unknown: it has unknown compat features"),
    ],
)
def test_features_that_are_refused(image: Path, at: int, feature: int, says: str) -> None:
    with_superblock(image, [bits(image, at, feature)])
    assert reason(image).startswith(says)


def test_fast_commits_to_be_replayed(image: Path) -> None:
    with_superblock(image, [bits(image, COMPAT, 0x400), bits(image, INCOMPAT, 0x4)])
    assert "fast commits are not replayed; mount it once" in reason(image)


def test_a_replay_without_a_journal(tmp_path: Path) -> None:
    image = made(tmp_path, shape("", "-t ext4 -O ^has_journal -b 1024", 16 * MIB))
    with_superblock(image, [bits(image, INCOMPAT, 0x4)])
    assert "from a journal that it has not" in reason(image)


def test_a_journal_that_is_not_as_empty_as_it_should_be(image: Path) -> None:
    dirty(image)
    superblock = int.from_bytes(superblock_of(image)[INCOMPAT : INCOMPAT + 4], "little")
    with_superblock(image, [(INCOMPAT, 4, superblock & ~4)])
    assert "its journal is empty and the journal is not" in reason(image)


def dirty(image: Path) -> None:
    """Let debugfs write a transaction that changes nothing into the journal."""
    bitmap = int.from_bytes(image.read_bytes()[BITMAP_POINTER : BITMAP_POINTER + 4], "little")
    block = image.with_suffix(".block")
    block.write_bytes(image.read_bytes()[bitmap * 1024 : (bitmap + 1) * 1024])
    run("debugfs", "-w", "-f", "-", image, text=f"jo -c\njw -b {bitmap} {block}\njc\n")


def test_a_journal_that_another_program_wrote_is_replayed(image: Path) -> None:
    free = list(looked(image).free_ranges())
    dirty(image)
    assert looked(image).file_system.state == "replayed"
    assert list(looked(image).free_ranges()) == free
    noised(image)
    run("e2fsck", "-fy", image, codes=(0, 1))
    run("e2fsck", "-fn", image)


def test_a_journal_that_changes_the_bitmap_is_believed_only_with_its_descriptor(image: Path) -> None:
    bitmap = int.from_bytes(image.read_bytes()[BITMAP_POINTER : BITMAP_POINTER + 4], "little")
    (block := image.with_suffix(".block")).write_bytes(bytes(1024))
    run("debugfs", "-w", "-f", "-", image, text=f"jo -c\njw -b {bitmap} {block}\njc\n")
    assert "the checksum of the bitmap of group 0 is wrong" in reason(image)


def test_damaged_checksums(image: Path) -> None:
    original = image.read_bytes()
    patch(image, 1024 + 0x3FC, bytes([original[1024 + 0x3FC] ^ 1]))
    assert "the checksum of its superblock is wrong" in reason(image)
    patch(image, 0, original)
    patch(image, DESCRIPTORS + 64 + 0x30, bytes([original[DESCRIPTORS + 64 + 0x30] ^ 1]))
    assert "the checksum of the descriptor of group 1 is wrong" in reason(image)
    patch(image, 0, original)
    bitmap = int.from_bytes(original[BITMAP_POINTER : BITMAP_POINTER + 4], "little") * 1024
    patch(image, bitmap, bytes([original[bitmap] ^ 1]))
    assert "the checksum of the bitmap of group 0 is wrong" in reason(image)


def test_a_lost_bit_without_checksums(tmp_path: Path) -> None:
    image = made(tmp_path, shape("", "-t ext2 -b 1024", 24 * MIB))
    original = image.read_bytes()
    bitmap = int.from_bytes(original[BITMAP_POINTER : BITMAP_POINTER + 4], "little") * 1024
    patch(image, bitmap, bytes([original[bitmap] ^ 1]))
    assert "the bitmap of group 0 calls bitmaps, inode tables or descriptors free" in reason(image)
    patch(image, bitmap, original[bitmap : bitmap + 1])
    patch(image, bitmap + 1000, bytes([original[bitmap + 1000] ^ 1]))
    assert "the bitmap of group 0 does not agree" in reason(image)


def test_two_tables_in_one_place(tmp_path: Path) -> None:
    image = made(tmp_path, shape("", "-t ext2 -b 1024", 24 * MIB))
    original = image.read_bytes()
    patch(image, DESCRIPTORS + 32, original[DESCRIPTORS : DESCRIPTORS + 4])
    assert "overlap" in reason(image)
    patch(image, DESCRIPTORS + 32, b"\xff" * 4)
    assert "the descriptor of group 1 points outside" in reason(image)


@pytest.mark.parametrize(("sequence", "says"), [(1, "in use"), (0xE24D4D50, "in use")])
def test_in_use_by_another_host(tmp_path: Path, sequence: int, says: str) -> None:
    image = made(tmp_path, shape("", "-t ext4 -O mmp,^metadata_csum -b 1024", 24 * MIB))
    block = int.from_bytes(superblock_of(image)[0x168:0x170], "little") * 1024
    assert looked(image).file_system.state == "clean"
    patch(image, block + 4, sequence.to_bytes(4, "little"))
    assert says in reason(image)
    patch(image, block, b"none")
    assert "its MMP block is damaged" in reason(image)
    with_superblock(image, [(0x168, 8, 2**64 - 1)])
    assert "its MMP block does not exist" in reason(image)


def test_an_external_journal(tmp_path: Path) -> None:
    run(
        "mkfs.ext4",
        "-q",
        "-F",
        "-b",
        "1024",
        "-O",
        "journal_dev",
        journal := raw_file(tmp_path / "j", 8 * MIB),
    )
    assert "external journal" in reason(journal)


def test_orphans_are_no_reason(image: Path) -> None:
    """Their bits are set until somebody processes them."""
    with_superblock(image, [bits(image, RO_COMPAT, 0x10000), (0xE8, 4, 12)])
    assert looked(image).file_system.state == "clean"


def test_a_mount_count_that_is_due_is_no_reason(image: Path) -> None:
    with_superblock(image, [(0x34, 2, 500), (0x36, 2, 20)])
    assert looked(image).file_system.state == "clean"


def test_a_look_at_a_clean_one_waits_for_no_numpy(image: Path) -> None:
    program = """
import sys
from vhdx.filesystems import ext
from vhdx.filesystems.base import examine
data = open(sys.argv[1], "rb").read()
found = ext.recognise(lambda length, offset: data[offset : offset + length], len(data))
print(examine(found, len(data), agree=False).file_system.state, "numpy" in sys.modules)
"""
    assert run(sys.executable, "-c", program, image) == "clean False\n"


def test_what_is_none_of_them() -> None:
    def read(length: int, offset: int) -> bytes:
        assert offset + length <= 4096
        return bytes(length)

    assert ext.recognise(read, 4096) is None
    assert ext.recognise(read, 2047) is None
    assert ext.recognise(read, 0) is None
