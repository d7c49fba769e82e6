"""Free space of a guest's file system of 1 TiB, found from outside: seconds and memory."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np

from bench.harness import OURS, Row, have, limit_row, rows_of
from bench.looking import median_cost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.looking import Cost

SIZE = 1 << 40
BLOCK = 4096
GROUP_BYTES = BLOCK
MOST_SECONDS, MOST_MEBIBYTES = 1, 256
ALL_FREE_RANGES = """
import os, sys
from vhdx.filesystems.detect import detect, examine_found
file = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(file).st_size
found = detect(lambda length, offset: os.pread(file, length, offset), size)
examined = examine_found(found, size)
assert examined.file_system.free, examined.file_system.reasons
print(sum(map(len, examined.free_runs())))
"""
FRESH = ("-G", "4096")
"""As WSL makes its disks."""
AGED = ("-G", "4096", "-O", "^metadata_csum,^uninit_bg", "-N", "1048576")
"""Without checksums, so that bitmaps can be filled in by hand; without bitmaps that were never written."""


def measure(folder: Path) -> Iterator[Row]:
    """ext4, NTFS and XFS, all of them read twice: once to agree, once for the ranges."""
    if not have("mkfs.ext4", "dumpe2fs"):
        return
    image = folder / "ext4"
    for what, options in (("ext4, fresh", FRESH), ("ext4, a free MiB after each used one", AGED)):
        with open(image, "wb") as file:
            file.truncate(SIZE)
        subprocess.run(["mkfs.ext4", "-q", "-F", *options, image], check=True)
        if options is AGED:
            age(image)
        yield from compared(f"1 TiB {what}: free ranges", image)

    yield from others(folder)


def others(folder: Path) -> Iterator[Row]:
    """NTFS and XFS, fresh: no other program tells their free ranges without a copy."""
    for what, make in (
        ("NTFS, fresh", ("mkntfs", "-q", "-F", "-Q", "-p", "0", "-H", "255", "-S", "63")),
        ("XFS, fresh", ("mkfs.xfs", "-q", "-f")),
    ):
        if have(make[0]):
            image = folder / make[0]
            with open(image, "wb") as file:
                file.truncate(SIZE)
            subprocess.run([*make, image], check=True)
            ours = median_cost([sys.executable, "-c", ALL_FREE_RANGES, image])
            yield from limits(f"1 TiB {what}: free ranges", ours)
            image.unlink()


def compared(what: str, image: Path) -> Iterator[Row]:
    ours = median_cost([sys.executable, "-c", ALL_FREE_RANGES, image])
    theirs = median_cost(["dumpe2fs", image])
    yield from rows_of(what, {OURS: ours.seconds, "dumpe2fs": theirs.seconds})
    yield from rows_of(f"{what}, resident", {OURS: ours.mebibytes, "dumpe2fs": theirs.mebibytes}, unit="MiB")
    yield from limits(what, ours)


def limits(what: str, ours: Cost) -> Iterator[Row]:
    """By the clock, which other work on the machine delays, and by the processor's work."""
    yield limit_row(what, ours.seconds, MOST_SECONDS, "s", "within a second")
    yield limit_row(f"{what}, work", ours.work, MOST_SECONDS, "s", "within a second")
    yield limit_row(f"{what}, resident", ours.mebibytes, MOST_MEBIBYTES, "MiB", "256 MiB at most")


def age(image: Path) -> None:
    """Call every other MiB used, in the bitmaps, the descriptors and the superblock."""
    groups = SIZE // BLOCK // (GROUP_BYTES * 8)
    pattern = np.tile(np.repeat(np.array((0xFF, 0), dtype=np.uint8), 32), GROUP_BYTES // 64)
    total = 0
    with open(image, "r+b") as file:
        file.seek(BLOCK)
        descriptors = np.frombuffer(file.read(groups * 64), dtype="<u2").reshape(-1, 32).copy()
        for descriptor in descriptors:
            offset = (int(descriptor[0]) | int(descriptor[1]) << 16 | int(descriptor[16]) << 32) * BLOCK
            file.seek(offset)
            bitmap = np.frombuffer(file.read(GROUP_BYTES), dtype=np.uint8) | pattern
            file.seek(offset)
            file.write(bitmap.tobytes())
            free = GROUP_BYTES * 8 - int(np.unpackbits(bitmap).sum())
            descriptor[6], descriptor[22] = free & 0xFFFF, free >> 16
            total += free
        file.seek(BLOCK)
        file.write(descriptors.tobytes())
        for offset, half in ((0x0C, total & 0xFFFFFFFF), (0x158, total >> 32)):
            file.seek(1024 + offset)
            file.write(half.to_bytes(4, "little"))
