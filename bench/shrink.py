"""How small disks of 20 GiB become on which much was deleted, beside what can be at best.

What is in use is told by partclone, not by us: a block can go if all of it is free, a unit of 4 KiB can
become a hole if all of it is. Figures are of the file and of what it takes on the host.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import vhdx
from bench.harness import Row, have
from vhdx.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Ranges = list[tuple[int, int]]
    """(start, end) in bytes, in order, disjoint."""

SIZE = 20 * GIB
WRITTEN = 2200 * 10**6
KEPT = 0.13
"""Which share of the files stays."""
UNIT = 4096
FIRST = MIB
"""Where the partition begins of a disk that has a table; nothing behind it but the copy of the table."""
AIM = "within a block"


class Kind(NamedTuple):
    """One row: the file system, with a GPT around it or without, the size of the image's blocks."""

    make: tuple[str, ...]
    clone: str
    block_mib: int
    has_table: bool = False


EXT4 = ("mkfs.ext4", "-q", "-F", "-G", "4096")
KINDS = {
    "ext4, 1 MiB": Kind(EXT4, "partclone.extfs", 1),
    "ext4, 32 MiB": Kind(EXT4, "partclone.extfs", 32),
    "GPT and ext4, 16 MiB": Kind(EXT4, "partclone.extfs", 16, has_table=True),
    "NTFS, 32 MiB": Kind(("mkfs.ntfs", "-q", "-F", "-Q"), "partclone.ntfs", 32),
    "FAT32, 32 MiB": Kind(("mkfs.vfat", "-F", "32"), "partclone.fat", 32),
}


def measure(folder: Path) -> Iterator[Row]:
    """Each disk is made, compacted in one way after the other, and removed."""
    if os.geteuid() or not have("losetup", "sgdisk", "mcopy", *(kind.make[0] for kind in KINDS.values())):
        return
    for what, kind in KINDS.items():
        if not have(kind.clone):
            continue
        raw = folder / "disk.raw"
        try:
            used = aged(raw, kind)
        except subprocess.CalledProcessError as error:
            print(f"{what}: cannot be made here: {error}", flush=True)
            continue
        yield from compacted(what, kind, raw, used)
        raw.unlink()


def aged(raw: Path, kind: Kind) -> Ranges:
    """Write a disk, delete most of it; what is in use then."""
    with open(raw, "wb") as file:
        file.truncate(SIZE)
    start, end = 0, SIZE
    if kind.has_table:
        start, end = FIRST, SIZE - MIB
        part = f"1:{start // 512}:{end // 512 - 1}"
        subprocess.run(["sgdisk", "-n", part, raw], check=True, capture_output=True)
        subprocess.run(
            ["sgdisk", "-d", "1", "-n", f"1:{FIRST // 512}:{end // 512 - 1}", raw],
            check=True,
            capture_output=True,
        )
    with on_loop_device(raw, start, end - start) as device:
        subprocess.run([*kind.make, device], check=True, capture_output=True)
        if "vfat" in kind.make[0]:
            fill_by_mtools(raw.with_name("point"), device)
        else:
            fill(raw.with_name("point"), device, "ntfs-3g" if "ntfs" in kind.make[0] else None)
        used = [(start + low, start + high) for low, high in used_by(kind.clone, device, raw)]
    return [*([(0, start)] if start else []), *used, *([(end, SIZE)] if end < SIZE else [])]


@contextlib.contextmanager
def on_loop_device(raw: Path, start: int, length: int) -> Iterator[str]:
    """A part of a file as a block device."""
    words: list[str | Path] = ["losetup", "-f", "--show", "-o", str(start), "--sizelimit", str(length), raw]
    device = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


