"""Converting by shared space, on an XFS of this host: whole processes, which need root to mount it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from functools import partial
from typing import TYPE_CHECKING

from bench.conversion import MIB, fill, tidy
from bench.harness import Aim, command, have, our_command, rows_of, take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.harness import Contestant, Row

SIZE = 1024 * MIB
ROUNDS = 3
AIMS = dict.fromkeys(
    ("qemu-img", "cp --reflink=never"), Aim("20x as fast", lambda ours, theirs: 20 * ours <= theirs)
)


def measure(folder: Path) -> Iterator[Row]:
    """A full disk of 1 GiB, raw to VHDX."""
    if os.geteuid() != 0 or not have("mkfs.xfs"):
        return
    with _mounted(folder) as place:
        raw, target = place / "source.raw", place / "target.vhdx"
        fill(raw, SIZE, 1.0)
        os.sync()
        contestants: dict[str, Contestant] = {
            "vhdx": command(*our_command(), "convert", "--clone", "always", raw, target)
        }
        if have("qemu-img"):
            convert = ("qemu-img", "convert", "-f", "raw", "-O", "vhdx")
            contestants["qemu-img"] = command(*convert, "-t", "writeback", raw, target)
        contestants["cp --reflink=never"] = command("cp", "--reflink=never", raw, target)
        found = take_turns(contestants, ROUNDS, before=partial(tidy, target))
        yield from rows_of("raw to VHDX by shared space, full 1 GiB", found, AIMS)


@contextlib.contextmanager
def _mounted(folder: Path) -> Iterator[Path]:
    disk, place = folder / "xfs", folder / "mounted"
    with open(disk, "wb") as file:
        file.truncate(4 * SIZE)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(disk)], check=True)
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", str(disk), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
        disk.unlink()
