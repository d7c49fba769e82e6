"""The full image of 64 TiB, its 67 million blocks in order and scattered: opened, and summed up."""

from __future__ import annotations

import contextlib
import os
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import vhdx
from bench.harness import OURS, Row, have, our_command, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MIB = 1 << 20
SIZE = 64 << 40
BLOCKS = SIZE // MIB
CHUNK = 4096
ROUNDS = 3
MEMORY = "/dev/shm"
PATIENCE = 120
_MEASURED = """
import resource, subprocess, sys, time
begin = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
taken = time.perf_counter() - begin
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(taken, used.ru_maxrss / 1024, used.ru_utime + used.ru_stime)
"""


class Cost(NamedTuple):
    """Seconds and resident MiB of one run, and seconds of its work, whatever else the machine does."""

    seconds: float
    mebibytes: float
    work: float


def measure(folder: Path) -> Iterator[Row]:
    """Opening and summing up as processes of their own, against qemu-img."""
    for order, places in ORDERS:
        what = f"64 TiB, all blocks present, {order}"
        with full_image(folder, places) as image:
            yield from compared(f"{what}: open (info)", ours_for("info", image), theirs_for(image, "info"))
            yield from compared(
                f"{what}: map --summary",
                ours_for("map", "--summary", image),
                theirs_for(image, "map", "--output=json"),
            )


@contextlib.contextmanager
def full_image(
    folder: Path, places: Callable[[int, int], np.ndarray[tuple[int], np.dtype[np.uint64]]]
) -> Iterator[Path]:
    """A file of 64 TiB, which tmpfs has and ext4 has not; ``folder`` is where else it may be."""
    place = MEMORY if os.path.isdir(MEMORY) else str(folder)
    with tempfile.TemporaryDirectory(prefix="vhdx-bench-", dir=place) as directory:
        image = Path(directory) / "full.vhdx"
        make_full(image, places)
        yield image


def ours_for(*words: str | Path) -> list[str | Path]:
    return [*our_command(), *words]


def theirs_for(image: Path, *words: str) -> list[str | Path] | None:
    """QEMU's map calls every VHDX one run of data and does not look at the table; as text it refuses."""
    return ["qemu-img", *words, "-f", "vhdx", image] if have("qemu-img") else None


def compared(what: str, ours: Sequence[str | Path], theirs: Sequence[str | Path] | None) -> Iterator[Row]:
    found = {OURS: median_cost(ours)}
    if theirs is not None:
        with contextlib.suppress(subprocess.SubprocessError):  # it refuses, or takes too long
            found[f"qemu-img {theirs[1]}"] = median_cost(theirs)
    seconds = {name: cost.seconds for name, cost in found.items()}
    memory = {name: cost.mebibytes for name, cost in found.items()}
    if len(found) == 1:
        against = "qemu-img fails" if theirs else "nobody"
        yield Row(what, seconds[OURS], against, None)
        yield Row(f"{what}, resident", memory[OURS], against, None, "MiB")
    yield from rows_of(what, seconds)
    yield from rows_of(f"{what}, resident", memory, unit="MiB")


def median_cost(words: Sequence[str | Path]) -> Cost:
    """Each run in a process of its own, which measures the memory of its child."""
    costs = []
    for _ in range(ROUNDS):
        command = [sys.executable, "-c", _MEASURED, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
        costs.append([float(number) for number in done.stdout.split()])
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


def in_order(block: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.arange(block, block + count, dtype=np.uint64)


def scattered(block: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """A permutation: an odd factor modulo a power of two."""
    return in_order(block, count) * np.uint64(96543) % np.uint64(BLOCKS)


ORDERS = (("in order", in_order), ("scattered", scattered))


def make_full(image: Path, places: Callable[[int, int], np.ndarray[tuple[int], np.dtype[np.uint64]]]) -> None:
    """An image made by the library, its whole table put in by hand; the blocks are a hole of the host."""
    vhdx.create(image, SIZE, block_size=MIB)
    end = image.stat().st_size
    table = table_of(image)
    with open(image, "r+b") as file:
        os.truncate(file.fileno(), end + SIZE)
        for block in range(0, BLOCKS, CHUNK):
            entries = (places(block, CHUNK) + np.uint64(end // MIB)) << np.uint64(20) | np.uint64(6)
            file.seek(table + 8 * (block + block // CHUNK))
            file.write(entries.astype("<u8").tobytes())


def table_of(image: Path) -> int:
    """Where the region table says that the BAT begins."""
    guid = bytes.fromhex("6677c22d23f600429d64115e9bfd4a08")
    with open(image, "rb") as file:
        file.seek(192 * 1024)
        table = file.read(4096)
    at = table.index(guid) + 16
    (offset,) = struct.unpack_from("<Q", table, at)
    return int(offset)
