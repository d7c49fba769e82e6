"""Whole disks as guests leave them: partitions, aged file systems, noise in all that is free."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from tests.filesystems import scribble
from tests.filesystems.noise import (
    MIB,
    aged,
    as_root,
    empty,
    hashes,
    joined,
    looked_at,
    loop_device,
    mounted,
    patch,
    piece,
    run,
    scattered,
    spoil,
)
from tests.filesystems.test_lvm import group, segment, volume
from tests.partitions.tables import gpt_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Ranges = list[tuple[int, int]]


class Part(NamedTuple):
    """A file system in runs (offset, length) of a disk, its kind, and the hashes of its files."""

    kind: str
    runs: Sequence[tuple[int, int]]
    hashes: dict[str, str]


class Guest(NamedTuple):
    """A raw disk with noise in all its free space, and which ranges that is."""

    raw: Path
    parts: tuple[Part, ...]
    free: Ranges
    sector_size: int = 512


def ext4(folder: Path, size: int, seed: int, *options: str) -> tuple[Path, dict[str, str]]:
    image = empty(folder / f"ext4-{seed}.part", size)
    run("mkfs.ext4", "-q", *options, image)
    return image, aged(image, seed, size // 2)


def ntfs(folder: Path, size: int, seed: int) -> tuple[Path, dict[str, str]]:
    if scribble._NO_FUSE is not None:
        pytest.skip(str(scribble._NO_FUSE))
    image = empty(folder / f"ntfs-{seed}.part", size)
    run("mkntfs", "-q", "-F", "-Q", "-p", "2048", "-s", "512", "-H", "16", "-S", "63", image)
    with scribble.mounted(["ntfs-3g", image], folder / "ntfs") as point:
        scribble.aged(point, seed)
        return image, hashes(point)


def esp(folder: Path, size: int, seed: int) -> tuple[Path, dict[str, str]]:
    image, files = empty(folder / f"esp-{seed}.part", size), folder / "esp"
    files.mkdir()
    chance = random.Random(seed)
    for number in range(40):
        (files / f"f{number}.efi").write_bytes(chance.randbytes(chance.randrange(200_000)))
    run("mkfs.vfat", "-F", "32", "-s", "1", image)
    run("mcopy", "-i", image, *sorted(files.iterdir()), "::")
    for number in range(0, 40, 2):
        run("mdel", "-i", image, f"::f{number}.efi")
        (files / f"f{number}.efi").unlink()
    return image, hashes(files)


def finished(raw: Path, parts: Sequence[Part], sector_size: int = 512) -> Guest:
    """Put noise into all that is free; then it is the same guest as before."""
    with looked_at(raw) as found:
        free = sorted(one for volume in found for one in volume.free_ranges())
        assert all(not volume.file_system.reasons for volume in found)
    assert spoil(raw) == sum(length for _, length in free)
    return Guest(raw, tuple(parts), free, sector_size)


def wsl(folder: Path) -> Guest:
    """ext4 on the whole disk, made as WSL does."""
    as_root()
    image, found = ext4(folder, 96 * MIB, 1, "-G", "4096")
    return finished(image, [Part("ext4", [(0, 96 * MIB)], found)])


def partitioned(
    folder: Path, size: int, made: Sequence[tuple[str, Path, dict[str, str]]], unit: int = 512
) -> tuple[Path, list[Part]]:
    """File systems in partitions from 1 MiB on, behind each other."""
    at, places, parts = MIB, [], []
    raw = empty(folder / "disk.raw", size)
    for kind, image, found in made:
        length = image.stat().st_size
        places.append((at // unit, (at + length) // unit - 1))
        parts.append(Part(kind, [(at, length)], found))
        with open(raw, "r+b") as target, open(image, "rb") as source:
            target.seek(at)
            shutil.copyfileobj(source, target, MIB)
        image.unlink()
        at += length
    table = gpt_disk(size, places, unit)
    patch(raw, 0, bytes(table[:MIB]))
    patch(raw, size - MIB, bytes(table[-MIB:]))
    return raw, parts


def docker(folder: Path) -> Guest:
    """A GPT with one ext4."""
    as_root()
    return finished(*partitioned(folder, 104 * MIB, [("ext4", *ext4(folder, 95 * MIB, 2))]))


def hyper_v(folder: Path) -> Guest:
    """A GPT with an ESP and an NTFS."""
    made = [("FAT32", *esp(folder, 40 * MIB, 3)), ("NTFS", *ntfs(folder, 97 * MIB, 4))]
    return finished(*partitioned(folder, 140 * MIB, made))


def cloud(folder: Path) -> Guest:
    """A GPT with an ext4 for booting, and one in a logical volume in two pieces."""
    as_root()
    pv = empty(folder / "pv.part", 81 * MIB)
    with loop_device(pv) as device:
        group([device], folder, volume("root", segment(0, 40, ("pv0", 8)), segment(40, 16, ("pv0", 60))))
    runs = [(MIB + 8 * MIB, 40 * MIB), (MIB + 60 * MIB, 16 * MIB)]
    root, found = ext4(folder, 56 * MIB, 6)
    scattered(pv, runs, root.read_bytes())
    root.unlink()
    raw, parts = partitioned(
        folder, 112 * MIB, [("ext4", *ext4(folder, 24 * MIB, 5, "-b", "1024")), ("LVM2 PV", pv, {})]
    )
    start = parts[1].runs[0][0]
    parts[1] = Part("ext4", [(start + offset, length) for offset, length in runs], found)
    return finished(raw, parts)


def sectors_of_4096(folder: Path) -> Guest:
    """A GPT and an ext4 in sectors of 4096 bytes."""
    as_root()
    made = [("ext4", *ext4(folder, 64 * MIB, 7, "-b", "4096"))]
    return finished(*partitioned(folder, 72 * MIB, made, 4096), 4096)


GUESTS: dict[str, tuple[Callable[[Path], Guest], str]] = {
    "WSL": (wsl, "1M"),
    "Docker": (docker, "1M"),
    "Hyper-V": (hyper_v, "32M"),
    "Ubuntu cloud": (cloud, "2M"),
    "sectors of 4096 bytes": (sectors_of_4096, "1M"),
}
_CHECKS = {
    "ext4": ("e2fsck", "-fn"),
    "NTFS": ("ntfsresize", "-f", "-f", "--info"),
    "FAT32": ("fsck.fat", "-n"),
}


def assert_well(guest: Guest, raw: Path) -> None:
    """The file systems' own programs find nothing on a disk, and every file is what it was."""
    for number, part in enumerate(guest.parts):
        image = raw.with_suffix(f".{number}.part")
        image.write_bytes(joined(raw, part.runs))
        run(*_CHECKS[part.kind], image)
        assert _hashes(part.kind, image) == part.hashes
        image.unlink()


