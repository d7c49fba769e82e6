"""What must not grow with the disk: of 64 TiB in blocks of 1 MiB a first write, a diff, a TiB of zeros."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

import vhdx
from bench.harness import OURS, limit_row, take_turns
from vhdx.disk.open import open_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.harness import Row
    from vhdx.disk.chain import VhdxDisk

MIB, TIB = 1 << 20, 1 << 40
PRESENT = range(0, 64 * TIB // MIB, 100)
PAGE = bytes(range(256)) * 16


def measure(folder: Path) -> Iterator[Row]:
    """Each beside its limit."""
    large = "64 TiB, 1 MiB blocks"
    child = _child(folder)
    with open_disk(child) as disk:
        found = take_turns({OURS: lambda: _count(disk, len(PRESENT))})
    yield limit_row(f"{large}, 1 % of a child present: diff", found[OURS], 1.0, "s", "within 1 s")
    image = folder / "sparse.vhdx"

    def fresh() -> None:
        vhdx.create(image, 64 * TIB, block_size="1M", overwrite=True)
        os.sync()

    found = take_turns({OURS: lambda: _write(image)}, before=fresh)
    yield limit_row(f"{large}, sparse: open, first write, flush", found[OURS], 0.3, "s", "within 0.3 s")
    found = take_turns({OURS: lambda: _zero(image)}, before=fresh)
    yield limit_row(f"{large}, sparse: zero of 1 TiB, flush", found[OURS], 0.1, "s", "within 0.1 s")


def _child(folder: Path) -> Path:
    """A child of which every hundredth block is present, each for itself."""
    base, child = folder / "large.vhdx", folder / "large.avhdx"
    vhdx.create(base, 64 * TIB, block_size="1M")
    vhdx.create(child, parent=base, block_size="1M")
    with open_disk(child) as disk:
        opened = disk.layers[0]
        table, geometry = opened.regions.bat, opened.geometry
    blocks = np.arange(PRESENT.start, PRESENT.stop, PRESENT.step, dtype=np.uint64)
    slots = blocks + blocks // np.uint64(geometry.chunk_ratio)
    end = os.path.getsize(child)
    with open(child, "r+b") as file:
        file.truncate(end + len(blocks) * MIB)
        entries = np.memmap(file, np.uint64, "r+", table.file_offset, (table.length // 8,))
        entries[slots] = (np.arange(len(blocks), dtype=np.uint64) << np.uint64(20)) + np.uint64(end + 6)
        entries.flush()
    return child


def _count(disk: VhdxDisk, expected: int) -> None:
    assert sum(1 for _ in disk.changed_extents()) == expected


def _write(image: Path) -> None:
    with vhdx.open(image, "r+") as disk:
        disk.pwrite(PAGE, TIB)
        disk.flush()


def _zero(image: Path) -> None:
    with vhdx.open(image, "r+") as disk:
        disk.zero(length=TIB, offset=TIB)
        disk.flush()
