"""What is XFS's own: directories of every form, trees of extents of many levels, names that are no UTF-8."""

import mmap
import os
import struct
from pathlib import Path

import pytest

from tests.files.test_kinds import attributes, our_attributes, our_statuses, statuses
from tests.files.trees import at_work, kernel_hashes, our_hashes, volume_in
from tests.filesystems.making import MIB, need, raw_file, run
from vhdx.errors import FileSystemError
from vhdx.files.volume import FileVolume
from vhdx.files.xfs import XfsTree
from vhdx.files.xfs_inode import Inode
from vhdx.ops.files.listing import paths

SHAPES = {
    "v5": (),
    "1K": ("-b", "size=1024"),
    "large directory blocks": ("-n", "size=16384"),
    "without big times": ("-m", "bigtime=0,reflink=0"),
    "large inodes": ("-i", "size=2048"),
}
MANY = 500


def made(folder: Path, *options: str) -> Path:
    need("mkfs.xfs")
    image = raw_file(folder / "x.raw", 320 * MIB)
    run("mkfs.xfs", "-q", *options, image)
    return image


def plant(root: Path) -> None:
    for name, count in (("none", 0), ("few", 3), ("some", 40), ("many", MANY)):
        (root / name).mkdir()
        for number in range(count):
            (root / name / f"a rather long name of a file, number {number}").write_bytes(bytes(number))
    for number in range(0, MANY, 2):
        (root / "many" / f"a rather long name of a file, number {number}").unlink()
    (root / "few" / "link").symlink_to("some")
    (root / "few" / "long link").symlink_to("x" * 1000)
    os.mkfifo(root / "few" / "pipe")
    os.mknod(root / "few" / "device", 0o60640, os.makedev(300, 70_000))
    os.link(root / "few" / "pipe", root / "other pipe")
    os.utime(root / "none", ns=(-(10**18), 10**18 + 7))
    Path(os.fsdecode(bytes(root) + b"/bad\xff\xfename")).write_bytes(b"bad")
    with open(root / "fragments", "wb") as file:
        for number in range(400):
            os.pwrite(file.fileno(), b"piece %d" % number, number * 20_011)
        file.truncate(9_000_000)
    os.setxattr(root / "fragments", "user.small", b"\0small")
    os.setxattr(root / "fragments", "trusted.empty", b"")
    os.setxattr(root / "few", "security.of-few", b"x" * 50)
    os.setxattr(root / "some", "user.large", b"L" * 900)
    os.setxattr(root / "many", "user.largest", bytes(range(256)) * 200)
    for number in range(200):
        os.setxattr(root / "none", f"user.number {number}", b"%d" % number * 20)


@pytest.mark.parametrize(
    "shape",  # each mounts twice; one of them every time
    [pytest.param(shape, marks=() if shape == "1K" else pytest.mark.slow) for shape in SHAPES],
)
def test_every_shape_as_the_kernel_sees_it(shape: str, tmp_path: Path) -> None:
    image = made(tmp_path, *SHAPES[shape])
    with at_work(image, "XFS") as root:
        plant(root)
    with at_work(image, "XFS") as root:
        hashes, said = kernel_hashes(root), statuses(root)
        attached = attributes(root)
        devices = os.lstat(root / "few" / "device").st_rdev
    with volume_in(image) as volume:
        assert our_hashes(volume) == hashes
        found = our_statuses(volume)
        assert found["few/device"][8] == (os.major(devices), os.minor(devices))
        for path in ("few/device",):
            found[path], said[path] = found[path][:8], said[path][:8]
        assert found == said
        names = {path.removeprefix("/") for path, _ in paths(volume, volume.find("/"))}
        assert names == said.keys()
        assert our_attributes(volume) == attached
        fragments = volume.tree.content(volume.find("/fragments").entry)
        assert sum(length for _, length in fragments.data_ranges()) < 4_000_000
        if shape == "1K":  # libfsxfs follows no tree of so many levels
            fork = tree_of(volume)._inode(volume.find("/fragments").entry.identity).data.raw
            assert int.from_bytes(fork[:2], "big") == 2
        assert not volume.told


def test_version_4(tmp_path: Path) -> None:
    """Which kernels mount no longer; mkfs fills it."""
    need("mkfs.xfs")
    (tmp_path / "data").write_bytes(b"data" * 5000)
    rows = ["/dummy", "0 0", "d--755 0 0", "few d--755 7 8", f"one ---640 7 8 {tmp_path / 'data'}", "$"]
    rows += [f"a_rather_long_name_of_a_file,_number_{number} ---644 0 0 /dev/null" for number in range(300)]
    rows += ["link l--777 0 0 few/one", "$"]
    (tmp_path / "prototype").write_text("\n".join(rows) + "\n")
    for options in (("-m", "crc=0"), ("-m", "crc=0", "-n", "ftype=0")):
        image = made(tmp_path, *options, "-f", "-p", str(tmp_path / "prototype"))
        with volume_in(image) as volume:
            names = {path for path, _ in paths(volume, volume.find("/"))}
            assert len(names) == 303
            assert volume.open("/link").read() == b"data" * 5000
            one = volume.find("/few/one").entry
            assert (one.mode, one.uid, one.gid, one.created) == (0o640, 7, 8, None)
            assert not volume.told


def tree_of(volume: FileVolume) -> XfsTree:
    assert isinstance(volume.tree, XfsTree)
    return volume.tree


def test_damage_is_told_and_ends(tmp_path: Path) -> None:
    image = made(tmp_path, "-b", "size=1024")
    with at_work(image, "XFS") as root:
        (root / "many").mkdir()
        for number in range(100):
            (root / "many" / f"a rather long name of a file, number {number}").touch()
        (root / "good").write_bytes(b"good")
        with open(root / "deep", "wb") as file:
            for number in range(400):
                os.pwrite(file.fileno(), b"%d" % number, number * 2048)
    with volume_in(image) as volume:
        tree, deep = tree_of(volume), volume.find("/deep").entry.identity
        many = tree._inode(volume.find("/many").entry.identity)
        block = many.extents[0].offset
        first = next(place for place in blocks_of(image, b"BMA3") if level_of(image, place) == 1)
    assert block is not None
    for place, data in (
        (block + 64 + 8, b"\xff"),  # a name that leaves its block
        (first + 72 + 8 * ((1024 - 72) // 16) + 8, pointer_at(image, first)),  # the second child is the first
    ):
        broken = image.with_name("broken.raw")
        run("cp", "--sparse=always", image, broken)
        with broken.open("r+b") as file:
            file.seek(place)
            file.write(data)
        with volume_in(broken) as volume:
            assert volume.open("/good").read() == b"good"
            if data == b"\xff":
                listed = list(volume.tree.entries(volume.find("/many").entry))
                assert len(listed) < 100
                assert "is damaged" in volume.told[0]
            else:
                with pytest.raises(FileSystemError, match="damaged"):
                    Inode(tree_of(volume).source.pread, tree_of(volume)._geometry, deep).extents  # noqa: B018
        broken.unlink()


def blocks_of(image: Path, magic: bytes) -> list[int]:
    found, place = [], -1
    with open(image, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        while (place := data.find(magic, place + 1)) >= 0:
            if place % 1024 == 0:
                found.append(place)
    return found


def level_of(image: Path, place: int) -> int:
    with image.open("rb") as file:
        file.seek(place + 4)
        return int(struct.unpack(">H", file.read(2))[0])


def pointer_at(image: Path, place: int) -> bytes:
    with image.open("rb") as file:
        file.seek(place + 72 + 8 * ((1024 - 72) // 16))
        return file.read(8)
