"""btrfs that the kernel filled: compression, subvolumes, snapshots, shared and unwritten extents, loops."""

import contextlib
import mmap
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import run as ran
from tests.files.test_kinds import attributes, our_attributes
from tests.files.trees import copied, kernel_hashes, our_hashes, volume_in
from tests.filesystems.making import MIB, need, raw_file, run, unavailable
from vhdx.errors import FileSystemError
from vhdx.files.base import TYPE_OF_KIND
from vhdx.files.volume import FileVolume
from vhdx.format.checksum import crc32c

stream = pytest.importorskip("dissect.btrfs.stream", reason="nothing here depends on it: it is AGPL")
CODECS = ("zlib", "lzo", "zstd") if stream.HAS_ZSTD else ("zlib", "lzo")
NODE = 16 << 10
PLAIN, UNCHECKED = random.Random(2).randbytes(100_001), random.Random(3).randbytes(50_000)


@contextlib.contextmanager
def mounted(image: Path) -> Iterator[Path]:
    if os.geteuid():
        unavailable("only root mounts")
    point = image.with_suffix(".at")
    point.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-o", "loop", image, point], capture_output=True, text=True, check=False)
    if done.returncode:
        unavailable(f"btrfs is not mounted here: {done.stderr.strip()}")
    try:
        yield point
    finally:
        run("umount", point)


def fill(root: Path) -> None:
    text = "".join(f"line {number}\n" for number in range(40_000)).encode()
    noise = random.Random(1).randbytes(200_000)
    for codec in CODECS:
        folder = root / codec
        folder.mkdir()
        run("btrfs", "property", "set", folder, "compression", codec)
        (folder / "text").write_bytes(text)
        (folder / "inline").write_bytes(text[:1500])
        (folder / "mixed").write_bytes(text[:150_001] + noise + text)
        run("cp", "--reflink=always", folder / "text", folder / "shared")
        run("sync", "-f", root)
        with open(folder / "shared", "r+b") as file:
            os.pwrite(file.fileno(), b"changed", 200_000)
        run("cp", "--reflink=always", folder / "text", folder / "punched")
        run("fallocate", "-p", "-o", "65536", "-l", "131072", folder / "punched")
    (root / "plain").write_bytes(PLAIN)
    (root / "unchecked").touch()
    run("chattr", "+C", root / "unchecked")
    (root / "unchecked").write_bytes(UNCHECKED)
    (root / "grown").write_bytes(b"tiny")
    os.truncate(root / "grown", 5000)
    with open(root / "unwritten", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 300_000)
        os.pwrite(file.fileno(), b"written", 100_000)
    with open(root / "sparse", "wb") as file:
        file.truncate(10_000_000)
        os.pwrite(file.fileno(), b"middle", 5_000_000)
    os.mknod(root / "null", 0o20640, os.makedev(1, 3))


