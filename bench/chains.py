"""Reading through chains of 1, 2, 4 and 8 layers, and what a large child changed."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import vhdx
from bench.harness import Row, rows_of, take_turns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vhdx import Disk

MIB = 1024 * 1024
SIZE = 64 * MIB
READS = 5000


def measure(folder: Path) -> list[Row]:
    """All rows; the chain of one layer stands for the others' measure."""
    disks = {depth: _chain(folder, depth) for depth in (1, 2, 4, 8)}
    rows: list[Row] = []
    for length, count in ((4096, READS), (MIB, 200)):
        found = take_turns({str(d): _reading(disk, length, count) for d, disk in disks.items()}, 5)
        one = found.pop("1") / count
        for depth, seconds in found.items():
            what = f"{length // 1024} KiB random, base of a chain of {depth}"
            rows += rows_of(what, {"vhdx": seconds / count, "a chain of 1": one})
    for disk in disks.values():
        disk.close()
    return rows + _large_child(folder)


def _chain(folder: Path, depth: int) -> Disk:
    """All data in the base: the longest way."""
    path = folder / f"{depth}-1.vhdx"
    vhdx.create(path, SIZE, block_size="1M")
    with vhdx.open(path, "r+") as disk:
        for offset in range(0, SIZE, MIB):
            disk.pwrite(os.urandom(MIB), offset)
    for layer in range(2, depth + 1):
        child = folder / f"{depth}-{layer}.avhdx"
        vhdx.create(child, parent=path)
        path = child
    return vhdx.open(path)


def _reading(disk: Disk, length: int, count: int) -> Callable[[], None]:
    chosen = random.Random(1)
    offsets = [chosen.randrange((SIZE - length) // 4096 + 1) * 4096 for _ in range(count)]
    buffer = bytearray(length)

    def run() -> None:
        for offset in offsets:
            disk.preadinto(buffer, offset)

    return run


def _large_child(folder: Path) -> list[Row]:
    """A child of 64 TiB with 1 MiB blocks, one block in a thousand partially present."""
    base, child = folder / "large.vhdx", folder / "large.avhdx"
    vhdx.create(base, "64T", block_size="1M")
    vhdx.create(child, parent=base, block_size="1M")
    with vhdx.open(child, "r+") as disk:
        for number in range(0, 65536, 1):
            disk.pwrite(b"changed", number * 1024 * MIB)
    with vhdx.open(child) as disk:
        found = take_turns({"vhdx": lambda: sum(1 for _ in disk.changed_extents())}, 1)
    return [Row("changed extents of a 64 TiB child, 65536 runs", found["vhdx"], "", None)]
