"""Measuring fairly: warm up, take turns, keep every round, compare rounds in pairs; and telling the results.

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
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    Contestant = Callable[[], object]

OURS = "vhdx"
PAIRS = 9
"""Rounds: on a machine that does other things, too, fewer pairs tell little."""


class Taken(float):
    """Seconds, or anything else that was measured: the median of all rounds, which stay with it."""

    rounds: tuple[float, ...]

    def __new__(
        cls, rounds: Iterable[float], choose: Callable[[Sequence[float]], float] = statistics.median
    ) -> Self:
        """The chosen one of the rounds, which are kept in their order."""
        kept = tuple(rounds)
        taken = super().__new__(cls, choose(kept))
        taken.rounds = kept
        return taken

    def __truediv__(self, count: float) -> Taken:
        """The same for one of ``count`` things that were done."""
        return Taken((each / count for each in self.rounds), lambda _: float(self) / count)

    @property
    def spread(self) -> float:
        """Between the quartiles, as a share of the median."""
        if len(self.rounds) < 2 or not self:
            return 0.0
        low, _, high = statistics.quantiles(self.rounds, n=4)
        return (high - low) / float(self)


def paired(ours: float, theirs: float) -> float | None:
    """How many times as much the other one took, by the median of the pairs of one round each."""
    if isinstance(ours, Taken) and isinstance(theirs, Taken) and len(ours.rounds) == len(theirs.rounds):
        return statistics.median(b / a for a, b in zip(ours.rounds, theirs.rounds, strict=True))
    return theirs / ours if ours else None


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
        """How many times as much the other one takes, by pairs of rounds where there are any."""
        return paired(self.ours, self.theirs) if self.ours and self.theirs is not None else None

    @property
    def spread(self) -> float | None:
        """How far our own rounds lie apart, as a share of their median."""
        return self.ours.spread if isinstance(self.ours, Taken) else None


def rows_of(
    what: str, found: Mapping[str, float], aims: Mapping[str, Aim] | None = None, unit: str = "s"
) -> list[Row]:
    """Our figure beside each of the others; ``aims`` by the other's name."""
    rows = []
    for name, theirs in found.items():
        if name != OURS:
            aim = (aims or {}).get(name)
            ratio = paired(found[OURS], theirs)
            met = aim.met(1.0, ratio) if aim and ratio is not None else None
            rows.append(Row(what, found[OURS], name, theirs, unit, aim.words if aim else "", met))
    return rows


COPIED = "dd conv=fdatasync"
FLUSHED = Aim("at most 1.1x of a flushed copy", lambda ours, theirs: ours <= 1.1 * theirs)


def flushed_copy(source: Path, target: Path) -> Contestant:
    """A copy of a file that is durable at its end: what writing so much takes at least."""
    return command("dd", f"if={source}", f"of={target}", "bs=1M", "conv=fdatasync", "status=none")


def limit_row(what: str, ours: float, limit: float, unit: str, aim: str) -> Row:
    """Our figure beside a limit."""
    return Row(what, ours, "limit", limit, unit, aim, ours <= limit)


def take_turns(
    contestants: Mapping[str, Contestant],
    rounds: int = PAIRS,
    *,
    choose: Callable[[Sequence[float]], float] = statistics.median,
    before: Callable[[], None] | None = None,
) -> dict[str, Taken]:
    """Seconds of each contestant, in so many rounds.

    One more warms up; in each round somebody else begins. ``before`` runs before each contestant,
    outside the time.
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
    return {name: Taken(values, choose) for name, values in times.items()}


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
    head = ("measured", "vhdx", "spread", "against", "theirs", "ratio", "aim", "met")
    cells = [head, *map(_cells, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = []
    for row in cells:
        aligned = [
            cell.rjust(width) if column in (1, 2, 4, 5) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(aligned).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ratio is None or row.against == "limit" else f"{row.ratio:.2f}x"
    met = {True: "yes", False: "NO", None: ""}[row.met]
    aim = f"Aim: {row.aim}" if row.aim else ""
    spread = "" if row.spread is None else f"±{row.spread / 2:.0%}"
    ours, theirs = figure(row.ours, row.unit), figure(row.theirs, row.unit)
    return row.what, ours, spread, row.against, theirs, ratio, aim, met


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
        "rows": [{**vars(row), "ratio": row.ratio, "spread": row.spread} for row in rows],
    }
    path.write_text(json.dumps(report, indent=2) + "\n")


def remember(rows: Iterable[Row], folder: Path, revision: str) -> Path:
    """Append the ratios of a run to the file of machines like this one, a line of JSON for each run."""
    path = folder / f"{sys.platform}-{platform.machine()}-{os.cpu_count()}cpu.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    ratios = {f"{row.what} / {row.against}": round(row.ratio, 3) for row in rows if row.ratio is not None}
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with path.open("a") as file:
        file.write(json.dumps({"when": when, "revision": revision, "ratios": ratios}) + "\n")
    return path


def _version(program: str) -> str | None:
    if not have(program):
        return None
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]
