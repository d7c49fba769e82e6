"""Writing: allocation with many and few flushes, in place, and in sequence, against QEMU and bare calls."""

from __future__ import annotations

import os
import random
import subprocess
from typing import TYPE_CHECKING

import vhdx
from bench.harness import OURS, Aim, Row, have, rows_of, take_turns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vhdx import Disk

MIB = 1024 * 1024
BLOCK = b"\xa5" * 4096
PIECE = os.urandom(MIB)
SINGLE, BATCHED, EVERY, IN_PLACE, SEQUENTIAL = 200, 1280, 64, 50_000, 512
INTERVAL, LASTING = 5, 1_000_000
"""Seconds between commits of servers and mounts, and writes that take longer than that."""


class _Files:
    """An image and a raw file of one size, made anew before each measurement."""

    def __init__(self, folder: Path, block_size: str | None, size: int) -> None:
        self.image, self.raw = folder / "disk.vhdx", folder / "disk.raw"
        self._block_size, self._size = block_size, size

    def renew(self) -> None:
        vhdx.create(self.image, self._size, block_size=self._block_size, overwrite=True)
        self.raw.unlink(missing_ok=True)
        with self.raw.open("wb") as file:
            file.truncate(self._size)
        os.sync()

    def ours(self, work: Callable[[Disk], None]) -> Callable[[], None]:
        def run() -> None:
            with vhdx.open(self.image, "r+") as disk:
                work(disk)

        return run

    def bare(self, work: Callable[[int], None]) -> Callable[[], None]:
        def run() -> None:
            descriptor = os.open(self.raw, os.O_RDWR)
            work(descriptor)
            os.close(descriptor)

        return run

    def qemu(self, commands: list[str]) -> Callable[[], None]:
        words = ["qemu-io", "-f", "vhdx"]
        for command in commands:
            words += ["-c", command]

        def run() -> None:
            subprocess.run([*words, str(self.image)], check=True, stdout=subprocess.DEVNULL)

        return run


def measure(folder: Path) -> list[Row]:
    """All rows."""
    scattered = _Files(folder, "1M", 4096 * MIB)
    rows = _allocating(scattered, SINGLE, 1, "allocate 4 KiB, flush each", 3)
    rows += _allocating(scattered, BATCHED, EVERY, "allocate 4 KiB, flush every 64", 10)
    rows += _committing(_Files(folder, "1M", 64 * MIB))
    return rows + _in_place(_Files(folder, "1M", 256 * MIB)) + _in_sequence(_Files(folder, None, 1024 * MIB))


def _allocating(files: _Files, count: int, every: int, what: str, times: int) -> list[Row]:
    def ours(disk: Disk) -> None:
        for number in range(count):
            disk.pwrite(BLOCK, number * MIB)
            if (number + 1) % every == 0:
                disk.flush()

    def bare(descriptor: int) -> None:
        for number in range(count):
            os.pwrite(descriptor, BLOCK, number * MIB)
            if (number + 1) % every == 0:
                os.fdatasync(descriptor)

    commands = []
    for number in range(count):
        commands.append(f"write -q {number}M 4k")
        if (number + 1) % every == 0:
            commands.append("flush")
    contestants = {OURS: files.ours(ours), "os.pwrite + fdatasync": files.bare(bare)}
    if have("qemu-io"):
        contestants["qemu-io"] = files.qemu(commands)
    found = take_turns(contestants, 5, before=files.renew)
    aims = {"qemu-io": Aim(f"at least {times}x QEMU", lambda mine, theirs: theirs >= times * mine)}
    return rows_of(what, {name: seconds / count for name, seconds in found.items()}, aims)


def _in_place(files: _Files) -> list[Row]:
    files.renew()
    with vhdx.open(files.image, "r+") as disk:
        for offset in range(0, disk.size, MIB):
            disk.pwrite(PIECE, offset)
    with files.raw.open("r+b") as raw:
        for _ in range(256):
            raw.write(PIECE)
    chosen = random.Random(1)
    offsets = [chosen.randrange(256 * MIB // 4096) * 4096 for _ in range(IN_PLACE)]

    def ours(disk: Disk) -> None:
        for offset in offsets:
            disk.pwrite(BLOCK, offset)

    def bare(descriptor: int) -> None:
        for offset in offsets:
            os.pwrite(descriptor, BLOCK, offset)
        os.fdatasync(descriptor)

    contestants = {OURS: files.ours(ours), "os.pwrite": files.bare(bare)}
    found = take_turns(contestants)
    aims = {"os.pwrite": Aim("within 2.5x of os.pwrite", lambda mine, theirs: mine <= 2.5 * theirs)}
    what = "4 KiB random in place, one flush"
    return rows_of(what, {name: seconds / IN_PLACE for name, seconds in found.items()}, aims)


def _committing(files: _Files) -> list[Row]:
    """What it costs that a thread commits meanwhile, on writes for longer than an interval."""
    files.renew()
    chosen = random.Random(1)
    offsets = [chosen.randrange(64 * MIB // 4096) * 4096 for _ in range(IN_PLACE)]

    def writing(interval: float) -> Callable[[], None]:
        def run() -> None:
            with vhdx.open(files.image, "r+", commit_interval=interval) as disk:
                for _ in range(LASTING // IN_PLACE):
                    for offset in offsets:
                        disk.pwrite(BLOCK, offset)

        return run

    without = "no interval"
    found = take_turns({OURS: writing(INTERVAL), without: writing(0)})
    aims = {without: Aim("at most 3 % more", lambda mine, theirs: mine <= 1.03 * theirs)}
    what = f"4 KiB random, committed every {INTERVAL} s"
    return rows_of(what, {name: seconds / LASTING for name, seconds in found.items()}, aims)


def _in_sequence(files: _Files) -> list[Row]:
    def ours(disk: Disk) -> None:
        for number in range(SEQUENTIAL):
            disk.pwrite(PIECE, number * MIB)
        disk.flush()

    def bare(descriptor: int) -> None:
        for number in range(SEQUENTIAL):
            os.pwrite(descriptor, PIECE, number * MIB)
        os.fdatasync(descriptor)

    contestants = {OURS: files.ours(ours), "os.pwrite": files.bare(bare)}
    if have("qemu-io"):
        commands = [f"write -q {number}M 1M" for number in range(SEQUENTIAL)]
        contestants["qemu-io"] = files.qemu([*commands, "flush"])
    found = take_turns(contestants, 5, before=files.renew)
    aims = {"os.pwrite": Aim("at least 0.8x of raw", lambda mine, theirs: theirs >= 0.8 * mine)}
    what = "1 MiB in sequence, new image"
    return rows_of(what, {name: seconds / SEQUENTIAL for name, seconds in found.items()}, aims)
