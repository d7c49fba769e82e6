"""Reading: small random and large sequential reads of a full image, from the page cache."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from typing import TYPE_CHECKING, Any

import vhdx
from bench.harness import PAIRS, Aim, Taken, rows_of, take_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.harness import Row

MIB = 1 << 20
SIZE = 256 * MIB
SMALL = 4096
READS = 10000

RANDOM_AIMS = {
    "os.pread": Aim("within 2.5x of bare os.pread", lambda ours, theirs: ours <= 2.5 * theirs),
    "pyvhdi": Aim("faster than pyvhdi", lambda ours, theirs: ours < theirs),
}
_BY_ITSELF = "os.preadv of its bytes"
SEQUENTIAL_AIMS = {
    _BY_ITSELF: Aim("at least 0.97x of the same bytes", lambda ours, theirs: theirs / ours >= 0.97)
}
FRESH_AIMS = {"after cp": Aim("at least 0.9x of a copy", lambda ours, theirs: theirs / ours >= 0.9)}


def measure(folder: Path) -> Iterator[Row]:
    """4 KiB `pread` at random places and 1 MiB `preadinto` front to back."""
    raw, image = folder / "full.raw", folder / "full.vhdx"
    chance = random.Random(1)
    with open(raw, "wb") as file:
        file.writelines(chance.randbytes(MIB) for _ in range(SIZE // MIB))
    vhdx.convert(raw, image)
    spots = [chance.randrange(SIZE // SMALL) * SMALL for _ in range(READS)]
    with contextlib.ExitStack() as stack:
        descriptor = os.open(raw, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        disk = stack.enter_context(vhdx.open(image))
        own = os.open(image, os.O_RDONLY)
        stack.callback(os.close, own)
        blocks = os.path.getsize(image) - SIZE
        others = dict(_others(image, stack))
        for name, read in others.items():
            assert read(SMALL, spots[0]) == os.pread(descriptor, SMALL, spots[0]), name
        found = take_turns(
            {
                "vhdx": lambda: _small(disk.pread, spots),
                "os.pread": lambda: _bare_small(descriptor, spots),
                **{name: _small_reader(read, spots) for name, read in others.items()},
            },
        )
        each = {name: seconds / READS for name, seconds in found.items()}
        yield from rows_of("4 KiB random pread", each, RANDOM_AIMS)
        buffer = bytearray(MIB)
        found = take_turns(
            {
                "vhdx": lambda: _large_into(disk.preadinto, buffer),
                _BY_ITSELF: lambda: _bare_large(own, buffer, blocks),
                "os.preadv of the raw file": lambda: _bare_large(descriptor, buffer),
                **{name: _large_reader(read) for name, read in others.items()},
            },
        )
        each = {name: seconds / (SIZE // MIB) for name, seconds in found.items()}
        yield from rows_of("1 MiB sequential preadinto", each, SEQUENTIAL_AIMS)
    yield from _fresh(raw, image)


def _fresh(raw: Path, image: Path) -> Iterator[Row]:
    """The first read of a file that was just made, by a conversion and by a copy."""
    made, copied = raw.with_name("made.vhdx"), raw.with_name("copied.vhdx")
    found: dict[str, list[float]] = {"vhdx": [], "after cp": []}
    for _ in range(PAIRS):
        vhdx.convert(raw, made, overwrite=True)
        subprocess.run(["cp", "--reflink=never", image, copied], check=True)
        subprocess.run(["sync", copied], check=True)
        for name, path in (("vhdx", made), ("after cp", copied)):
            begin = time.perf_counter()
            _read_once(path)
            found[name].append((time.perf_counter() - begin) / (SIZE // MIB))
    taken = {name: Taken(rounds) for name, rounds in found.items()}
    yield from rows_of("1 MiB first read after a conversion", taken, FRESH_AIMS)


def _read_once(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _bare_large(descriptor, bytearray(MIB), os.path.getsize(path) - SIZE)
    finally:
        os.close(descriptor)


def _others(image: Path, stack: contextlib.ExitStack) -> Iterator[tuple[str, Callable[[int, int], bytes]]]:
    with contextlib.suppress(ImportError):
        import pyvhdi  # noqa: PLC0415  may be absent

        file = pyvhdi.file()
        file.open(str(image))
        stack.callback(file.close)
        yield "pyvhdi", file.read_buffer_at_offset
    with contextlib.suppress(ImportError):
        from dissect.hypervisor.disk.vhdx import VHDX  # noqa: PLC0415

        stream = open(image, "rb")  # noqa: SIM115  the stack closes it
        stack.callback(stream.close)
        disk: Any = VHDX(stream)

        def read(length: int, offset: int) -> bytes:
            disk.seek(offset)
            data: bytes = disk.read(length)
            return data

        yield "dissect", read


def _small(read: Callable[[int, int], bytes], spots: list[int]) -> None:
    for spot in spots:
        read(SMALL, spot)


def _bare_small(descriptor: int, spots: list[int]) -> None:
    pread = os.pread
    for spot in spots:
        pread(descriptor, SMALL, spot)


def _small_reader(read: Callable[[int, int], bytes], spots: list[int]) -> Callable[[], None]:
    return lambda: _small(read, spots)


def _large_into(read: Callable[[bytearray, int], None], buffer: bytearray) -> None:
    for offset in range(0, SIZE, MIB):
        read(buffer, offset)


def _bare_large(descriptor: int, buffer: bytearray, first: int = 0) -> None:
    for offset in range(first, first + SIZE, MIB):
        os.preadv(descriptor, (buffer,), offset)


def _large_reader(read: Callable[[int, int], bytes]) -> Callable[[], None]:
    def run() -> None:
        for offset in range(0, SIZE, MIB):
            read(MIB, offset)

    return run
