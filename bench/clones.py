"""Converting by shared space, on an XFS of this host: whole processes, which need root to mount it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
from functools import partial
from typing import TYPE_CHECKING

from bench.conversion import MIB, fill, tidy
from bench.harness import OURS, Aim, command, have, limit_row, our_command, rows_of, take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.harness import Contestant, Row

SIZE = 256 * MIB
TIMES = 256
AIMS = dict.fromkeys(
    ("qemu-img", "cp --reflink=never"), Aim("20x as fast", lambda ours, theirs: 20 * ours <= theirs)
)
GIB = 1024 * MIB
_FICLONERANGE = 0x4020940D


def measure(folder: Path) -> Iterator[Row]:
    """A full disk of 64 GiB that stands 256 times in the space of 256 MiB; the others copy these.

    What they take grows with the size, and 64 GiB of theirs fit few disks.
    """
    if os.geteuid() != 0 or not have("mkfs.xfs"):
        return
    with _mounted(folder) as place:
        raw, large, target = place / "source.raw", place / "large.raw", place / "target.vhdx"
        fill(raw, SIZE, 1.0)
        _repeat(raw, large)
        os.sync()
        ours = command(*our_command(), "convert", "--clone", "always", large, target)
        share = 100 * _new_space(place, ours) / (TIMES * SIZE)
        yield limit_row("64 GiB raw to VHDX by shared space: new space", share, 0.1, "%", "under 0.1 %")
        contestants: dict[str, Contestant] = {OURS: ours}
        if have("qemu-img"):
            convert = ("qemu-img", "convert", "-f", "raw", "-O", "vhdx")
            contestants["qemu-img"] = command(*convert, "-t", "writeback", raw, target)
        contestants["cp --reflink=never"] = command("cp", "--reflink=never", raw, target)
        found = take_turns(contestants, before=partial(tidy, target))
        seconds = found[OURS]
        yield limit_row("64 GiB raw to VHDX by shared space", seconds, 2.0, "s", "under 2 s")
        gib = {name: (TIMES if name == OURS else 1) * SIZE / GIB for name in found}
        by_size = {name: taken / gib[name] for name, taken in found.items()}
        yield from rows_of("raw to VHDX by shared space, full, for each GiB", by_size, AIMS)


def _repeat(raw: Path, large: Path) -> None:
    """A file that has the contents of another many times, in its space."""
    with open(raw, "rb") as source, open(large, "wb") as target:
        for number in range(TIMES):
            place = struct.pack("=qQQQ", source.fileno(), 0, SIZE, number * SIZE)
            fcntl.ioctl(target.fileno(), _FICLONERANGE, place)


def _new_space(place: Path, contestant: Contestant) -> int:
    """Bytes of a file system that somebody takes."""
    before = os.statvfs(place)
    contestant()
    os.sync()
    return (before.f_bfree - os.statvfs(place).f_bfree) * before.f_frsize


@contextlib.contextmanager
def _mounted(folder: Path) -> Iterator[Path]:
    disk, place = folder / "xfs", folder / "mounted"
    with open(disk, "wb") as file:
        file.truncate(4 * GIB)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(disk)], check=True)
    place.mkdir()
    subprocess.run(["mount", "-o", "loop,discard", str(disk), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
        disk.unlink()
