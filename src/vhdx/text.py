"""Text that comes out of images, made harmless for people's screens."""

from __future__ import annotations

_QUOTED_LENGTH = 200


def quoted(text: str) -> str:
    """The text, harmless and cut to a length that leaves room for the sentence around it."""
    harmless = printable(text[:_QUOTED_LENGTH])[:_QUOTED_LENGTH]
    return harmless if len(harmless) == len(text) or len(text) <= _QUOTED_LENGTH else f"{harmless}…"


def printable(text: str) -> str:
    """The text with control characters, line ends included, and everything unprintable as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
