"""How maps call layers, and what is in them."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from vhdx.cli.render import fragmentation_text, signs
from vhdx.text import printable
from vhdx.units import MIB, format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

_CONTENTS = {
    ("data", "partially_present"): "data, in part",
    ("zero", "unmapped"): "zeros, trimmed",
    ("zero", "undefined"): "undefined",
    ("zero", "zero"): "zeros",
}
_LEAST_ROOM = 8
_LONG_RUN = 64 * MIB
"""Bytes that are read in a row faster than a disk finds another place."""


def layer_names(chain: Sequence[str], room: int | None = None) -> dict[int, str]:
    """What the layers are called, by depth: as their files, in full where two have the same name.

    In the middle of what has more than ``room`` characters stands ``…``, unless two were the same then.
    """
    short = [os.path.basename(path) for path in chain]
    names = [printable(name) for name in (chain if len({*short}) < len(short) else short)]
    fitting = names if room is None else [_fitted(name, room) for name in names]
    return dict(enumerate(names if len({*fitting}) < len({*names}) else fitting, 1))


def room_beside(width: int) -> int | None:
    """How many characters stand in a line of a terminal behind so many; None where none cuts lines."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return max(_LEAST_ROOM, shutil.get_terminal_size().columns - width)


def _fitted(name: str, room: int) -> str:
    if len(name) <= room:
        return name
    behind = room // 2
    return f"{name[: room - behind - 1]}{signs('…')}{name[-behind:]}"


def contents_text(kind: str, state: str) -> str:
    """What a run holds, in at most 14 characters."""
    return _CONTENTS.get((kind, state), kind)


def jumps_text(jumps: int, data: int) -> str:
    """How scattered ``data`` bytes are that go on ``jumps`` times elsewhere in the file."""
    if not jumps:
        return fragmentation_text(0)
    run = data // (jumps + 1)
    word = "little" if run >= _LONG_RUN else "some" if run >= _LONG_RUN // 8 else "much"
    return f"{word}, {jumps} jumps, {format_size(run)} in a row"
