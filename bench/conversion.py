"""Converting raw to VHDX and back, whole processes from start to exit; ours flush before they end."""

from __future__ import annotations

import os
import random
from functools import partial
from typing import TYPE_CHECKING

import vhdx
from bench.harness import Aim, command, have, our_command, rows_of, take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.harness import Contestant, Row

MIB = 1 << 20
FULL_SIZE = 512 * MIB
SPARSE_SIZE = 4096 * MIB

UNFLUSHED = "vhdx --no-sync"
LEVEL = Aim("at least as fast as qemu-img", lambda ours, theirs: ours <= theirs)
FAST = Aim("1.5x as fast as qemu-img", lambda ours, theirs: 1.5 * ours <= theirs)
TWICE = Aim("twice as fast as qemu-img", lambda ours, theirs: 2 * ours <= theirs)


def measure(folder: Path) -> Iterator[Row]:
    """A full disk of 512 MiB, and one of 4 GiB of which 1 % is used."""
    for name, size, used in (("full 512 MiB", FULL_SIZE, 1.0), ("1 % of 4 GiB", SPARSE_SIZE, 0.01)):
        raw, image = folder / "source.raw", folder / "source.vhdx"
        fill(raw, size, used)
        vhdx.convert(raw, image, overwrite=True)
        # -t writeback makes qemu-img flush at its end, as we do; its default does not
        aims = {
            "qemu-img -t writeback": FAST if used == 1.0 else TWICE,
            "qemu-img": LEVEL if used == 1.0 else TWICE,
        }
        for what, source, suffix in (("raw to VHDX", raw, "vhdx"), ("VHDX to raw", image, "raw")):
            target = folder / f"target.{suffix}"
            found = take_turns(_contestants(source, target), before=partial(tidy, target))
            tidy(target)
            unflushed = {"vhdx": found.pop(UNFLUSHED)}
            if "qemu-img" in found:  # which does not flush, either
                unflushed["qemu-img"] = found.pop("qemu-img")
                yield from rows_of(f"{what}, {name}, --no-sync", unflushed, aims)
            yield from rows_of(f"{what}, {name}", found, aims)


def _contestants(source: Path, target: Path) -> dict[str, Contestant]:
    formats = ("-f", source.suffix[1:], "-O", target.suffix[1:])
    contestants: dict[str, Contestant] = {
        "vhdx": command(*our_command(), "convert", source, target),
        UNFLUSHED: command(*our_command(), "convert", "--no-sync", source, target),
    }
    if have("qemu-img"):
        convert = ("qemu-img", "convert", *formats)
        contestants["qemu-img -t writeback"] = command(*convert, "-t", "writeback", source, target)
        contestants["qemu-img"] = command(*convert, source, target)
    contestants["cp --sparse=auto"] = command("cp", "--sparse=auto", source, target)
    dd = ("dd", f"if={source}", f"of={target}", "bs=1M", "conv=fdatasync,sparse", "status=none")
    contestants["dd conv=fdatasync"] = command(*dd)
    return contestants


def fill(raw: Path, size: int, used: float) -> None:
    """Random MiB, evenly scattered."""
    chance = random.Random(2)
    count = round(size // MIB * used)
    with open(raw, "wb") as file:
        file.truncate(size)
        for number in range(count):
            file.seek(number * size // count // MIB * MIB)
            file.write(chance.randbytes(MIB))


def tidy(target: Path) -> None:
    """Nobody pays for the file, or for the unwritten pages, of somebody else."""
    target.unlink(missing_ok=True)
    os.sync()
