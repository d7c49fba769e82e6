"""The start of the command: verbs that only look, against the bare interpreter and ``qemu-img``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import vhdx
from bench.harness import OURS, Aim, command, have, our_command, rows_of, take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.harness import Contestant, Row

ROUNDS = 25
BARE = "python -c pass"
AIMS = {BARE: Aim("at most 3x the bare interpreter", lambda ours, theirs: ours <= 3 * theirs)}
COMPLETION = ("env", "_VHDX_COMPLETE=bash_complete", "COMP_WORDS=vhdx inf", "COMP_CWORD=1")


def measure(folder: Path) -> Iterator[Row]:
    """The least of many runs: everything above it is the machine's other work."""
    image = folder / "small.vhdx"
    vhdx.create(image, "10G")
    script = our_command()
    ours = {
        "vhdx info": command(*script, "info", image),
        "vhdx check": command(*script, "check", image),
        "vhdx --version": command(*script, "--version"),
        "completion of a verb": command(*COMPLETION, *script),
    }
    others: dict[str, Contestant] = {BARE: command(sys.executable, "-c", "pass")}
    if have("qemu-img"):
        for verb in ("info", "check"):
            others[f"qemu-img {verb}"] = command("qemu-img", verb, "-f", "vhdx", image)
    taken = take_turns({**ours, **others}, ROUNDS, choose=min)
    for what in ours:
        against = [BARE, *(name for name in others if name.endswith(what.removeprefix("vhdx ")))]
        yield from rows_of(what, {OURS: taken[what], **{name: taken[name] for name in against}}, AIMS)
