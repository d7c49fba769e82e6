"""Checking and opening a disk of 64 TiB of which every block is present, in order and scattered.

The file needs a file system that has room for its name: 64 TiB of holes and 513 MiB of table. tmpfs has it,
ext4 has not.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import vhdx
from bench.harness import OURS, Row, have, limit_row, our_command, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
SIZE = 64 << 40
BLOCKS = SIZE // MIB
RATIO = 4096
TABLE = 3 * MIB
ROUNDS = 3
PATIENCE = 120
MEMORY = "/dev/shm"

MEASURE = """
import json, resource, subprocess, sys, time
begin = time.perf_counter()
code = subprocess.run({words!r}, stdout=subprocess.DEVNULL, timeout={patience}).returncode
taken = time.perf_counter() - begin
print(json.dumps([taken, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, code]))
"""
READ = """
import numpy, sys, time
begin = time.perf_counter()
numpy.fromfile(sys.argv[1], dtype="<u8", count={count}, offset={offset})
print(time.perf_counter() - begin)
"""


def measure(folder: Path) -> Iterator[Row]:
    """Seconds and resident memory of the command, and of QEMU's, each a process of its own."""
    with tempfile.TemporaryDirectory(prefix="vhdx-bench-", dir=_place_for(folder)) as place:
        for order in ("in order", "scattered"):
            image = Path(place) / "full.vhdx"
            _make(image, scattered=order == "scattered")
            yield from _measure(image, order)


def _place_for(folder: Path) -> str:
    """A directory on a file system that has files of 64 TiB."""
    return MEMORY if os.path.isdir(MEMORY) else str(folder)


def _make(image: Path, *, scattered: bool) -> None:
    vhdx.create(image, SIZE, block_size=MIB, overwrite=True)
    first = image.stat().st_size // MIB
    places = np.arange(first, first + BLOCKS, dtype="<u8")
    if scattered:
        np.random.default_rng(7).shuffle(places)
    with open(image, "r+b") as file:
        file.truncate(first * MIB + SIZE)
        file.seek(TABLE)
        file.writelines(
            (places[chunk : chunk + RATIO] << np.uint64(20) | np.uint64(6)).tobytes() + bytes(8)
            for chunk in range(0, BLOCKS, RATIO)
        )


def _measure(image: Path, order: str) -> Iterator[Row]:
    what = f"64 TiB, all present {order}: "
    ours = our_command()
    for verb in ("check", "info"):
        found = {OURS: _run([*ours, verb, str(image)])}
        if have("qemu-img"):
            found["qemu-img"] = _run(["qemu-img", verb, "-f", "vhdx", str(image)])
        times = {name: result[0] for name, result in found.items() if result is not None}
        memory = {name: result[1] for name, result in found.items() if result is not None}
        if verb == "check":
            read = _reading(image)
            yield limit_row(f"{what}check", times[OURS], 10 * read, "s", "10 x reading the table with numpy")
            yield limit_row(f"{what}check, memory", memory[OURS], 192.0, "MiB", "within 192 MiB")
        yield from rows_of(f"{what}{verb}", times)
        yield from rows_of(f"{what}{verb}, memory", memory, unit="MiB")


def _run(words: list[str]) -> tuple[float, float] | None:
    """The least seconds and the MiB of a command that must succeed; None where it fails or is too slow."""
    results = []
    for _ in range(ROUNDS + 1):
        program = MEASURE.format(words=words, patience=PATIENCE)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        if done.returncode:
            return None
        seconds, mebibytes, code = json.loads(done.stdout)
        if code:
            return None
        results.append((seconds, mebibytes))
    return min(row[0] for row in results[1:]), statistics.median(row[1] for row in results[1:])


def _reading(image: Path) -> float:
    """Seconds that numpy takes to read the table from the page cache."""
    program = READ.format(count=BLOCKS + BLOCKS // RATIO, offset=TABLE)
    times = []
    for _ in range(ROUNDS + 1):
        done = subprocess.run(
            [sys.executable, "-c", program, str(image)], capture_output=True, text=True, check=True
        )
        times.append(float(done.stdout))
    return min(times[1:])
