"""Copies of the disk of a mounted ext3 or ext4: replayed in memory, spoilt, then replayed by e2fsck."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest

from tests.filesystems.ext_crash import LOADS, SIZE, Cut, Load, machine
from tests.filesystems.ext_making import free_bytes_by_dumpe2fs, free_ranges_by_dumpe2fs, looked, noised
from tests.filesystems.making import MIB, hashes_of, mounted, mounts, need, raw_file, run, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@pytest.fixture(autouse=True)
def _programs(tmp_path: Path) -> None:
    need("mkfs.ext4", "e2fsck", "dumpe2fs", "fsfreeze")
    run("mkfs.ext4", "-q", probe := raw_file(tmp_path / "probe", 4 * MIB))
    if not mounts(probe):
        unavailable("this machine mounts no ext4 in a file")


def test_power_cuts(tmp_path: Path) -> None:
    cuts(tmp_path, LOADS[1], 2)


@pytest.mark.slow
@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.name)
def test_many_power_cuts(tmp_path: Path, load: Load) -> None:
    cuts(tmp_path, load, 28)


def cuts(folder: Path, load: Load, count: int) -> None:
    with machine(folder, load, seed=1) as worker:
        for number in range(count):
            steps = worker.steps
            while worker.steps < steps + 10 and worker.failure is None:
                time.sleep(0.05)
            check(worker.cut(folder / f"cut{number}"), bigalloc="bigalloc" in load.make)


def check(cut: Cut, *, bigalloc: bool) -> None:
    """Noise where the replayed file system has nothing: e2fsck finds the same as without, and every file."""
    fixed, spoilt = cut.image.with_suffix(".fixed"), cut.image.with_suffix(".spoilt")
    shutil.copyfile(cut.image, fixed)
    shutil.copyfile(cut.image, spoilt)
    examined = noised(spoilt)
    assert examined.file_system.state == "replayed"
    found = run("e2fsck", "-fy", fixed, codes=(0, 1)).replace(str(fixed), "")
    assert run("e2fsck", "-fy", spoilt, codes=(0, 1)).replace(str(spoilt), "") == found
    run("e2fsck", "-fn", spoilt)
    with mounted(spoilt, "ro") as point:
        assert hashes_of(point, cut.hashes) == cut.hashes
    if bigalloc:  # dumpe2fs lists only the first block of the last cluster of a run
        assert (examined.file_system.free or 0) <= free_bytes_by_dumpe2fs(fixed)
    else:
        before, after = free_map(looked(cut.image).free_ranges()), free_map(free_ranges_by_dumpe2fs(fixed))
        assert not any(ours and not theirs for ours, theirs in zip(before, after, strict=True))
        assert before == after or "orphan" in found.lower()
    for image in (cut.image, fixed, spoilt):
        image.unlink()


def free_map(ranges: Iterable[tuple[int, int]]) -> bytearray:
    """One byte for each KiB: whether it is free."""
    blocks = bytearray(SIZE // 1024)
    for offset, length in ranges:
        blocks[offset // 1024 : (offset + length) // 1024] = b"\1" * (length // 1024)
    return blocks
