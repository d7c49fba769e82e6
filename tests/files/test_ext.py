"""What is ext's own: names that are no UTF-8, dirty journals, what libfsext is not asked."""

import os
import shutil
import struct
from pathlib import Path

import pytest

from tests.files.trees import at_work, kernel_hashes, made, our_hashes, volume_in
from tests.filesystems.making import MIB, need, raw_file, run
from vhdx.errors import FileSystemError
from vhdx.files.base import TYPE_OF_KIND, Kind
from vhdx.files.ext_inode import inode
from vhdx.files.ext_names import Inodes, Name, names_in
from vhdx.filesystems.ext_superblock import read_superblock
from vhdx.ops.files.listing import paths


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


@pytest.mark.parametrize(
    "options",
    [
        ("-I", "128"),
        ("-O", "^filetype"),
        ("-b", "65536"),
        ("-b", "1024", "-O", "meta_bg,^resize_inode"),
        ("-O", "^metadata_csum,uninit_bg"),
        ("-O", "^metadata_csum,^uninit_bg,^64bit"),
        ("-O", "inline_data"),
    ],
    ids=" ".join,
)
def test_directories_of_every_shape(options: tuple[str, ...], tmp_path: Path) -> None:
    """Listed without libfsext: what was put in, and what `ls` and `find` say of it, is there."""
    need("mkfs.ext4")
    tree = tmp_path / "tree"
    (tree / "few").mkdir(parents=True)
    (tree / "few" / "one").write_bytes(b"1")
    (tree / "few" / "link").symlink_to("one")
    os.mkfifo(tree / "few" / "pipe")
    for number in range(600):
        (tree / f"a rather long name of a file, number {number}").write_bytes(bytes(number))
    os.utime(tree / "few" / "one", ns=(10**18, -(10**9)))
    image = raw_file(tmp_path / "shape.raw", 64 * MIB)
    run("mkfs.ext4", "-q", "-F", *options, "-d", tree, image)
    with volume_in(image) as volume:
        found = {"/".join(step.parts): step.entry for step in volume.steps(volume.tree.root) if step.parts}
        assert found.keys() == {"lost+found", *(str(path.relative_to(tree)) for path in tree.rglob("*"))}
        for name in found.keys() - {"lost+found"}:
            status = (tree / name).lstat()
            entry = found[name]
            assert TYPE_OF_KIND[entry.kind] | entry.permissions == status.st_mode
            assert (entry.uid, entry.gid) == (status.st_uid, status.st_gid)
            assert entry.size == (0 if entry.is_directory or entry.kind is Kind.FIFO else status.st_size)
            assert entry.modified is not None
            assert entry.modified // 10**9 == status.st_mtime_ns // 10**9
        names = {path.removeprefix("/") for path, _ in paths(volume, volume.find("/"))}
        assert names == found.keys()
        assert not volume.told


def test_blocks_of_directories_that_are_damaged() -> None:
    name = struct.pack("<IHBB", 12, 16, 4, 1) + b"good" + bytes(4)
    for broken in (struct.pack("<IHBB", 13, 4, 1, 1), struct.pack("<IHBB", 13, 4096, 1, 1)):
        found = names_in(name + broken + bytes(64))
        assert next(found) == ("good", 12, Kind.FILE)
        with pytest.raises(FileSystemError, match="is damaged"):
            next(found)
    whole = struct.pack("<IHBB", 12, 0xFFFF, 4, 9) + b"good" + bytes(65536 - 12)
    assert list(names_in(whole)) == [("good", 12, None)]


def test_times_beyond_32_bits_and_inodes_that_are_not(tmp_path: Path) -> None:
    image = made("ext4", tmp_path)
    run("debugfs", "-w", "-R", "write /dev/null late", image)
    run("debugfs", "-w", "-R", "sif late mtime 25000101000000", image)
    run("debugfs", "-w", "-R", "sif late mtime_extra 0x80000003", image)
    with volume_in(image) as volume:
        (late,) = (each for each in volume.tree.entries(volume.tree.root) if each.name == "late")
        second = run("debugfs", "-R", "stat late", image).split("mtime: 0x")[1].split(":")[0]
        signed = (int(second, 16) ^ 1 << 31) - (1 << 31)
        assert late.modified == (signed + (3 << 32)) * 10**9 + 0x20000000
        data = image.read_bytes()
        superblock = read_superblock(lambda length, offset: data[offset : offset + length], len(data))
        assert superblock is not None
        inodes = Inodes(lambda length, offset: data[offset : offset + length], superblock)
        with pytest.raises(FileSystemError, match="there is no inode"):
            inodes.entries([Name("x", superblock.inodes + 1, None)])


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
