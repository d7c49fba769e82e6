"""What is ext's own: names that are no UTF-8, dirty journals, what libfsext is not asked."""

import os
import shutil
import struct
from pathlib import Path

import pytest

from tests.files.trees import at_work, kernel_hashes, made, our_hashes, volume_in
from tests.filesystems.making import MIB, need, raw_file, run
from vhdx.errors import FileSystemError
from vhdx.files.ext_inode import inode
from vhdx.filesystems.ext_superblock import read_superblock


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    image = made("ext4", tmp_path)
    names = [b"bad\xff\xfename", b"\x80", "gut-ü".encode(), b"caf\xe9"]
    with at_work(image, "ext4") as root:
        for number in range(300):  # so that the directory has an index
            (root / f"a rather long name of a file, number {number}").touch()
        for name in names:
            Path(os.fsdecode(bytes(root) + b"/" + name)).write_bytes(name)
    with volume_in(image) as volume:
        found = {os.fsencode(each.name): each for each in volume.tree.entries(volume.tree.root)}
        assert set(names) <= set(found)
        for name in names:
            assert volume.tree.content(found[name]).pread(99, 0) == name
        assert not volume.told


def test_a_dirty_journal_is_replayed(tmp_path: Path) -> None:
    """A copy of a mounted file system: what its journal holds stands nowhere else yet."""
    image = made("ext4", tmp_path)
    copy = tmp_path / "copy.raw"
    with at_work(image, "ext4") as root:
        for number in range(50):
            (root / f"file {number}").write_bytes(bytes([number]) * 5000)
        run("sync", "-f", root)
        shutil.copyfile(image, copy)
        hashes = kernel_hashes(root)
    with volume_in(copy) as volume:
        assert volume.summary.state == "replayed"
        assert our_hashes(volume) == hashes
        assert not volume.told


def test_a_journal_that_cannot_be_replayed_is_told(tmp_path: Path) -> None:
    image = made("ext4", tmp_path)
    with at_work(image, "ext4") as root:
        (root / "there").write_bytes(b"there")
    run("debugfs", "-w", "-R", "set_super_value state 0", image)
    with volume_in(image) as volume:
        assert our_hashes(volume).keys() == {"there"}
        (told,) = volume.told
        assert "as they stand on the disk" in told


def test_encrypted_files_are_left_out_and_told(tmp_path: Path) -> None:
    need("mkfs.ext4", "debugfs")
    image = raw_file(tmp_path / "crypt.raw", 16 * MIB)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "secret").write_bytes(b"x" * 5000)
    run("mkfs.ext4", "-q", "-O", "encrypt", "-d", tmp_path / "tree", image)
    run("debugfs", "-w", "-R", "set_inode_field secret flags 0x80800", image)
    with volume_in(image) as volume:
        assert [each.name for each in volume.tree.entries(volume.tree.root)] == ["lost+found"]
        (told,) = volume.told
        assert "unsupported inode flags" in told


def test_hostile_inodes(tmp_path: Path) -> None:
    image = made("ext4", tmp_path)
    data = image.read_bytes()

    def read(length: int, offset: int) -> bytes:
        return data[offset : offset + length]

    superblock = read_superblock(read, len(data))
    assert superblock is not None
    for number in (0, -1, 1 << 40):
        with pytest.raises(FileSystemError, match="there is no inode"):
            inode(read, superblock, number)
    root = inode(read, superblock, 2)
    for size, offset in ((1 << 31, 0), (100, 60000)):
        raw = bytearray(root.raw)
        entry = struct.pack("<BBHIII", 1, 1, offset, 0, size, 0) + b"n"
        start = 128 + int.from_bytes(raw[0x80:0x82], "little")
        raw[start : start + 4 + len(entry)] = b"\0\0\2\xea" + entry
        with pytest.raises(FileSystemError, match="are damaged"):
            list(root._replace(raw=bytes(raw)).attributes())
    raw = bytearray(root.raw)
    raw[0x68:0x6C] = b"\xff" * 4
    with pytest.raises(FileSystemError, match="are damaged"):
        list(root._replace(raw=bytes(raw)).attributes())
