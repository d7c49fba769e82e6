"""How long jobs tell how far they are: the callbacks that callers give and that jobs hand down."""

from __future__ import annotations

from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

Progress: TypeAlias = "Callable[[int, int | None], None]"
"""What a caller gives: called with the bytes done and the bytes to do, None where that is not known."""
Advance: TypeAlias = "Callable[[int, int], None]"
"""What a job hands down: called with bytes just done, and bytes that came to be done."""


class Meter:
    """Adds up for a progress callback what is done and what is to be done."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._done = self._total = 0

    def advance(self, done: int, more: int) -> None:
        """So many bytes were done, so many more are to be done."""
        self._done, self._total = self._done + done, self._total + more
        if self._progress is not None:
            self._progress(self._done, self._total)


def to_nobody(done: int, more: int) -> None:
    """Progress that nobody wants to see."""
