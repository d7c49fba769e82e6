"""Trees of files in every kind of file system, made by the programs of others, and what the kernel says."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import stat
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.filesystems.making import MIB, need, raw_file, run, unavailable
from vhdx.disk.open import open_any
from vhdx.files.base import Kind
from vhdx.files.volume import volumes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vhdx.files.volume import FileVolume

for _library in ("pyfsext", "pyfsfat", "pyfsntfs"):
    pytest.importorskip(_library, reason="needs the extra vhdx[files]")

KINDS = {
    "ext2": (64 * MIB, ["mkfs.ext2", "-q"]),
    "ext4": (64 * MIB, ["mkfs.ext4", "-q"]),
    "ext4-inline": (64 * MIB, ["mkfs.ext4", "-q", "-O", "inline_data,ea_inode", "-I", "512"]),
    "ext4-bigalloc": (64 * MIB, ["mkfs.ext4", "-q", "-O", "bigalloc", "-b", "4096", "-C", "65536"]),
    "XFS": (320 * MIB, ["mkfs.xfs", "-q"]),
    "XFS-4Kn": (320 * MIB, ["mkfs.xfs", "-q", "-s", "size=4096"]),
    "NTFS": (64 * MIB, ["mkfs.ntfs", "-F", "-q", "-Q"]),
    "FAT16": (32 * MIB, ["mkfs.fat", "-F", "16"]),
    "FAT32": (80 * MIB, ["mkfs.fat", "-F", "32"]),
    "exFAT": (64 * MIB, ["mkfs.exfat"]),
}
POSIX = [name for name in KINDS if name.startswith(("ext", "XFS"))]
FEW = 200
"""Files in one directory; mtools need a time that grows with its square."""


def made(kind: str, folder: Path) -> Path:
    """An empty file system."""
    size, words = KINDS[kind]
    need(words[0])
    image = raw_file(folder / f"{kind}.raw", size)
    run(*words, image)
    return image


@contextlib.contextmanager
def at_work(image: Path, kind: str) -> Iterator[Path]:
    """The file system mounted, by the kernel or by whoever stands in for it."""
    if os.geteuid():
        unavailable("only root mounts")
    point = image.parent / f"at-{image.stem}"
    point.mkdir(exist_ok=True)
    loop = None
    if kind == "NTFS":
        need("ntfs-3g")
        command = ["ntfs-3g", "-o", "streams_interface=xattr", image, point]
    elif kind == "exFAT":
        need("mount.exfat-fuse")
        loop = run("losetup", "-f", "--show", image).strip()
        command = ["mount.exfat-fuse", loop, point]
    else:
        command = ["mount", "-o", "loop", image, point]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        if loop:
            run("losetup", "-d", loop)
        unavailable(f"{kind} is not mounted here: {done.stderr.strip()}")
    try:
        yield point
    finally:
        run("umount", point)
        _wait_for_release(image)
        if loop:
            run("losetup", "-d", loop)


def _wait_for_release(image: Path) -> None:
    """ntfs-3g writes its last bytes after umount has returned."""
    for _ in range(100):
        if subprocess.run(["fuser", image], capture_output=True, check=False).returncode:
            return
        time.sleep(0.05)


def plant(root: Path, kind: str) -> None:
    """The tree that every kind gets, and what only some can have."""
    rng = random.Random(kind)
    (root / "a" / "b" / "c").mkdir(parents=True)
    (root / "many").mkdir()
    (root / "a" / "hello.txt").write_bytes(b"hello\n")
    (root / "a" / "empty").touch()
    (root / "a" / "big.bin").write_bytes(rng.randbytes(3_000_001))
    (root / "a" / "b" / "c" / "two words.TXT").write_bytes(b"q")
    (root / "a" / "Ünïcödé 漢字.txt").write_bytes(b"x\n")
    for number in range(FEW):
        (root / "many" / f"file with a long name {number}").write_bytes(bytes([number]) * (number * 3))
    os.utime(root / "a" / "hello.txt", ns=(10**18 + 222, 10**18 + 120_000_000))
    if kind.startswith("FAT") or kind == "exFAT":
        return
    (root / "a" / ("n" * 200)).write_bytes(b"long")
    os.link(root / "a" / "hello.txt", root / "a" / "hard")
    with open(root / "a" / "sparse", "wb") as file:
        file.truncate(10_000_000)
        os.pwrite(file.fileno(), b"middle", 5_000_000)
    os.setxattr(root / "a" / "empty", "user.first", b"one")
    os.setxattr(root / "a" / "empty", "user.second", b"\0binary\xff")
    os.setxattr(root / "a" / "b", "user.on-directory", b"two" * 100)
    if kind == "NTFS":
        return
    (root / "a" / "link").symlink_to("hello.txt")
    (root / "a" / "long link").symlink_to("x" * 300)
    (root / "a" / "dead").symlink_to("/nowhere/at/all")
    os.mkfifo(root / "a" / "fifo")
    os.mknod(root / "a" / "null", stat.S_IFCHR | 0o640, os.makedev(1, 3))
    (root / "a" / "new\nline").write_bytes(b"nl")
    os.chmod(root / "a" / "hello.txt", 0o4750)
    os.chown(root / "a" / "b", 1234, 70000)
    with open(root / "a" / "unwritten", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 300_000)
        os.pwrite(file.fileno(), b"written", 100_000)


def plant_fat(image: Path, folder: Path) -> dict[str, str]:
    """The same by mtools, for kernels without FAT; what was written, by path."""
    need("mcopy")
    source = folder / "source"
    source.mkdir()
    plant(source, "FAT")
    run("mcopy", "-m", "-s", "-i", image, *sorted(source.iterdir()), "::/")
    return kernel_hashes(source)


def kernel_hashes(root: Path) -> dict[str, str]:
    """SHA-256 of every file below a directory, by path."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if not path.is_symlink() and path.is_file()
    }


def our_hashes(volume: FileVolume) -> dict[str, str]:
    """The same as this project reads them."""
    found = {}
    for step in volume.steps(volume.tree.root):
        if step.entry.kind is Kind.FILE:
            digest = hashlib.sha256()
            content = volume.tree.content(step.entry)
            for offset in range(0, content.size, 65537):
                digest.update(content.pread(65537, offset))
            found["/".join(step.parts)] = digest.hexdigest()
    return found


@contextlib.contextmanager
def volume_in(image: Path) -> Iterator[FileVolume]:
    """The one volume of an image."""
    with open_any(str(image), image_format="raw" if image.suffix == ".raw" else None) as disk:
        (found,) = volumes(disk)
        yield found


def copied(image: Path) -> Path:
    """A copy as it stands now, holes kept."""
    target = image.with_name(f"copy-{image.name}")
    if shutil.which("cp"):
        run("cp", "--sparse=always", image, target)
    return target
