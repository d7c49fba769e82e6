"""Closing lines: shares, times, and signs that every terminal can show."""

import io
import os
from typing import Any

import pytest

from tests.support.layout import GIB, KIB, MIB
from vhdx.cli import render
from vhdx.cli.costs import Stopwatch, change, duration


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (9 * GIB // 4, 484 * MIB, "2.25 GiB → 484 MiB (\u221279 %)"),
        (GIB, GIB, "1 GiB as before"),
        (0, MIB, "0 bytes → 1 MiB"),
        (MIB, 0, "1 MiB → 0 bytes (\u2212100 %)"),
        (GIB, KIB, "1 GiB → 1 KiB (\u221299 %)"),
        (GIB, GIB - 1, "1 GiB → 1024 MiB (\u2212<1 %)"),
        (GIB, 2 * GIB, "1 GiB → 2 GiB (+100 %)"),
        (MIB, 10 * MIB, "1 MiB → 10 MiB"),
    ],
)
def test_changes(before: int, after: int, said: str) -> None:
    assert change(before, after) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(3.04, "3.0 s"), (10, "10 s"), (119.4, "119 s"), (130, "2 min 10 s"), (7380, "2 h 3 min")],
)
def test_times(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_what_is_quick_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("vhdx.cli.costs.time.monotonic", lambda: now[0])
    watch = Stopwatch()
    now[0] += 2.9
    assert watch.told(", made") == ""
    now[0] += 7.1
    assert watch.told(", made") == ", made in 10 s"


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests of this process asked for with -v is forgotten."""
    monkeypatch.setattr(render, "_verbose", False)


class Terminal(io.StringIO):
    """A stream that is one, of some encoding."""

    encoding: Any = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("locale", "encoding", "plain"),
    [
        ("C.UTF-8", "utf-8", False),
        ("de_DE.utf8", "utf-8", False),
        ("C", "utf-8", True),
        ("", "utf-8", True),
        ("de_DE.ISO-8859-1", "latin-1", True),
        ("C.UTF-8", "ascii", True),
    ],
)
def test_signs_of_terminals(locale: str, encoding: str, plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(terminal, "encoding", encoding)
    monkeypatch.setattr("sys.stdout", terminal)
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", locale)
    assert render.signs("└─ 1 → 2 (\u22121 %)") == ("`- 1 -> 2 (-1 %)" if plain else "└─ 1 → 2 (\u22121 %)")


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert render.painted("error", "31") == "error"
    monkeypatch.setattr("sys.stdout", Terminal())
    if os.name == "nt":  # no console is behind it
        assert render.painted("error", "31") == "error"
        monkeypatch.setattr("vhdx.cli.windows_console.shows_colours", lambda: True)
    assert render.painted("error", "31") == "\x1b[31merror\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert render.painted("error", "31") == "error"
