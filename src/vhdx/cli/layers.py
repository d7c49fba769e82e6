"""How maps call layers, and what is in them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vhdx.cli.render import fragmentation_text
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
_LONG_RUN = 64 * MIB
"""Bytes that are read in a row faster than a disk finds another place."""


def layer_names(chain: Sequence[str]) -> dict[int, str]:
    """What the layers are called, by depth: as their files, in full where two have the same name."""
    short = [os.path.basename(path) for path in chain]
    names = chain if len({*short}) < len(short) else short
    return {depth: printable(name) for depth, name in enumerate(names, 1)}


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
