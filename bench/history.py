"""How the ratios to others went from run to run, as a picture: ``python -m bench.history`` draws it anew."""

from __future__ import annotations

import json
import math
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RESULTS = Path(__file__).with_name("results")
PICTURE = Path(__file__).parents[1] / "docs" / "ratios.svg"
_FEWEST = 2
"""Runs in which a row has to be: one point is no way."""
_LIMIT = " / limit"
_ROW, _TOP, _LABEL, _CHART, _RIGHT = 20, 40, 470, 260, 90
_LONGEST = 64
"""Characters of a name."""
_LOWEST, _HIGHEST = 1 / 16, 64
"""Ratios at the ends of the scale; what lies beyond stands there."""
_FONT = 'font-family="DejaVu Sans, Verdana, sans-serif" font-size="12"'
_AHEAD, _BEHIND = "#1a7f37", "#b35900"


class Course(NamedTuple):
    """A row of the bench: the numbers of the runs in which it is, and its ratio in each."""

    name: str
    points: tuple[tuple[int, float], ...]


def runs_in(text: str) -> list[dict[str, object]]:
    """What a file of results says, the oldest run first."""
    return sorted((json.loads(line) for line in text.splitlines()), key=lambda run: str(run["when"]))


def courses(runs: Sequence[dict[str, object]]) -> Iterator[Course]:
    """The rows that are in several runs and measure others, by the ratio of the last one.

    Those that are measured no more are left out: what is in no run since the last whole one.
    """
    largest = max(len(_ratios(run)) for run in runs)
    whole = max(at for at, run in enumerate(runs) if 2 * len(_ratios(run)) >= largest)
    names = {name: None for run in runs[whole:] for name in _ratios(run) if not name.endswith(_LIMIT)}
    found = (
        Course(name, tuple((at, _ratios(run)[name]) for at, run in enumerate(runs) if name in _ratios(run)))
        for name in names
    )
    several = [course for course in found if len(course.points) >= _FEWEST]
    yield from sorted(several, key=lambda course: (course.points[-1][1], course.name))


def _ratios(run: dict[str, object]) -> dict[str, float]:
    ratios = run["ratios"]
    assert isinstance(ratios, dict)
    return ratios


def picture(runs: Sequence[dict[str, object]]) -> str:
    """All rows one below the other: what was measured, its way, where it is now."""
    rows = list(courses(runs))
    height, width = _TOP + _ROW * len(rows) + 30, _LABEL + _CHART + _RIGHT
    level, last = _across(1.0), max(1, len(runs) - 1)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {_FONT}>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="8" y="20" font-weight="bold">{_title(runs)}</text>',
        f'<line x1="{level:.1f}" y1="{_TOP - 8}" x2="{level:.1f}" y2="{height - 26}" stroke="#888888"/>',
    ]
    for number, course in enumerate(rows):
        lines += _row(course, _TOP + number * _ROW + 6, last)
    for ratio in (1 / 16, 1 / 4, 1, 4, 16, 64):
        text = f"{ratio:g}x" if ratio >= 1 else f"1/{1 / ratio:g}"
        place = f'x="{_across(ratio):.1f}" y="{height - 10}" text-anchor="middle"'
        lines.append(f'<text {place} fill="#555555">{text}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _title(runs: Sequence[dict[str, object]]) -> str:
    days = f"{str(runs[0]['when'])[:10]} to {str(runs[-1]['when'])[:10]}"
    return f"How many times as much others take, {days}, the newest filled; right of the line we take less"


def _row(course: Course, y: int, last: int) -> Iterator[str]:
    final = course.points[-1][1]
    colour = _AHEAD if final >= 1 else _BEHIND
    name = course.name if len(course.name) <= _LONGEST else f"{course.name[: _LONGEST - 1]}…"
    yield f'<text x="{_LABEL - 12}" y="{y + 4}" text-anchor="end">{escape(name)}</text>'
    places = [(_across(ratio), run) for run, ratio in course.points]
    ends = min(x for x, _ in places), max(x for x, _ in places)
    yield f'<line x1="{ends[0]:.1f}" y1="{y}" x2="{ends[1]:.1f}" y2="{y}" stroke="#cccccc" stroke-width="3"/>'
    for x, run in places[:-1]:
        yield f'<circle cx="{x:.1f}" cy="{y}" r="{2 + 2 * run / last:.1f}" fill="#ffffff" stroke="{colour}"/>'
    yield f'<circle cx="{places[-1][0]:.1f}" cy="{y}" r="4.5" fill="{colour}"/>'
    yield f'<text x="{_LABEL + _CHART + 16}" y="{y + 4}" fill="{colour}">{final:.2f}x</text>'


def _across(ratio: float) -> float:
    """Where a ratio stands, on a scale of powers."""
    share = math.log(min(max(ratio, _LOWEST), _HIGHEST) / _LOWEST) / math.log(_HIGHEST / _LOWEST)
    return _LABEL + share * _CHART


def draw() -> Path:
    """Put the picture of the machines that were measured most into the documentation; its file."""
    runs = max((runs_in(path.read_text()) for path in RESULTS.glob("*.jsonl")), key=len)
    PICTURE.write_text(picture(runs))
    return PICTURE


if __name__ == "__main__":
    draw()