@pytest.fixture(name="image", scope="module")
def _image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A subvolume in a subvolume, a snapshot of all and one of a subvolume; then a file changes."""
    need("mkfs.btrfs", "btrfs")
    image = raw_file(tmp_path_factory.mktemp("btrfs") / "b.raw", 256 * MIB)
    run("mkfs.btrfs", "-q", image)
    with mounted(image) as root:
        run("btrfs", "subvolume", "create", root / "sub")
        run("btrfs", "subvolume", "create", root / "sub" / "nested")
        run("btrfs", "subvolume", "create", root / "gone")
        (root / "sub" / "nested" / "file").write_bytes(b"nested\n")
        (root / "sub" / "hello").write_bytes(b"before\n")
        os.link(root / "sub" / "hello", root / "sub" / "hard")
        os.setxattr(root / "sub" / "hello", "user.first", b"one")
        (root / "sub" / "link").symlink_to("hello")
        fill(root)
        run("sync", "-f", root)
        run("btrfs", "subvolume", "snapshot", root, root / "snap")
        run("btrfs", "subvolume", "snapshot", "-r", root / "sub", root / "read-only")
        run("btrfs", "subvolume", "delete", "--commit-after", root / "gone")
        (root / "sub" / "hello").write_bytes(b"after\n")
        for number in range(400):
            (root / f"a file with a name that is rather long {number}").touch()
    return image


def said(root: Path) -> dict[str, tuple[object, ...]]:
    return {
        str(path.relative_to(root)): (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            0 if path.is_dir() else status.st_size,
            status.st_nlink,
            status.st_mtime_ns,
            os.readlink(path) if path.is_symlink() else None,
        )
        for path in root.rglob("*")
        for status in [path.lstat()]
        if path.relative_to(root).as_posix() not in EMPTY
    }


EMPTY = {"snap/sub", "snap/gone", "read-only/nested"}
"""Where a snapshot has a directory for the subvolume that it does not hold; the kernel makes up its time."""


def ours(volume: FileVolume) -> dict[str, tuple[object, ...]]:
    return {
        "/".join(step.parts): (
            TYPE_OF_KIND[entry.kind] | entry.permissions,
            entry.uid,
            entry.gid,
            entry.size,
            entry.links,
            entry.modified,
            entry.target,
        )
        for step in volume.steps(volume.tree.root)
        for entry in [step.entry]
        if step.parts and not step.left and "/".join(step.parts) not in EMPTY
    }


def test_everything_as_the_kernel_sees_it(image: Path) -> None:
    with mounted(image) as root:
        hashes, statuses, attached = kernel_hashes(root), said(root), attributes(root)
    with volume_in(image) as volume:
        assert our_hashes(volume) == hashes
        assert ours(volume) == statuses
        found = our_attributes(volume)
        assert {path: found[path] for path in attached} == attached
        assert {name for values in found.values() for name in values} <= {"user.first", "btrfs.compression"}
        for path in EMPTY:
            empty = volume.find(f"/{path}").entry
            assert empty.is_directory
            assert list(volume.tree.entries(empty)) == []
        sparse = volume.tree.content(volume.find("/sparse").entry)
        assert sum(length for _, length in sparse.data_ranges()) <= 65536
        assert not volume.told


def test_without_zstd_it_is_said(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "zstd" not in CODECS:
        pytest.skip("needs backports.zstd")
    monkeypatch.setattr(stream, "HAS_ZSTD", False)
    with volume_in(image) as volume, pytest.raises(FileSystemError, match=r"Install `backports\.zstd`"):
        volume.open("/zstd/text").read()


def test_a_panic_is_a_sentence(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the library in Rust that unpacks LZO: no Exception, so that nobody overlooks it."""

    class PanicException(BaseException):
        pass

    def panic(*_: object) -> bytes:
        raise PanicException("index out of bounds")

    monkeypatch.setattr(stream, "decode_extent", panic)
    with volume_in(image) as volume, pytest.raises(FileSystemError, match="is compressed in 'text'"):
        volume.open("/lzo/text").read()


def test_a_tree_that_leads_back_into_itself(image: Path) -> None:
    """With checksums that are right: the root of the files' tree has itself below it."""
    hostile = copied(image)
    changed = 0
    with open(hostile, "r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        identity, place = data[0x10020:0x10030], MIB
        while (place := data.find(identity, place + 1)) >= 0:
            start = place - 0x20
            owner, level = int.from_bytes(data[start + 0x58 : start + 0x60], "little"), data[start + 0x64]
            if start % NODE == 0 and (owner, level) == (5, 1):
                data[start + 101 + 17 : start + 101 + 25] = data[start + 0x30 : start + 0x38]
                data[start : start + 4] = crc32c(data[start + 32 : start + NODE]).to_bytes(4, "little")
                changed += 1
    assert changed
    done = ran("ls", "-R", hostile)
    hostile.unlink()
    assert (done.code, "on no level of its own" in done.err) == (1, True)


def test_contents_that_are_not_what_was_written_are_told(image: Path, tmp_path: Path) -> None:
    """All but those of files that the guest wants no checksums of."""
    other = Path(shutil.copy(image, tmp_path))
    with open(other, "r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        for contents in (PLAIN, UNCHECKED):
            data[data.find(contents[40_960:41_000])] ^= 1
    with volume_in(other) as volume:
        content = volume.tree.content(volume.find("/plain").entry)
        assert content.pread(20_000, 77) == PLAIN[77:20_077]
        with pytest.raises(FileSystemError, match="checksum of what stands"):
            volume.open("/plain").read()
        assert volume.open("/unchecked").read() == bytes(
            byte ^ (at == 40_960) for at, byte in enumerate(UNCHECKED)
        )
