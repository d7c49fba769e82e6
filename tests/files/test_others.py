"""HFS+ and btrfs, in file systems that programs of others fill, as nothing here mounts them."""

import hashlib
import os
import unicodedata
from pathlib import Path

import pytest

from tests.cli.running import run as ran
from tests.files.trees import our_hashes, volume_in
from tests.filesystems.making import MIB, need, raw_file, run
from vhdx.files.base import Kind

PARTITION_ENTRY = b"Apple_HFS"
TYPE_AT = 48
"""Where in an entry of Apple's partition map its type stands."""


def plant(root: Path) -> None:
    (root / "a" / "many").mkdir(parents=True)
    (root / "a" / "big").write_bytes(os.urandom(3_000_001))
    (root / "a" / "Ünïcödé 漢字.txt").write_bytes(b"x\n")
    (root / "a" / "empty").touch()
    for number in range(300):
        (root / "a" / "many" / f"file {number}").write_bytes(bytes([number % 256]) * (number * 3))
    (root / "hello").write_bytes(b"hello\n")
    os.utime(root / "hello", (10**9, 10**9))
    (root / "link").symlink_to("a/big")


def hashes(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


@pytest.fixture(name="tree", scope="module")
def _tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("others") / "tree"
    root.mkdir()
    plant(root)
    return root


@pytest.fixture(name="hfs", scope="module")
def _hfs(tree: Path) -> Path:
    """The HFS+ of a hybrid, which is the only one that a program of Linux makes and fills."""
    pytest.importorskip("pyfshfs", reason="needs the extra vhdx[files]")
    need("xorriso")
    hybrid = tree.parent / "hybrid.iso"
    run("xorriso", "-as", "mkisofs", "-quiet", "-hfsplus", "-o", hybrid, tree)
    data = hybrid.read_bytes()
    entry = data.index(PARTITION_ENTRY) - TYPE_AT
    first, count = (int.from_bytes(data[entry + at : entry + at + 4], "big") for at in (8, 12))
    image = tree.parent / "hfs.raw"
    image.write_bytes(data[first * 512 : (first + count) * 512])
    return image


@pytest.fixture(name="btrfs", scope="module")
def _btrfs(tree: Path) -> Path:
    pytest.importorskip("dissect.btrfs", reason="nothing here depends on it: its licence is the AGPL")
    need("mkfs.btrfs")
    root = tree.parent / "of btrfs"
    run("cp", "-a", tree, root)
    os.link(root / "hello", root / "hard")
    os.setxattr(root / "hello", "user.first", b"one")
    os.setxattr(root / "hello", "user.second", b"\0two\xff")
    image = raw_file(tree.parent / "btrfs.raw", 256 * MIB)
    run("mkfs.btrfs", "-q", "--rootdir", root, image)
    return image


def test_hfs_plus(hfs: Path, tree: Path) -> None:
    with volume_in(hfs) as volume:
        assert our_hashes(volume) == hashes(tree)
        link = volume.find("/link", follow=False).entry
        assert (link.kind, link.target) == (Kind.SYMLINK, "a/big")
        assert volume.find("/hello").entry.modified == 10**18
        assert volume.find("/a/empty").entry.size == 0
        assert not list(volume.tree.attributes(volume.find("/a").entry))
        with pytest.raises(FileNotFoundError):
            volume.tree.content(volume.find("/hello").entry, "stream")
        assert not volume.told


def test_hfs_plus_as_another_program_reads_it(hfs: Path, tree: Path) -> None:
    need("7zz")
    out = hfs.parent / "by 7-Zip"
    run("7zz", "x", f"-o{out}", hfs)
    found = hashes(next(path for path in (out, *out.iterdir()) if (path / "hello").exists()))
    assert {unicodedata.normalize("NFC", name): each for name, each in found.items()} == hashes(tree)


def test_btrfs(btrfs: Path) -> None:
    root = btrfs.parent / "of btrfs"
    with volume_in(btrfs) as volume:
        assert our_hashes(volume) == hashes(root)
        for name in ("hello", "a", "link", "a/big"):
            status = (root / name).lstat()
            found = volume.find(f"/{name}", follow=False).entry
            assert (found.permissions, found.uid, found.gid) == (status.st_mode & 0o7777, 0, 0)
            assert found.modified == int(status.st_mtime) * 10**9  # mkfs.btrfs keeps no more of it
        hello, hard = (volume.find(name).entry for name in ("/hello", "/hard"))
        assert (hello.identity, hello.links) == (hard.identity, 2)
        assert sorted(volume.tree.attributes(hello)) == [
            ("user.first", b"one"),
            ("user.second", b"\0two\xff"),
        ]
        assert volume.find("/link").entry.size == 3_000_001
        with pytest.raises(FileNotFoundError):
            volume.tree.content(hello, "stream")
        assert not volume.told


def test_holes_of_btrfs(btrfs: Path) -> None:
    """Which mkfs.btrfs fills."""
    stream = pytest.importorskip("dissect.btrfs.stream")
    with volume_in(btrfs) as volume:
        entry = volume.find("/a/big").entry
        content = volume.tree.content(entry)
        content._file.extents = [  # type: ignore[attr-defined]
            stream.Extent(0, 0, place, 4096, 0, length)
            for place, length in ((0, 8192), (1 << 20, 4096), (0, MIB))
        ]
        assert list(content.data_ranges()) == [(8192, 4096)]


@pytest.mark.parametrize("kind", ["hfs", "btrfs"])
def test_damage_hurts_nobody(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Whatever is overwritten: what is told is a sentence."""
    data = bytearray(request.getfixturevalue(kind).read_bytes()[: 24 * MIB])
    step = 8192 if kind == "hfs" else 65536
    for start in (step, 4 * step):
        damaged = tmp_path / f"{start}.raw"
        damaged.write_bytes(data[:start] + b"\xa5" * 512 + data[start + 512 :])
        done = ran("ls", "-R", "-l", damaged)
        assert done.code in (0, 1), done.err
        assert "Traceback" not in done.err
        damaged.unlink()
