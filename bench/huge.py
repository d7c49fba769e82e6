"""A disk of 64 TiB in blocks of 1 MiB: opened and read for the first time, in a fresh process."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING

import vhdx
from bench.harness import OURS, Row, limit_row, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
SIZE = 64 << 40
ROUNDS = 5
PATIENCE = 30

PROGRAM = """
import json, sys, time
{prepare}
begin = time.perf_counter()
{work}
taken = time.perf_counter() - begin
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
assert data == b"last" * 1024, data[:16]
print(json.dumps([taken, int(status["VmHWM"].split()[0]) / 1024, "numpy" in sys.modules]))
"""
READERS = {
    OURS: ("import vhdx; vhdx.open", "data = vhdx.open({path!r}).pread(4096, {offset})"),
    "pyvhdi": (
        "import pyvhdi",
        "f = pyvhdi.file(); f.open({path!r}); data = f.read_buffer_at_offset(4096, {offset})",
    ),
    "dissect": (
        "from dissect.hypervisor.disk.vhdx import VHDX",
        "d = VHDX(open({path!r}, 'rb')); d.seek({offset}); data = d.read(4096)",
    ),
}


def measure(folder: Path) -> Iterator[Row]:
    """Time after the import, resident memory, and whether numpy was needed."""
    image = folder / "huge.vhdx"
    _make(image)
    found: dict[str, list[tuple[float, float, bool]]] = {name: [] for name in READERS}
    for _ in range(ROUNDS + 1):
        for name in list(found):
            result = _run(name, image)
            if result is None:
                del found[name]
            else:
                found[name].append(result)
    times = {name: statistics.median(row[0] for row in rows[1:]) for name, rows in found.items()}
    memory = {name: statistics.median(row[1] for row in rows[1:]) for name, rows in found.items()}
    what = "64 TiB, 1 MiB blocks: "
    yield limit_row(f"{what}open and first read", times[OURS], 0.020, "s", "within 20 ms")
    yield from rows_of(f"{what}open and first read", times)
    yield limit_row(f"{what}resident memory", memory[OURS], 32.0, "MiB", "within 32 MiB")
    yield from rows_of(f"{what}resident memory", memory, unit="MiB")
    numpy = any(row[2] for row in found[OURS])
    yield limit_row(f"{what}imports of numpy", float(numpy), 0.0, "", "without numpy")


def _make(image: Path) -> None:
    """An empty image, its last block put in by hand."""
    vhdx.create(image, SIZE, block_size=MIB)
    last = SIZE // MIB - 1
    end = image.stat().st_size
    with open(image, "r+b") as file:
        file.seek(3 * MIB + 8 * (last + last // 4096))
        file.write((end | 6).to_bytes(8, "little"))
        file.seek(end + MIB - 4096)
        file.write(b"last" * 1024)


def _run(name: str, image: Path) -> tuple[float, float, bool] | None:
    """Seconds, MiB and whether numpy was imported; None where the reader is absent, fails or is too slow."""
    prepare, work = READERS[name]
    work = work.format(path=str(image), offset=SIZE - 4096)
    program = PROGRAM.format(prepare=prepare, work=work)
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=PATIENCE
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        if name == OURS:
            raise
        return None
    seconds, mebibytes, numpy = json.loads(done.stdout)
    return seconds, mebibytes, numpy
