"""The start of the command: ``vhdx info`` against the bare interpreter and ``qemu-img info``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import vhdx
from bench.harness import Aim, command, have, our_command, rows_of, take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.harness import Contestant, Row

ROUNDS = 25
AIMS = {"python -c pass": Aim("less than 10x the bare interpreter", lambda ours, theirs: ours < 10 * theirs)}


def measure(folder: Path) -> Iterator[Row]:
    """The least of many runs: everything above it is the machine's other work."""
    image = folder / "small.vhdx"
    vhdx.create(image, "10G")
    contestants: dict[str, Contestant] = {
        "vhdx": command(*our_command(), "info", image),
        "python -c pass": command(sys.executable, "-c", "pass"),
    }
    if have("qemu-img"):
        contestants["qemu-img info"] = command("qemu-img", "info", "-f", "vhdx", image)
    yield from rows_of("vhdx info", take_turns(contestants, ROUNDS, choose=min), AIMS)
