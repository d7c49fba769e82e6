"""Text that comes out of images, made harmless for people's screens."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with control characters, line ends included, and everything unprintable as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
