"""A disk as a file: requests of 4 KiB to our mount, and to nbdfuse on our own server."""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING

import vhdx
from bench.harness import OURS, Aim, Row, have, our_command, rows_of, take_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MIB = 1024 * 1024
SIZE, REQUEST, COUNT = 256 * MIB, 4096, 2000
NBDFUSE = "nbdfuse"
_LEVEL = Aim("at least as fast as nbdfuse on serve", lambda mine, theirs: mine <= theirs)


def measure(folder: Path) -> list[Row]:
    """Reads and writes in place that the kernel does not keep; no rows where nothing can be mounted."""
    if not have(NBDFUSE, "fusermount") or not os.path.exists("/dev/fuse"):
        return []
    rows: list[Row] = []
    with contextlib.ExitStack() as held:
        files = {OURS: held.enter_context(_mounted(folder)), NBDFUSE: held.enter_context(_by_nbdfuse(folder))}
        opened = {name: held.enter_context(_opened(path)) for name, path in files.items()}
        for what, request in (("read", _read), ("write in place", _write)):
            found = take_turns({name: partial(_random, file, request) for name, file in opened.items()})
            each = {name: taken / COUNT for name, taken in found.items()}
            rows += rows_of(f"mounted: 4 KiB random {what}", each, {NBDFUSE: _LEVEL})
    return rows


def _full(path: Path) -> Path:
    vhdx.create(path, SIZE, block_size=MIB)
    with vhdx.open(path, "r+") as disk:
        for offset in range(0, SIZE, MIB):
            disk.pwrite(os.urandom(MIB), offset)
    return path


@contextlib.contextmanager
def _mounted(folder: Path) -> Iterator[Path]:
    point = folder / "ours"
    point.mkdir()
    image = _full(folder / "ours.vhdx")
    subprocess.run([*our_command(), "mount", image, point, "--write"], check=True, stdout=subprocess.DEVNULL)
    try:
        yield point / "disk.raw"
    finally:
        subprocess.run([*our_command(), "unmount", point], check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def _by_nbdfuse(folder: Path) -> Iterator[Path]:
    socket, file = folder / "nbd.sock", folder / "theirs"
    file.touch()
    image = _full(folder / "theirs.vhdx")
    serve = subprocess.Popen(
        [*our_command(), "serve", image, "--write", "--socket", socket], stdout=subprocess.DEVNULL
    )
    with serve:
        try:
            _wait_for(socket.exists)
            with subprocess.Popen([NBDFUSE, file, f"nbd+unix:///?socket={socket}"]) as fuse:
                try:
                    _wait_for(lambda: file.stat().st_size == SIZE)
                    yield file
                finally:
                    subprocess.run(["fusermount", "-u", file], check=True)
                    fuse.wait()
        finally:
            serve.terminate()


def _wait_for(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not ready():
        if time.monotonic() > end:
            raise RuntimeError("nothing to measure came up")
        time.sleep(0.01)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDWR | os.O_DIRECT)
    try:
        yield file
    finally:
        os.close(file)


def _random(file: int, request: Callable[[int, mmap.mmap, int], int]) -> None:
    """So many requests at places that are the same in every round."""
    places = random.Random(1)
    with mmap.mmap(-1, REQUEST) as page:
        for _ in range(COUNT):
            if request(file, page, places.randrange(SIZE // REQUEST) * REQUEST) != REQUEST:
                raise RuntimeError("a request was answered in part")


def _read(file: int, page: mmap.mmap, offset: int) -> int:
    return os.preadv(file, [page], offset)


def _write(file: int, page: mmap.mmap, offset: int) -> int:
    return os.pwritev(file, [page], offset)
