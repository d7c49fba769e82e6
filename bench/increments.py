"""What changed, as an image: by comparing two disks, and by the tables of a chain; whole processes."""

from __future__ import annotations

import random
import shutil
from functools import partial
from shlex import join
from typing import TYPE_CHECKING

import vhdx
from bench.conversion import MIB, fill, tidy
from bench.harness import OURS, command, have, our_command, rows_of, take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.harness import Contestant, Row

SIZE = 256 * MIB
CHANGED = 64
"""Places of 64 KiB."""


def measure(folder: Path) -> Iterator[Row]:
    """A full disk of 256 MiB of which 4 MiB changed, as a raw disk and as a child.

    The others make nothing: they only read, and stop at the first byte that differs, so theirs are equal.
    """
    raw, base = folder / "before.raw", folder / "base.vhdx"
    same, after = folder / "same.raw", folder / "after.raw"
    fill(raw, SIZE, 1.0)
    vhdx.convert(raw, base)
    shutil.copyfile(raw, same)
    shutil.copyfile(raw, after)
    child, target = folder / "child.avhdx", folder / "target.avhdx"
    vhdx.create(child, parent=base)
    chance = random.Random(3)
    with open(after, "r+b") as file, vhdx.open(child, "r+") as disk:
        for number in range(CHANGED):
            place, data = number * SIZE // CHANGED, chance.randbytes(MIB // 16)
            file.seek(place)
            file.write(data)
            disk.pwrite(data, place)
    by_comparing = command(*our_command(), "create", target, "--parent", base, "--from", after)
    comparing: dict[str, Contestant] = {OURS: by_comparing}
    if have("qemu-img"):
        compare = ("qemu-img", "compare", "-f", "vhdx", "-F", "raw")
        comparing["qemu-img compare of equal disks"] = command(*compare, base, same)
    comparing["cmp of equal raw disks"] = command("cmp", raw, same)
    found = take_turns(comparing, before=partial(tidy, target))
    yield from rows_of("increment by comparing, 4 MiB of 256 MiB", found)
    ours = join(map(str, our_command()))
    by_tables: dict[str, Contestant] = {
        OURS: command("bash", "-c", f"{ours} diff {child} --export - >{target} 2>/dev/null"),
        "by comparing": by_comparing,
    }
    found = take_turns(by_tables, before=partial(tidy, target))
    yield from rows_of("increment by tables, 4 MiB of 256 MiB", found)
