"""Serving: one image by us and by qemu-nbd, to the clients that people use; and the memory it takes."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

import vhdx
from bench.harness import (
    OURS,
    PAIRS,
    Aim,
    Row,
    Taken,
    command,
    have,
    limit_row,
    our_command,
    rows_of,
    take_turns,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1024 * 1024
FULL_SIZE, SPARSE_SIZE = 256 * MIB, 8 * 1024 * MIB
QEMU = "qemu-nbd"
_LEVEL = Aim("at least level with qemu-nbd", lambda mine, theirs: mine <= theirs)
_TIMES = Aim("at least 3x qemu-nbd", lambda mine, theirs: 3 * mine <= theirs)


class _Load(NamedTuple):
    """One job of fio."""

    what: str
    rw: str
    block_size: str
    depth: int
    clients: int = 1
    seconds: int = 1


LOADS = (
    _Load("4 KiB random read, depth 1", "randread", "4k", 1),
    _Load("4 KiB random read, depth 16", "randread", "4k", 16),
    _Load("128 KiB read in sequence, depth 8", "read", "128k", 8),
    _Load("128 KiB write in sequence, depth 8", "write", "128k", 8),
    _Load("4 KiB random write in place, depth 1", "randwrite", "4k", 1),
    _Load("4 KiB random write in place, depth 16", "randwrite", "4k", 16),
    _Load("4 KiB random read, depth 1, two clients", "randread", "4k", 1, clients=2),
    _Load("4 KiB random read, depth 16, two clients", "randread", "4k", 16, clients=2),
    _Load("4 KiB random write in place, depth 1, two clients", "randwrite", "4k", 1, clients=2),
)
CHAIN_LOADS = (
    _Load("4 KiB random read of a chain of 4, depth 1", "randread", "4k", 1),
    _Load("4 KiB random read of a chain of 4, depth 16", "randread", "4k", 16),
)
LAYERS = 4


def measure(folder: Path) -> list[Row]:
    """All rows, as far as the programs are there."""
    rows: list[Row] = []
    if have("fio"):
        rows += _loads(folder)
        rows += _chain_loads(folder)
    if have("nbdcopy"):
        rows += _copies(folder, "nbdcopy of a full image", _full(folder / "copy.vhdx"), _LEVEL)
        rows += _copies(folder, "nbdcopy of a sparse image", _sparse(folder / "sparse.vhdx"), _TIMES)
        rows += _reads_without_map(folder)
    return rows


def _full(path: Path) -> Path:
    vhdx.create(path, FULL_SIZE, block_size="1M")
    with vhdx.open(path, "r+") as disk:
        for offset in range(0, FULL_SIZE, MIB):
            disk.pwrite(os.urandom(MIB), offset)
    return path


def _sparse(path: Path) -> Path:
    """8 GiB, a block at a random place of each GiB."""
    chosen = random.Random(1)
    vhdx.create(path, SPARSE_SIZE, block_size="1M")
    with vhdx.open(path, "r+") as disk:
        for start in range(0, SPARSE_SIZE, 1024 * MIB):
            disk.pwrite(os.urandom(MIB), start + chosen.randrange(1024) * MIB)
    return path


def _copy(image: Path, owner: str) -> Path:
    target = image.with_name(f"{owner}.{image.name}")
    subprocess.run(["cp", "--reflink=never", image, target], check=True)
    return target


@contextlib.contextmanager
def _server(words: list[str], path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        while not path.exists():
            if process.poll() is not None:
                raise RuntimeError(f"{words[0]} ended with {process.returncode}")
            time.sleep(0.01)
        yield process
    finally:
        process.terminate()
        process.wait()


def _chain(folder: Path) -> tuple[Path, Path]:
    """The same disk as a chain of VHDX and as one of qcow2: each child has its share of the blocks."""
    ours, theirs = _full(folder / "layer0.vhdx"), folder / "layer0.qcow2"
    convert = ["qemu-img", "convert", "-f", "vhdx", "-O", "qcow2", str(ours), str(theirs)]
    subprocess.run(convert, check=True)
    for layer in range(1, LAYERS):
        places = range(layer * MIB, FULL_SIZE, LAYERS * MIB)
        parent, ours = ours, folder / f"layer{layer}.vhdx"
        vhdx.create(ours, parent=parent)
        with vhdx.open(ours, "r+") as disk:
            for offset in places:
                disk.pwrite(bytes([layer]) * MIB, offset)
        backing, theirs = theirs, folder / f"layer{layer}.qcow2"
        child = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(backing), str(theirs)]
        subprocess.run(child, check=True)
        writes = [word for offset in places for word in ("-c", f"write -q -P {layer} {offset} {MIB}")]
        subprocess.run(["qemu-io", "-f", "qcow2", *writes, theirs], check=True)
    return ours, theirs


@contextlib.contextmanager
def _both(
    folder: Path, image: Path, *, write: bool, theirs: Path | None = None
) -> Iterator[tuple[dict[str, str], dict[str, int]]]:
    """URIs of two servers, each on a copy of its own if it is written to; and their processes.

    Both are copies: what a small write costs depends on how large the pieces are in which a file came into
    the host's cache.
    """
    theirs = theirs or image
    if write:
        image, theirs = _copy(image, OURS), _copy(theirs, QEMU)
    uris = {name: f"nbd+unix:///?socket={folder / name}.sock" for name in (OURS, QEMU)}
    with contextlib.ExitStack() as held:
        ours = [*our_command(), "serve", str(image), "--socket", f"{folder / OURS}.sock"]
        server = held.enter_context(_server(ours + ["--write"] * write, folder / f"{OURS}.sock"))
        pids = {OURS: server.pid}
        if have("qemu-nbd"):
            words = ["qemu-nbd", "-t", "-f", theirs.suffix[1:], "--shared=16", "-k", f"{folder / QEMU}.sock"]
            words += [*["-r"] * (not write), str(theirs)]
            pids[QEMU] = held.enter_context(_server(words, folder / f"{QEMU}.sock")).pid
        else:
            del uris[QEMU]
        yield uris, pids


def _loads(folder: Path) -> list[Row]:
    rows: list[Row] = []
    image = _full(folder / "full.vhdx")
    with _both(folder, image, write=True) as (uris, pids):
        for load in LOADS:
            rows += _load_rows(load, uris, pids)
        for block_size in ("1m", "32m"):
            _fio(uris[OURS], _Load("the heaviest", "randrw", block_size, 64, clients=8))
        rows.append(
            limit_row(
                "memory after 8 jobs of 64 requests of 32 MiB", _peak(pids[OURS]), 256, "MiB", "256 MiB"
            )
        )
    return rows


def _chain_loads(folder: Path) -> list[Row]:
    """QEMU reads no children of VHDX: it serves the same disk in its own format."""
    if not have("qemu-img", "qemu-io", "qemu-nbd"):
        return []
    ours, theirs = _chain(folder)
    with _both(folder, ours, write=False, theirs=theirs) as (uris, pids):
        return [row for load in CHAIN_LOADS for row in _load_rows(load, uris, pids)]


def _load_rows(load: _Load, uris: dict[str, str], pids: dict[str, int]) -> Iterator[Row]:
    """The time of one request, and what the server works for it."""
    found: dict[str, list[float]] = {name: [] for name in uris}
    work: dict[str, list[float]] = {name: [] for name in uris}
    for number in range(PAIRS):
        names = list(uris)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            before = _work(pids[name])
            found[name].append(_fio(uris[name], load))
            requests = load.seconds / found[name][-1]
            work[name].append((_work(pids[name]) - before) / requests)
    for what, values in (("each", found), ("work of the server for each", work)):
        taken = {name: Taken(times) for name, times in values.items()}
        yield from rows_of(f"{load.what}, {what}", taken, {QEMU: _LEVEL})


def _fio(uri: str, load: _Load) -> float:
    """Seconds for one request of a load."""
    words = [
        "fio",
        "--name=t",
        "--ioengine=nbd",
        f"--uri={uri}",
        f"--rw={load.rw}",
        f"--bs={load.block_size}",
    ]
    words += [f"--iodepth={load.depth}", "--time_based", f"--runtime={load.seconds}", f"--size={FULL_SIZE}"]
    words += [f"--numjobs={load.clients}", "--group_reporting", "--output-format=json"]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    (job,) = json.loads(said[said.index("{") :])["jobs"]
    return 1 / (float(job["read"]["iops"]) + float(job["write"]["iops"]))


def _work(pid: int) -> float:
    """Seconds that a process worked so far, whatever else the machine did."""
    with open(f"/proc/{pid}/stat") as status:
        fields = status.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak(pid: int) -> float:
    """The most memory that a process ever had, in MiB."""
    with open(f"/proc/{pid}/status") as status:
        (line,) = (line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def _copies(folder: Path, what: str, image: Path, aim: Aim) -> list[Row]:
    with _both(folder, image, write=False) as (uris, _):
        found = take_turns({name: command("nbdcopy", uri, "null:") for name, uri in uris.items()})
    return rows_of(what, found, {QEMU: aim})


def _reads_without_map(folder: Path) -> list[Row]:
    """A client that asks for no map: holes cost what is sent for them."""
    image = folder / "holes.vhdx"
    vhdx.create(image, 1024 * MIB)
    with _both(folder, image, write=False) as (uris, _):
        contestants = {
            name: command("nbdcopy", "--no-extents", "--request-size=1048576", uri, "null:")
            for name, uri in uris.items()
        }
        found = take_turns(contestants)
    return rows_of("1 GiB of holes read without a map", found, {QEMU: _LEVEL})
