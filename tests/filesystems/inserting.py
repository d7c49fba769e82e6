"""Volumes that files are put into: made by the programs of others, looked at by libraries of others."""

from __future__ import annotations

import hashlib
import os
import random
from typing import TYPE_CHECKING

from tests.filesystems.making import MIB, need, raw_file, run
from vhdx.disk.raw import RawDisk
from vhdx.disk.volumes import volumes as disk_volumes
from vhdx.files.volume import volumes
from vhdx.filesystems.insert.open import open_inserter
from vhdx.ops.files.insert import Inserted, InsertOptions, insert
from vhdx.storage.file import open_for_writing

if TYPE_CHECKING:
    from pathlib import Path

    from vhdx.disk.base import VirtualDisk
    from vhdx.disk.opened import Disk
    from vhdx.filesystems.insert.inserter import Inserter

MAKING = {
    "FAT12": (2 * MIB, ["mkfs.fat", "-F", "12", "-s", "1"]),
    "FAT16": (8 * MIB, ["mkfs.fat", "-F", "16", "-s", "1"]),
    "FAT16-4Kn": (80 * MIB, ["mkfs.fat", "-F", "16", "-S", "4096", "-s", "1"]),
    "FAT32": (36 * MIB, ["mkfs.fat", "-F", "32", "-s", "1"]),
    "FAT32-one": (36 * MIB, ["mkfs.fat", "-F", "32", "-s", "1", "-f", "1"]),
    "exFAT": (16 * MIB, ["mkfs.exfat", "-c", "4K"]),
    "exFAT-512": (8 * MIB, ["mkfs.exfat", "-c", "512"]),
}


def made(kind: str, folder: Path, size: int = 0) -> Path:
    """An empty volume."""
    usual, words = MAKING[kind]
    need(words[0])
    image = raw_file(folder / f"{kind}.raw", size or usual)
    run(*words, image)
    return image


def put(
    image: Path, sources: list[Path], path: str, *, recursive: bool = False, force: bool = False
) -> tuple[Inserted, list[str]]:
    """Put files in; what was told."""
    told: list[str] = []
    options = InsertOptions(recursive, force)
    storage = open_for_writing(str(image))
    with RawDisk(storage, storage) as disk:
        result = insert(disk, map(str, sources), path, tell=told.append, options=options)
    return result, told


def inserter_of(disk: VirtualDisk) -> Inserter:
    """What puts files into the only volume of a disk."""
    (volume,) = disk_volumes(disk, agree=False)
    return open_inserter(volume.file_system.kind, volume.map.read, volume.map.size)


def check(image: Path) -> None:
    """The checker of the kind of file system finds nothing."""
    with open(image, "rb") as file:
        file.seek(3)
        is_exfat = file.read(8) == b"EXFAT   "
    program = "fsck.exfat" if is_exfat else "fsck.fat"
    need(program)
    said = run(program, "-n", image)
    assert not any(word in said for word in ("Dirty", "differ", "wrong", "Orphan", "corrupt")), said


def hashes(disk: Disk) -> dict[str, str]:
    """The SHA-256 of every file, as libfsfat reads it; of directories nothing."""
    (volume,) = volumes(disk)
    found = {}
    for step in volume.steps(volume.tree.root):
        if step.parts and not step.left:
            is_file = not step.entry.is_directory
            content = volume.tree.content(step.entry).pread(step.entry.size, 0) if is_file else b""
            found["/".join(step.parts)] = hashlib.sha256(content).hexdigest() if is_file else ""
    assert not volume.told, volume.told
    return found


def host_hashes(root: Path) -> dict[str, str]:
    """The same of a tree of the host."""
    return {
        str(path.relative_to(root)): "" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
    }


def plant(root: Path, seed: int = 1) -> Path:
    """A tree with names of all sorts, and files of all sizes at borders."""
    chance = random.Random(seed)
    sizes = {
        "EMPTY": 0,
        "ONE.TXT": 1,
        "lower.txt": 511,
        "Mixed Case.Txt": 512,
        "two.dots.tar.gz": 513,
        ".hidden": 4095,
        "zwölf Boxkämpfer": 4096,
        "日本語の名前.bin": 4097,
        "a+b,c;d=[e].x": 70_000,
        "emoji 🎉 name": 33,
        "L" * 240: 100,
        "exactly thirte": 14,
        "thirteen chars": 13,
    }
    for folder in ("", "one", "one/two", "one/two/three"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name, size in sizes.items():
            (root / folder / name).write_bytes(chance.randbytes(size))
    many = root / "many"
    many.mkdir()
    for number in range(300):
        (many / f"a file with number {number}.dat").write_bytes(chance.randbytes(number % 7))
    (root / "empty directory").mkdir()
    os.utime(root / "ONE.TXT", ns=(1_600_000_000 * 10**9, 1_500_000_001 * 10**9))
    return root
