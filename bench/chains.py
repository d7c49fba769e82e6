"""Reading through chains of 1, 2, 4 and 8 layers, and what a large child changed."""

from __future__ import annotations

import os
import random
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

import vhdx
from bench.conversion import tidy
from bench.harness import COPIED, FLUSHED, PAIRS, Row, flushed_copy, rows_of, take_turns
from vhdx.disk.open import open_disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.harness import Contestant
    from vhdx.disk.chain import VhdxDisk

MIB = 1024 * 1024
SIZE = 64 * MIB
READS = 5000
MERGED = 256 * MIB


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
    return rows + _large_child(folder) + _merge(folder)


def _chain(folder: Path, depth: int) -> VhdxDisk:
    """All data in the base: the longest way."""
    path = folder / f"{depth}-1.vhdx"
    vhdx.create(path, SIZE, block_size="1M")
    with open_disk(path, "r+") as disk:
        for offset in range(0, SIZE, MIB):
            disk.pwrite(os.urandom(MIB), offset)
    for layer in range(2, depth + 1):
        child = folder / f"{depth}-{layer}.avhdx"
        vhdx.create(child, parent=path)
        path = child
    return open_disk(path)


def _reading(disk: VhdxDisk, length: int, count: int) -> Callable[[], None]:
    chosen = random.Random(1)
    offsets = [chosen.randrange((SIZE - length) // 4096 + 1) * 4096 for _ in range(count)]
    buffer = bytearray(length)

    def run() -> None:
        for offset in offsets:
            disk.preadinto(buffer, offset)

    return run


def _large_child(folder: Path) -> list[Row]:
    """A child of 64 TiB with 1 MiB blocks, every hundredth of them present, each for itself."""
    base, child = folder / "large.vhdx", folder / "large.avhdx"
    vhdx.create(base, "64T", block_size="1M")
    vhdx.create(child, parent=base, block_size="1M")
    with open_disk(child) as disk:
        opened = disk.layers[0]
        table, geometry = opened.regions.bat, opened.geometry
    blocks = np.arange(0, geometry.block_count, 100, dtype=np.uint64)
    slots = blocks + blocks // np.uint64(geometry.chunk_ratio)
    end = os.path.getsize(child)
    with open(child, "r+b") as file:
        file.truncate(end + len(blocks) * MIB)
        entries = np.memmap(file, np.uint64, "r+", table.file_offset, (table.length // 8,))
        entries[slots] = (np.arange(len(blocks), dtype=np.uint64) << np.uint64(20)) + np.uint64(end + 6)
        entries.flush()
    with open_disk(child) as disk:
        found = take_turns({"vhdx": lambda: _count(disk, len(blocks))}, 2)
    return [Row("changed extents of a 64 TiB child, 1 % of its blocks", found["vhdx"], "", None)]


def _count(disk: VhdxDisk, expected: int) -> None:
    assert sum(1 for _ in disk.changed_extents()) == expected


def _merge(folder: Path) -> list[Row]:
    """A quarter of a GiB of new data into a parent, beside a copy of as much, both durable at the end."""
    rounds = iter(range(100))

    def fresh() -> Path:
        number = next(rounds)
        parent, child = folder / f"merge-{number}.vhdx", folder / f"merge-{number}.avhdx"
        vhdx.create(parent, MERGED)
        vhdx.create(child, parent=parent)
        with open_disk(child, "r+") as disk:
            for offset in range(0, MERGED, MIB):
                disk.pwrite(os.urandom(MIB), offset)
        return child

    children = [fresh() for _ in range(PAIRS + 1)]
    copied, target = children[0], folder / "copy"

    def merge() -> None:
        vhdx.merge(children.pop())

    contestants: dict[str, Contestant] = {"vhdx": merge, COPIED: flushed_copy(copied, target)}
    found = take_turns(contestants, 3, before=partial(tidy, target))
    return rows_of("merge of 256 MiB", found, {COPIED: FLUSHED})
