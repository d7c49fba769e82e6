"""Converting through pipes: whole processes, the last of which throws everything away, or makes a file."""

from __future__ import annotations

from functools import partial
from shlex import join
from typing import TYPE_CHECKING

import vhdx
from bench.conversion import MIB, fill, tidy
from bench.harness import OURS, Aim, command, have, our_command, rows_of, take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.harness import Contestant, Row

SIZE = 512 * MIB
AIM = Aim("at least as fast", lambda ours, theirs: ours <= theirs)


def measure(folder: Path) -> Iterator[Row]:
    """A full disk of 512 MiB out of a VHDX into a pipe, and out of a pipe into a VHDX.

    qemu-img writes no pipes and reads none: it is given a file, and that to cat.
    """
    raw, image = folder / "source.raw", folder / "source.vhdx"
    fill(raw, SIZE, 1.0)
    vhdx.convert(raw, image)
    between, target = folder / "between.raw", folder / "target.vhdx"
    ours = join(map(str, our_command()))
    out: dict[str, Contestant] = {
        OURS: _shell(f"{ours} convert -O raw {image} - 2>/dev/null | cat >/dev/null")
    }
    into: dict[str, Contestant] = {OURS: _shell(f"cat {raw} | {ours} convert -f raw - {target}")}
    if have("qemu-img"):
        convert = "qemu-img convert -t writeback"
        out["qemu-img, a file, cat"] = _shell(
            f"{convert} -f vhdx -O raw {image} {between} && cat {between} >/dev/null"
        )
        into["cat, a file, qemu-img"] = _shell(
            f"cat {raw} >{between} && {convert} -f raw -O vhdx {between} {target}"
        )
    if have("nbdcopy", "qemu-nbd"):
        out["nbdcopy from qemu-nbd"] = _shell(
            f"nbdcopy -- [ qemu-nbd -r -f vhdx {image} ] - | cat >/dev/null"
        )
    for what, contestants in (("VHDX into a pipe", out), ("a pipe into VHDX", into)):
        found = take_turns(contestants, before=partial(_tidy, target, between))
        yield from rows_of(f"{what}, full 512 MiB", found, dict.fromkeys(contestants, AIM))


def _shell(line: str) -> Contestant:
    return command("bash", "-o", "pipefail", "-c", line)


def _tidy(target: Path, between: Path) -> None:
    tidy(target)
    tidy(between)
