"""A chain of images in a folder, what each must hold, and running the command on them."""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID  # noqa: TC003  as in all other files

import vhdx
from tests.cli.running import COMMAND, Ran
from tests.support.layout import KIB, MIB

from .reference import Reference
from .report import Report

SMALL = 128 * MIB
"""Disks up to here are looked at as a whole; of larger ones what anybody wrote to, and samples."""
WINDOW = 3 * MIB
WINDOWS = 8
WHOLE_BLOCKS = 0.25
"""The share of ranges that are whole blocks: these change more than contents."""
GRACE = 90

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
        done = subprocess.run(
            [*COMMAND, *words], input=source, capture_output=True, check=False, cwd=self.folder
        )
        self.seconds[words[0]] = time.monotonic() - began
        ran = Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in ran.err, ran.err
        return ran

    def succeed(self, *arguments: Word, source: bytes = b"") -> str:
        done = self.run(*arguments, source=source)
        assert done.code == 0, f"exit code {done.code}: {done.out}{done.err}"
        return done.out

    def as_json(self, *arguments: Word) -> Any:
        return json.loads(self.succeed(*arguments, "--json"))

    def break_off(self, *arguments: Word, source: bytes = b"") -> bool:
        """The command, ended by a signal in its middle; whether it was faster than the signal.

        The signal comes a moment after the command began to change files, or at some time.
        """
        words = [str(word) for word in arguments]
        number = self.chance.choices((signal.SIGKILL, signal.SIGINT), (4, 1))[0]
        awaits_change, share = self.chance.random() < 0.7, self.chance.random()
        usual = self.seconds.get(words[0], 0.5)
        self.report.say(f"vhdx {' '.join(words)} [{number.name} under way]")
        before = self._stamps()
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile("w+") as said:
            given.write(source)
            given.seek(0)
            process = subprocess.Popen(
                [*COMMAND, *words], stdin=given, stdout=subprocess.DEVNULL, stderr=said, cwd=self.folder
            )
            if awaits_change:
                self._await_change(process, before)
                time.sleep(0.2 * share**4)
            else:
                time.sleep(usual * (0.3 + share))
            process.send_signal(number)
            process.wait(GRACE)
            said.seek(0)
            errors = said.read()
        finished = process.returncode == 0
        self.report.count(
            "commands that finished before the signal" if finished else f"{number.name} {words[0]}"
        )
        assert process.returncode in (0, -number, 130), f"exit code {process.returncode}: {errors}"
        if self._stamps() != before:
            assert "Traceback" not in errors, errors
        return finished

    def _await_change(self, process: "subprocess.Popen[bytes]", before: list[tuple[str, int, int]]) -> None:
        deadline = time.monotonic() + GRACE
        while process.poll() is None and self._stamps() == before and time.monotonic() < deadline:
            time.sleep(0.0002)

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
