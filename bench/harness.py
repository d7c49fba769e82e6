"""Measuring fairly: warm up, take turns, keep the median or the least; and telling the results.

A subject is a module with a function ``measure(folder)`` that yields rows; its name stands in
``bench.__main__.SUBJECTS``. ``folder`` is an empty directory of its own, removed afterwards.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    Contestant = Callable[[], object]

OURS = "vhdx"


@dataclass(frozen=True)
class Aim:
    """What was aimed at, in words, and whether a pair (ours, theirs) is there."""

    words: str
    met: Callable[[float, float], bool]


@dataclass(frozen=True)
class Row:
    """One comparison. ``ours`` and ``theirs`` are in ``unit``; less is better. None: not available here."""

    what: str
    ours: float | None
    against: str
    theirs: float | None
    unit: str = "s"
    aim: str = ""
    met: bool | None = None

    @property
    def ratio(self) -> float | None:
        """How many times as much the other one takes."""
        return self.theirs / self.ours if self.ours and self.theirs is not None else None


def rows_of(
    what: str, found: Mapping[str, float], aims: Mapping[str, Aim] | None = None, unit: str = "s"
) -> list[Row]:
    """Our figure beside each of the others; ``aims`` by the other's name."""
    rows = []
    for name, theirs in found.items():
        if name != OURS:
            aim = (aims or {}).get(name)
            met = aim.met(found[OURS], theirs) if aim else None
            rows.append(Row(what, found[OURS], name, theirs, unit, aim.words if aim else "", met))
    return rows


def limit_row(what: str, ours: float, limit: float, unit: str, aim: str) -> Row:
    """Our figure beside a limit."""
    return Row(what, ours, "limit", limit, unit, aim, ours <= limit)


def take_turns(
    contestants: Mapping[str, Contestant],
    rounds: int,
    *,
    choose: Callable[[Sequence[float]], float] = statistics.median,
    before: Callable[[], None] | None = None,
) -> dict[str, float]:
    """Seconds of each contestant. One round warms up; in each round somebody else begins.

    ``before`` runs before each contestant, outside the time.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds + 1):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            if before is not None:
                before()
            begin = time.perf_counter()
            contestants[name]()
            taken = time.perf_counter() - begin
            if number:
                times[name].append(taken)
    return {name: choose(values) for name, values in times.items()}


def command(*words: str | Path) -> Contestant:
    """A program that must succeed, its output thrown away."""

    def run() -> None:
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)

    return run


def our_command() -> list[str]:
    """The installed console script, else the module."""
    script = os.path.join(os.path.dirname(sys.executable), "vhdx")
    return [script] if os.path.exists(script) else [sys.executable, "-m", "vhdx"]


def have(*programs: str) -> bool:
    """Whether all programs are installed."""
    return all(shutil.which(program) for program in programs)


def show(rows: Iterable[Row]) -> str:
    """The rows as a table."""
    head = ("measured", "vhdx", "against", "theirs", "ratio", "aim", "met")
    cells = [head, *map(_cells, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = []
    for row in cells:
        aligned = [
            cell.rjust(width) if column in (1, 3, 4) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(aligned).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ratio is None or row.against == "limit" else f"{row.ratio:.2f}x"
    met = {True: "yes", False: "NO", None: ""}[row.met]
    aim = f"Aim: {row.aim}" if row.aim else ""
    return row.what, figure(row.ours, row.unit), row.against, figure(row.theirs, row.unit), ratio, aim, met


def figure(value: float | None, unit: str) -> str:
    """A number for people."""
    if value is None:
        return "-"
    if unit != "s":
        return f"{value:.1f} {unit}"
    for factor, name in ((1e6, "µs"), (1e3, "ms")):
        if value * factor < 1000:
            return f"{value * factor:.2f} {name}"
    return f"{value:.2f} s"


def save(rows: Iterable[Row], path: Path, seconds: float) -> None:
    """Write the rows and the circumstances as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(seconds, 1),
        "host": {
            "system": platform.platform(),
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "qemu-img": _version("qemu-img"),
        },
        "rows": [{**asdict(row), "ratio": row.ratio} for row in rows],
    }
    path.write_text(json.dumps(report, indent=2) + "\n")


def _version(program: str) -> str | None:
    if not have(program):
        return None
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]
