"""What deleted files left: `compact --discard-free` against the ways people have; converting without it."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING

import vhdx
from bench.harness import OURS, Aim, command, have, rows_of, take_turns
from vhdx.disk.raw import RawDisk
from vhdx.disk.volumes import volumes
from vhdx.storage.file import open_for_reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.harness import Contestant, Row

MIB, GIB = 1 << 20, 1 << 30
LARGE = 1024 * GIB
SIZE = 1024 * MIB
WRITTEN = 256 * MIB
ZEROFREE, FSTRIM = "zerofree, compact --scan-zeros", "fstrim on a loop device, compact"
FIVE_TIMES = Aim("at least 5x faster", lambda ours, theirs: 5 * ours <= theirs)
SAME_ON_LESS = "the same files on 4 GiB"
ALIKE = Aim("at most 1.5x as much", lambda ours, theirs: ours <= 1.5 * theirs)
AS_SMALL = Aim("as small, but for a block", lambda ours, theirs: ours <= theirs + 0.01)


def measure(folder: Path) -> Iterator[Row]:
    """An ext4 of 1 GiB in blocks of 1 MiB, as WSL makes it; 256 MiB were written, most of that deleted."""
    if os.geteuid() or not have("mkfs.ext4", "zerofree", "fstrim", "partclone.extfs"):
        return
    raw = aged(folder)
    if raw is None:
        return
    yield from _of_large_disks(folder)
    yield from _compacting(folder, raw)
    yield from _converting(folder, raw)
    yield from _sparsifying(folder, raw)


def aged(folder: Path) -> Path | None:
    """The raw disk, None where nothing can be mounted."""
    raw, point, chance = folder / "aged.raw", folder / "point", random.Random(1)
    with open(raw, "wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-G", "4096", raw], check=True)
    point.mkdir()
    with contextlib.ExitStack() as mounted:
        if subprocess.run(["mount", "-o", "loop", raw, point], capture_output=True, check=False).returncode:
            return None
        mounted.callback(command("umount", point))
        made: list[Path] = []
        left = WRITTEN
        while left > 0:
            made.append(point / str(len(made)))
            size = min(int(chance.lognormvariate(11.5, 1.8)), 16 * MIB, left)
            made[-1].write_bytes(chance.randbytes(size))
            left -= size
        os.sync()
        for path in made:
            if chance.random() < 0.8:
                path.unlink()
    return raw


def _of_large_disks(folder: Path) -> Iterator[Row]:
    """A raw disk of 1 TiB, noise in its free space, beside one of 4 GiB with the same files and none."""
    large, small, target = folder / "large.raw", folder / "small.raw", folder / "target.vhdx"
    for raw, size in ((large, LARGE), (small, 4 * GIB)):
        make_with_files(raw, size, folder / "point")
    strew(large)
    options = vhdx.ImageOptions(block_size=MIB)
    what = "convert --discard-free of 1 TiB, 1 GiB of it in use, 3 GiB of noise in what is free"
    read: dict[str, float] = {}
    work: dict[str, float] = {}

    def converted(raw: Path, name: str) -> None:
        bytes_before, work_before = bytes_read(), time.process_time()
        vhdx.convert(raw, target, discard_free=True, options=options, overwrite=True)
        read[name] = (bytes_read() - bytes_before) / MIB
        work[name] = time.process_time() - work_before

    contestants = {
        OURS: partial(converted, large, OURS),
        SAME_ON_LESS: partial(converted, small, SAME_ON_LESS),
    }
    yield from rows_of(what, take_turns(contestants), {SAME_ON_LESS: ALIKE})
    yield from rows_of(f"{what}: work", work, {SAME_ON_LESS: ALIKE})
    yield from rows_of(f"{what}: read", read, {SAME_ON_LESS: ALIKE}, unit="MiB")
    for path in (large, small, target):
        path.unlink()


def make_with_files(raw: Path, size: int, point: Path) -> None:
    """An ext4 of this size with 1 GiB in files."""
    with open(raw, "wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-G", "4096", "-J", "size=64", raw], check=True)
    subprocess.run(["mount", "-o", "loop,noinit_itable", raw, point], check=True)
    try:
        chance = random.Random(2)
        for number in range(256):
            (point / str(number)).write_bytes(chance.randbytes(4 * MIB))
    finally:
        subprocess.run(["umount", point], check=True)


def free_ranges(raw: Path) -> list[tuple[int, int]]:
    """What of a raw disk its file system calls free."""
    with RawDisk(open_for_reading(str(raw))) as disk:
        (volume,) = volumes(disk)
        return list(volume.free_ranges())


def strew(raw: Path) -> None:
    """Write 3 GiB of noise into long free ranges, here and there."""
    noise = random.Random(3).randbytes(16 * MIB)
    places = [place for place, length in free_ranges(raw) if length >= len(noise)]
    with open(raw, "r+b") as file:
        for place in places[:: max(1, len(places) // 192)][:192]:
            file.seek(place)
            file.write(noise)


def bytes_read() -> int:
    """How many this process has asked the system for."""
    with open("/proc/self/io", encoding="ascii") as file:
        return int(file.readline().split()[1])


def _compacting(folder: Path, raw: Path) -> Iterator[Row]:
    """Each way on an image of its own; what it begins with stands outside the time."""
    options = vhdx.ImageOptions(block_size=MIB)
    first, device = folder / "first.vhdx", folder / "device.raw"
    zeroed, trimmed = folder / "zeroed.vhdx", folder / "trimmed.vhdx"
    vhdx.convert(raw, first, options=options)
    shutil.copyfile(first, trimmed)
    vhdx.trim_free(trimmed)
    _zeroed(folder, raw, first, zeroed)
    lengths: dict[str, int] = {}

    def fresh() -> None:
        subprocess.run(["cp", "--sparse=always", raw, device], check=True)
        for source in (first, zeroed, trimmed):
            target = folder / f"{source.stem}.copy"
            subprocess.run(["cp", "--sparse=never", source, target], check=True)
        os.sync()

    def ours() -> None:
        lengths[OURS] = vhdx.compact(folder / "first.copy", discard_free=True).file_size_after

    def by_zerofree() -> None:
        subprocess.run(["zerofree", device], check=True)
        lengths[ZEROFREE] = vhdx.compact(folder / "zeroed.copy", scan_zeros=True).file_size_after

    def by_fstrim() -> None:
        point = folder / "point"
        subprocess.run(["mount", "-o", "loop,discard", device, point], check=True)
        subprocess.run(["fstrim", point], check=True)
        subprocess.run(["umount", point], check=True)
        lengths[FSTRIM] = vhdx.compact(folder / "trimmed.copy").file_size_after

    contestants: dict[str, Contestant] = {OURS: ours, ZEROFREE: by_zerofree, FSTRIM: by_fstrim}
    found = take_turns(contestants, 3, before=fresh)
    yield from rows_of("free space of an ext4 given back", found, {ZEROFREE: FIVE_TIMES})
    sizes = {name: length / MIB for name, length in lengths.items()}
    yield from rows_of("the same, the file", sizes, dict.fromkeys((ZEROFREE, FSTRIM), AS_SMALL), unit="MiB")


def _zeroed(folder: Path, raw: Path, first: Path, target: Path) -> None:
    """The image as it is once zerofree has written zeros into it from inside."""
    device = folder / "device.raw"
    subprocess.run(["cp", "--sparse=always", raw, device], check=True)
    subprocess.run(["zerofree", device], check=True)
    shutil.copyfile(first, target)
    with vhdx.open(target, "r+") as disk, open(device, "rb") as file:
        for extent in list(disk.extents()):
            if extent.kind is vhdx.ExtentKind.DATA:
                for offset in range(extent.offset, extent.end, MIB):
                    file.seek(offset)
                    disk.pwrite(file.read(min(MIB, extent.end - offset)), offset)


def _converting(folder: Path, raw: Path) -> Iterator[Row]:
    """Only what is in use, into a file."""
    small, clone = folder / "small.vhdx", folder / "clone"
    options = vhdx.ImageOptions(block_size=MIB)
    log = folder / "partclone.log"
    cloning = ["partclone.extfs", "-c", "-F", "-s", raw, "-O", clone, "-L", log]
    contestants: dict[str, Contestant] = {
        OURS: partial(vhdx.convert, raw, small, discard_free=True, options=options, overwrite=True),
        "partclone to a file": partial(subprocess.run, cloning, check=True, capture_output=True),
    }
    yield from rows_of("convert --discard-free of that ext4", take_turns(contestants))


def _sparsifying(folder: Path, raw: Path) -> Iterator[Row]:
    """Against a Linux that is started to trim the raw disk; only where virt-sparsify finds one, and once."""
    device, small = folder / "device.raw", folder / "sparse.raw"
    subprocess.run(["cp", "--sparse=always", raw, device], check=True)
    if not have("virt-sparsify"):
        return
    start = time.perf_counter()
    if subprocess.run(["virt-sparsify", "--in-place", device], capture_output=True, check=False).returncode:
        return
    middle = time.perf_counter()
    vhdx.convert(raw, small, discard_free=True)
    ours, theirs = time.perf_counter() - middle, middle - start
    rival = "virt-sparsify --in-place"
    yield from rows_of("free space of a raw disk", {OURS: ours, rival: theirs})
    sizes = {OURS: small, rival: device}
    held = {name: path.stat().st_blocks * 512 / MIB for name, path in sizes.items()}
    yield from rows_of("the same, on the host", held, unit="MiB")