def _hashes(kind: str, image: Path) -> dict[str, str]:
    if kind == "FAT32":
        files = image.with_suffix(".files")
        files.mkdir()
        run("mcopy", "-s", "-i", image, "::*", files)
        found = hashes(files)
        shutil.rmtree(files)
        return found
    if kind == "NTFS":
        with scribble.mounted(["ntfs-3g", "-o", "ro", image], image.with_suffix(".point")) as point:
            return hashes(point)
    with mounted(image) as point:
        return hashes(point)


def assert_only_free_changed(guest: Guest, raw: Path) -> int:
    """Outside of free ranges every byte is what it was, inside it is that or zero; how many are zeros."""
    end = zeros = 0
    for offset, length in [*guest.free, (guest.raw.stat().st_size, 0)]:
        assert piece(raw, end, offset - end) == piece(guest.raw, end, offset - end)
        for at in range(offset, offset + length, MIB):
            count = min(MIB, offset + length - at)
            zeros += _zeros(piece(guest.raw, at, count), piece(raw, at, count))
        end = offset + length
    return zeros


def _zeros(before: bytes, after: bytes) -> int:
    """How many bytes are zeros and were not, in sectors; the others must be what they were."""
    if before == after:
        return 0
    old, new = (np.frombuffer(data, dtype=np.uint64).reshape(-1, 64) for data in (before, after))
    cleared = ~new.any(axis=1)
    assert ((old == new).all(axis=1) | cleared).all()
    return int(cleared.sum()) * 512