def files(chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Names and contents; sizes are log-normal."""
    left, number = WRITTEN, 0
    while left > 0:
        size = min(int(chance.lognormvariate(13, 1.8)), 64 * MIB, left)
        yield str(number), chance.randbytes(size)
        left, number = left - size, number + 1


def fill(folder: Path, device: str, mount_type: str | None) -> None:
    """Files on a mounted file system, of which most go again."""
    chance, made = random.Random(1), []
    folder.mkdir(exist_ok=True)
    words = ["mount", *(("-t", mount_type) if mount_type else ()), device, os.fspath(folder)]
    subprocess.run(words, check=True, capture_output=True)
    try:
        for name, data in files(chance):
            made.append(folder / name)
            made[-1].write_bytes(data)
        os.sync()
        for path in made:
            if chance.random() > KEPT:
                path.unlink()
    finally:
        subprocess.run(["umount", folder], check=True)


def fill_by_mtools(folder: Path, device: str) -> None:
    """The same in a FAT, for which not every kernel has a driver."""
    chance, made = random.Random(1), []
    folder.mkdir(exist_ok=True)
    for name, data in files(chance):
        made.append(f"::{name}")
        path = folder / name
        path.write_bytes(data)
        subprocess.run(["mcopy", "-i", device, path, made[-1]], check=True, capture_output=True)
        path.unlink()
    gone = [name for name in made if chance.random() > KEPT]
    subprocess.run(["mdel", "-i", device, *gone], check=True, capture_output=True)


def used_by(clone: str, device: str, raw: Path) -> Ranges:
    """What partclone would copy."""
    domain = raw.with_suffix(".domain")
    words: list[str | Path] = [clone, "-D", "-s", device, "-o", domain, "-L", os.devnull]
    subprocess.run(words, check=True, capture_output=True)
    rows = [line.split() for line in domain.read_text().splitlines() if line.startswith("0x")]
    domain.unlink()
    return [
        (int(row[0], 16), int(row[0], 16) + int(row[1], 16))
        for row in rows
        if len(row) == 3 and row[2] != "?"
    ]


def compacted(what: str, kind: Kind, raw: Path, used: Ranges) -> Iterator[Row]:
    """The same image in one way after the other, then a copy with blocks of 1 MiB."""
    image, small = raw.with_name("image.vhdx"), raw.with_name("small.vhdx")
    block = kind.block_mib * MIB
    vhdx.convert(raw, image, options=vhdx.ImageOptions(block_size=block))
    plain = vhdx.compact(image)
    stored = stored_blocks(image, block)
    over = plain.file_size_after - len(stored) * block
    best = over + block * len(stored & units(used, block))
    file_size = vhdx.compact(image, discard_free=True).file_size_after
    yield row(f"{what}: file", plain.file_size_after, "without it", file_size)
    yield row(f"{what}: file", best, "ideal", file_size, met=abs(file_size - best) <= block)
    held = vhdx.compact(image, discard_free=True, punch=True).host_size_after or 0
    best = over + UNIT * len(units(used, UNIT) & units(data_ranges(raw), UNIT))
    yield row(f"{what}: on the host, with --punch", plain.host_size_after or 0, "without it", held)
    yield row(f"{what}: on the host, with --punch", best, "ideal", held, met=held - best <= block)
    image.unlink()
    vhdx.convert(raw, small, discard_free=True, options=vhdx.ImageOptions(block_size=MIB))
    copy = small.stat().st_size
    stored = stored_blocks(small, MIB)
    best = copy - MIB * len(stored - units(used, MIB))
    yield row(f"{what}: copied with blocks of 1 MiB", best, "ideal", copy, met=copy - best <= MIB)
    small.unlink()


def row(what: str, theirs: int, name: str, ours: int, *, met: bool | None = None) -> Row:
    """Sizes in MiB."""
    print(f"{what}: {ours / MIB:.0f} MiB, {name} {theirs / MIB:.0f} MiB", flush=True)
    return Row(what, ours / MIB, name, theirs / MIB, "MiB", AIM if met is not None else "", met)


def stored_blocks(image: Path, block: int) -> set[int]:
    """Which blocks of a disk have space in the image."""
    with vhdx.open(image) as disk:
        ranges = [(each.offset, each.end) for each in disk.extents() if each.kind is vhdx.ExtentKind.DATA]
    return units(ranges, block)


def units(ranges: Ranges, unit: int) -> set[int]:
    """Which units of a disk ranges touch."""
    return {number for start, end in ranges for number in range(start // unit, -(-end // unit))}


def data_ranges(raw: Path) -> Ranges:
    """What of a raw disk is no hole."""
    found: Ranges = []
    with open(raw, "rb") as file:
        at = 0
        while at < SIZE:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found.append((start, at))
    return found
