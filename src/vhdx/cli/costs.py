"""How a verb ends: what became of a size, and how long it took."""

from __future__ import annotations

import time

from vhdx.cli.render import MINUS, shown, signs

_WORTH_TELLING = 3.0
"""Seconds from which on a time is told."""
_FAR = 10
"""From how many times a size on no share is told: it would say less than the two sizes."""


def change(before: int, after: int) -> str:
    """Two sizes and what that is of the first: ``2.25 GiB → 484 MiB`` and what share less."""
    if before == after:
        return f"{shown(after)} as before"
    share = "" if not before or after >= _FAR * before else f" ({_share(before, after)})"
    return signs(f"{shown(before)} → {shown(after)}{share}")


def _share(before: int, after: int) -> str:
    percent = round(abs(after - before) * 100 / before)
    percent = min(percent, 99) if 0 < after < before else percent
    sign = MINUS if after < before else "+"
    return f"{sign}{percent} %" if percent else f"{sign}<1 %"


class Stopwatch:
    """Runs from when it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def told(self, word: str = "") -> str:
        """``word`` and how long it took, as ``… in 10 s``; nothing for what was quick."""
        seconds = time.monotonic() - self._began
        return f"{word} in {duration(seconds)}" if seconds >= _WORTH_TELLING else ""


def duration(seconds: float) -> str:
    """A time for people: ``1.4 s``, ``34 s``, ``5 min 10 s``, ``2 h 3 min``."""
    if seconds < _FAR:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 2:
        return f"{round(seconds)} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
