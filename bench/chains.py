"""Reading through chains of 1, 2, 4 and 8 layers, and merging."""

from __future__ import annotations

import os
import random
from functools import partial
from typing import TYPE_CHECKING

import vhdx
from bench.conversion import tidy
from bench.harness import COPIED, FLUSHED, PAIRS, Aim, flushed_copy, rows_of, take_turns
from vhdx.disk.open import open_disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.harness import Contestant, Row
    from vhdx.disk.chain import VhdxDisk

MIB = 1024 * 1024
SIZE = 64 * MIB
READS = 5000
MERGED = 256 * MIB
ALONE = "a chain of 1"
AIMS = {ALONE: Aim("at most 1.5x of one layer", lambda ours, theirs: ours <= 1.5 * theirs)}


def measure(folder: Path) -> list[Row]:
    """All rows; the chain of one layer stands for the others' measure."""
    disks = {depth: _chain(folder, depth) for depth in (1, 2, 4, 8)}
    rows: list[Row] = []
    for length, count in ((4096, READS), (MIB, 200)):
        found = take_turns({str(d): _reading(disk, length, count) for d, disk in disks.items()})
        one = found.pop("1") / count
        for depth, seconds in found.items():
            what = f"{length // 1024} KiB random, base of a chain of {depth}"
            rows += rows_of(what, {"vhdx": seconds / count, ALONE: one}, AIMS)
    for disk in disks.values():
        disk.close()
    return rows + _merge(folder)


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
    found = take_turns(contestants, before=partial(tidy, target))
    return rows_of("merge of 256 MiB", found, {COPIED: FLUSHED})
