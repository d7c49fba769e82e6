"""Moving blocks against copying a file of the same size, scanning for zeros against numpy, growing a disk."""

from __future__ import annotations

import os
import random
import shutil
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

import vhdx
from bench.harness import (
    COPIED,
    FLUSHED,
    Aim,
    command,
    flushed_copy,
    limit_row,
    rows_of,
    take_turns,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.harness import Contestant, Row

MIB = 1 << 20
MOVED = 192 * MIB
SCANNED = 256 * MIB

SCAN = Aim("at least as fast as numpy", lambda ours, theirs: ours <= theirs)


def measure(folder: Path) -> Iterator[Row]:
    """192 MiB that move into gaps; 256 MiB of zeros that are looked through; a disk of 1 TiB that grows."""
    yield from _moving(folder)
    yield from _scanning(folder)
    yield _growing(folder)


def _moving(folder: Path) -> Iterator[Row]:
    gaps, image = folder / "gaps.vhdx", folder / "image.vhdx"
    source, target = folder / "moved.raw", folder / "target.raw"
    chance = random.Random(3)
    vhdx.create(gaps, 2 * MOVED, block_size=MIB)
    with vhdx.open(gaps, "r+") as disk, open(source, "wb") as file:
        for number in range(2 * MOVED // MIB):
            data = chance.randbytes(MIB)
            disk.pwrite(data, number * MIB)
            if number * MIB >= MOVED:
                file.write(data)
        disk.flush()
        disk.zero(length=MOVED, offset=0)

    def restore() -> None:
        target.unlink(missing_ok=True)
        shutil.copyfile(gaps, image)
        os.sync()

    copy = flushed_copy(source, target)

    def copy_and_cut() -> None:
        """What a compaction does beside copying: it gives as much back to the host, durably."""
        copy()
        with open(image, "r+b") as file:
            file.truncate(os.path.getsize(image) - MOVED)
            os.fsync(file.fileno())

    contestants: dict[str, Contestant] = {
        "vhdx": partial(vhdx.compact, image),
        "cp": command("cp", source, target),
        COPIED: copy,
        f"{COPIED}, and a file cut": copy_and_cut,
    }
    found = take_turns(contestants, before=restore)
    yield from rows_of("compact, 192 MiB move", found, {COPIED: FLUSHED})


def _scanning(folder: Path) -> Iterator[Row]:
    image, raw = folder / "zeros.vhdx", folder / "zeros.raw"
    vhdx.create(image, SCANNED, block_size=32 * MIB, overwrite=True)
    with vhdx.open(image, "r+") as disk, open(raw, "wb") as file:
        for offset in range(0, SCANNED, MIB):
            disk.pwrite(bytes(MIB), offset)
            file.write(bytes(MIB))
    buffer = bytearray(MIB)
    words = np.frombuffer(buffer, dtype=np.uint64)

    def by_numpy() -> None:
        with open(raw, "rb", buffering=0) as file:
            while file.readinto(buffer):
                assert not words.any()

    contestants: dict[str, Contestant] = {
        "vhdx": partial(vhdx.compact, image, scan_zeros=True, dry_run=True),
        "numpy, read and any()": by_numpy,
    }
    found = take_turns(contestants)
    aims = {"numpy, read and any()": SCAN}
    yield from rows_of("zero scan of 256 MiB", found, aims)
    speeds = {name: seconds / (SCANNED / 1e9) for name, seconds in found.items()}
    yield from rows_of("zero scan, for each GB", speeds)


def _growing(folder: Path) -> Row:
    image = folder / "large.vhdx"

    def fresh() -> None:
        vhdx.create(image, "1T", block_size=32 * MIB, overwrite=True)

    found = take_turns({"vhdx": partial(vhdx.resize, image, "+1T")}, before=fresh)
    return limit_row("1 TiB grows to 2 TiB", found["vhdx"], 0.1, "s", "milliseconds: within 100 ms")
