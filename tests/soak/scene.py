"""A chain of images in a folder, what each must hold, and running the command on them."""

import itertools
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID  # noqa: TC003  as in all other files

import vhdx
from tests.cli.running import Ran
from tests.support.layout import KIB, MIB
from vhdx.cli.show_check import EXIT_WARNINGS

from .processes import GRACE, Manner, Process
from .reference import Reference
from .report import Report

SMALL = 128 * MIB
"""Disks up to here are looked at as a whole; of larger ones what anybody wrote to, and samples."""
WINDOW = 3 * MIB
WINDOWS = 8
WHOLE_BLOCKS = 0.25
"""The share of ranges that are whole blocks: these change more than contents."""
FRESH = 0.2
"""The share of commands that begin from nothing, as a shell starts them."""
FLUSH_SECONDS = (0, 0, 0.002, 0.01, 0.05)
"""How long flushes take, in forks: hosts in memory have none, and then no signal comes between two."""
LAST_FLUSH = 15
_MOMENTS = {"after a flush": 4, "after a change": 4, "at any time": 2}
"""When commands are broken off, and how often."""

Word = str | Path | int
"""An argument of the command."""


class Layer(NamedTuple):
    """One image, what a disk that ends here must hold, and its block size."""

    path: Path
    reference: Reference
    block_size: int


class Scene:
    """What actions work on. The last of ``layers`` is the one that is written to."""

    def __init__(self, folder: Path, chance: random.Random, report: Report) -> None:
        self.folder = folder
        self.chance = chance
        self.report = report
        self.layers: list[Layer] = []
        self.items: dict[UUID, bytes] = {}
        """User items of the leaf."""
        self.seconds: dict[str, float] = {}
        """How long each verb took when it was let finish."""
        self._names = itertools.count(1)
        self._changes = itertools.count(1)

    @property
    def leaf(self) -> Layer:
        return self.layers[-1]

    @property
    def size(self) -> int:
        return self.leaf.reference.size

    @property
    def sector_size(self) -> int:
        with vhdx.open(self.leaf.path) as disk:
            return disk.logical_sector_size

    def new_name(self, suffix: str = ".vhdx") -> Path:
        return self.folder / f"{next(self._names)}{suffix}"

    def next_change(self) -> int:
        """A number that no other change has; from any thread."""
        return next(self._changes)

    def windows(self) -> list[tuple[int, int]]:
        """(start, end) of the parts of the disk that are used: all of it, or some places of a large one."""
        if self.size <= SMALL:
            return [(0, self.size)]
        chosen = random.Random(self.size)
        blocks = [chosen.randrange(1, self.size // self.leaf.block_size) for _ in range(WINDOWS)]
        starts = [0, self.size - WINDOW, *(block * self.leaf.block_size - MIB for block in blocks)]
        return [(start, start + WINDOW) for start in starts if start + WINDOW <= self.size]

    def range(self, longest: int) -> tuple[int, int]:
        """(offset, length) somewhere in the used parts; often at a border of blocks or sectors."""
        return some_range(self.chance, self.windows(), self.leaf.block_size, longest)

    def run(self, *arguments: Word, source: bytes = b"") -> Ran:
        """The command, let finish; ``source`` is its standard input."""
        words = [str(word) for word in arguments]
        self.report.say("vhdx " + " ".join(words))
        began = time.monotonic()
        ran = self.start(words, source).wait()
        self.seconds[words[0]] = time.monotonic() - began
        assert "Traceback" not in ran.err, ran.err
        return ran

    def start(self, words: list[str], source: bytes = b"", last_flush: int = 0) -> Process:
        """The command, under way; killed after the flush of a number, where that is not 0."""
        fresh = not last_flush and self.chance.random() < FRESH
        return Process(
            words, self.folder, Manner(fresh, self.chance.choice(FLUSH_SECONDS), last_flush), source
        )

    def succeed(self, *arguments: Word, source: bytes = b"") -> str:
        done = self.run(*arguments, source=source)
        assert done.code == 0, f"exit code {done.code}: {done.out}{done.err}"
        return done.out

    def as_json(self, *arguments: Word) -> Any:
        return json.loads(self.succeed(*arguments, "--json"))

    def break_off(self, *arguments: Word, source: bytes = b"") -> bool:
        """The command, ended by a signal in its middle; whether it was faster than the signal.

        After a flush, a moment after the command began to change files, or at any time.
        """
        words = [str(word) for word in arguments]
        when = self.chance.choices(list(_MOMENTS), list(_MOMENTS.values()))[0]
        number = self.chance.choices((signal.SIGKILL, signal.SIGINT), (3, 1))[0]
        flush = self.chance.randint(1, LAST_FLUSH) if when == "after a flush" else 0
        if flush:
            number = signal.SIGKILL
        self.report.say(f"vhdx {' '.join(words)} [{number.name} {when} {flush or ''}]")
        before = self._stamps()
        process = self.start(words, source, flush)
        if not flush:
            self._await_moment(process, when, before, self.seconds.get(words[0], 0.5))
            process.signal(number)
        ran = process.wait()
        finished = ran.code == 0 or (words[0] == "repair" and ran.code == EXIT_WARNINGS)
        self.report.count("signals that came too late" if finished else f"{number.name} {words[0]}")
        if self._stamps() != before:  # else Python itself may have been interrupted in its beginning
            assert finished or ran.code in (-number, 130), f"exit code {ran.code}: {ran.err}"
            assert "Traceback" not in ran.err, ran.err
        return finished

    def _await_moment(
        self, process: Process, when: str, before: list[tuple[str, int, int]], usual: float
    ) -> None:
        share, deadline = self.chance.random(), time.monotonic() + GRACE
        if when == "at any time":
            time.sleep(usual * (0.1 + share))
            return
        while process.is_running() and self._stamps() == before and time.monotonic() < deadline:
            time.sleep(0.0002)
        time.sleep(0.2 * share**4)

    def _stamps(self) -> list[tuple[str, int, int]]:
        with os.scandir(self.folder) as entries:
            found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
        return sorted((name, status.st_mtime_ns, status.st_size) for name, status in found)

    def drop(self, layers: Sequence[Layer]) -> None:
        """Remove images that are no part of the chain any more."""
        for layer in layers:
            layer.path.unlink(missing_ok=True)
            layer.reference.remove()
            self.layers.remove(layer)

    def only_known_files(self) -> Iterator[Path]:
        """Remove what commands that were killed left behind, and tell it."""
        known = {path for layer in self.layers for path in (layer.path, layer.reference.path)}
        for path in self.folder.iterdir():
            if path not in known:
                path.unlink()
                yield path

    def close(self) -> None:
        for layer in self.layers:
            layer.reference.close()
        shutil.rmtree(self.folder)


def some_range(
    chance: random.Random, windows: Sequence[tuple[int, int]], block_size: int, longest: int
) -> tuple[int, int]:
    """(offset, length) inside one of the windows, at least one byte."""
    start, end = chance.choice(windows)
    offset = chance.randrange(start, end)
    if chance.random() < WHOLE_BLOCKS and longest >= block_size:
        offset = max(start, offset - offset % block_size)
        return offset, min(chance.randint(1, 3) * block_size, longest, end - offset)
    unit = chance.choice((1, 512, 4096, 4096, 64 * KIB, MIB, block_size))
    offset = max(start, offset - offset % unit)
    length = min(chance.choice((1, 300, 512, 4096, 4608, 10_000, 64 * KIB, MIB, block_size)), longest)
    return offset, min(length, end - offset)
