"""The last figures in README: rows that have an aim, and the machine that they come from."""

from __future__ import annotations

import os
import platform
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.harness import figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.harness import Row

README = Path(__file__).parents[1] / "README.md"
ELSEWHERE = frozenset({"salvage", "shrink"})
"""Subjects whose figures are no costs: their tables stand in `docs/howto/`, or are printed only."""
_FIGURES = re.compile(r"(<!-- figures -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def update(rows: Iterable[Row]) -> None:
    """Put these figures where README shows the last ones."""
    text = README.read_text()
    lines = "".join(f"{line}\n" for line in _lines(rows))
    changed, count = _FIGURES.subn(lambda found: f"{found[1]}{lines}{found[2]}", text)
    assert count == 1, "README has no place for figures"
    README.write_text(changed)


def _lines(rows: Iterable[Row]) -> Iterator[str]:
    day, kernel = time.strftime("%Y-%m-%d", time.gmtime()), platform.release().partition("-")[0]
    yield (
        f"Measured on {day} with {os.cpu_count()} virtual CPUs, Linux {kernel}, "
        f"Python {platform.python_version()}; `make bench` shows all rows."
    )
    yield ""
    yield "| | vhdx | against | | aim | met |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        if row.aim:
            theirs = f"{row.against} | {figure(row.theirs, row.unit)}"
            met = "yes" if row.met else "**no**"
            yield f"| {row.what} | {figure(row.ours, row.unit)} | {theirs} | {row.aim} | {met} |"
