"""How long jobs tell how far they are: the callbacks that callers give and that jobs hand down."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int | None], None]
"""What a caller gives: called with the bytes done and the bytes to do, None where that is not known."""
Advance: TypeAlias = Callable[[int, int], None]
"""What a job hands down: called with bytes just done, and bytes that came to be done."""


def to_nobody(done: int, more: int) -> None:
    """Progress that nobody wants to see."""
