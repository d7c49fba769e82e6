"""Checking the full image of 64 TiB, its 67 million blocks in order and scattered."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from bench.harness import limit_row
from bench.looking import (
    BLOCKS,
    CHUNK,
    ORDERS,
    ROUNDS,
    compared,
    full_image,
    median_cost,
    ours_for,
    table_of,
    theirs_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.harness import Row

READ = """
import numpy, sys, time
begin = time.perf_counter()
numpy.fromfile(sys.argv[1], dtype="<u8", count=int(sys.argv[2]), offset=int(sys.argv[3]))
print(time.perf_counter() - begin)
"""


def measure(folder: Path) -> Iterator[Row]:
    """The command as a process of its own, against the limits that were aimed at and against qemu-img."""
    for order, places in ORDERS:
        with full_image(folder, places) as image:
            what = f"64 TiB, all blocks present, {order}: check"
            cost = median_cost(ours_for("check", image))
            limit = 10 * _reading(image)
            yield limit_row(what, cost.seconds, limit, "s", "10 times reading the table with numpy")
            yield limit_row(f"{what}, resident", cost.mebibytes, 192.0, "MiB", "within 192 MiB")
            yield from compared(what, ours_for("check", image), theirs_for(image, "check"))


def _reading(image: Path) -> float:
    """Seconds that numpy takes to read the table from the page cache."""
    numbers = [str(BLOCKS + BLOCKS // CHUNK), str(table_of(image))]
    command = [sys.executable, "-c", READ, str(image), *numbers]
    times = [
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(ROUNDS)
    ]
    return sorted(times)[len(times) // 2]
