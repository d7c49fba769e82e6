"""The colours of all pictures, here and in terminals: one meaning has one colour everywhere."""

from __future__ import annotations

from typing import NamedTuple


class Colour(NamedTuple):
    """A colour on a light and on a dark page; its name in terminals, None for the usual one, and number."""

    light: str
    dark: str
    terminal: str | None
    number: str


COLOURS = {
    "data": Colour("#1a7f37", "#3fb950", "green", "32"),
    "scattered": Colour("#0a7d91", "#39c5cf", "cyan", "36"),
    "zeros": Colour("#3b62c4", "#6c92f5", "blue", "34"),
    "nothing": Colour("#e3e6ea", "#30363d", None, "0"),
    "structure": Colour("#8250df", "#b78cff", "magenta", "35"),
    "free": Colour("#b8c0ca", "#586069", None, "0"),
    "leaked": Colour("#bc4c00", "#f0883e", "yellow", "33"),
    "ok": Colour("#1a7f37", "#3fb950", "green", "32"),
    "warnings": Colour("#8a6100", "#d9a514", "yellow", "33"),
    "failed": Colour("#8250df", "#b78cff", "magenta", "35"),
    "errors": Colour("#c3202b", "#ff7b72", "red", "31"),
    "notes": Colour("#57606a", "#9aa4af", None, "2"),
}
"""By what they mean."""
