"""Many small images: `fleet` against loops of a shell over `qemu-img check` and over our own verbs."""

from __future__ import annotations

import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING

import vhdx
from bench.harness import OURS, Aim, Taken, have, our_command, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.harness import Row

IMAGES = 2000
LOOPED = 20
"""Images of a loop: each costs the same."""
ROUNDS = 3
MIB = 1 << 20
LOOP = 'command=$1; shift; for image in "$@"; do $command "$image" >/dev/null; done'


def measure(folder: Path) -> Iterator[Row]:
    """Seconds for each image."""
    images = list(make(folder / "images", IMAGES))
    looped = images[:LOOPED]
    for verb in ("info", "check"):
        contestants = {
            OURS: (partial(fleet, folder, verb, "--processes", "2"), IMAGES),
            f"a loop over vhdx {verb}": (partial(loop, [*our_command(), verb], looped), LOOPED),
        }
        if have("qemu-img"):
            contestants["a loop over qemu-img check"] = (partial(loop, ["qemu-img", "check"], looped), LOOPED)
        yield from rows_of(f"fleet {verb} of {IMAGES} images, for each", compared(contestants), AIMS)
    scaling = {
        OURS: (partial(fleet, folder, "check", "--processes", "2"), IMAGES),
        "one process": (partial(fleet, folder, "check", "--processes", "1"), IMAGES),
        "threads": (partial(fleet, folder, "check"), IMAGES),
    }
    yield from rows_of(f"fleet check of {IMAGES} images by two processes, for each", compared(scaling))


AIMS = {
    "a loop over vhdx info": Aim("at least 20x the loop", lambda ours, theirs: theirs >= 20 * ours),
    "a loop over vhdx check": Aim("at least 20x the loop", lambda ours, theirs: theirs >= 20 * ours),
    "a loop over qemu-img check": Aim("at least 3x QEMU's loop", lambda ours, theirs: theirs >= 3 * ours),
}


def make(folder: Path, count: int) -> Iterator[Path]:
    """Small images, each with some data."""
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:05}.vhdx"
        vhdx.create(path, 64 * MIB, block_size=MIB)
        with vhdx.open(path, "r+") as disk:
            disk.pwrite(b"x" * 4096, number % 60 * MIB)
        yield path


def fleet(folder: Path, verb: str, *options: str) -> None:
    """One run over all images, its report as lines of JSON."""
    words = [*our_command(), "fleet", verb, f"{folder}/images", "-o", f"{folder}/report.jsonl", "--force"]
    words += options
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def loop(command: Sequence[str], images: Sequence[Path]) -> None:
    """A shell that starts a program for each image."""
    subprocess.run(["sh", "-c", LOOP, "sh", " ".join(command), *images], check=True)


def compared(contestants: Mapping[str, tuple[Callable[[], None], int]]) -> dict[str, Taken]:
    """Seconds for each image, in turns; one round more warms up."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(ROUNDS + 1):
        for name, (contestant, count) in contestants.items():
            begin = time.perf_counter()
            contestant()
            if number:
                times[name].append((time.perf_counter() - begin) / count)
    return {name: Taken(rounds) for name, rounds in times.items()}
