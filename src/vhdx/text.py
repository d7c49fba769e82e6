"""Text that comes out of images, made harmless for people's screens."""

from __future__ import annotations

_QUOTED_LENGTH = 200


def quoted(text: str) -> str:
    """The text, harmless and cut to a length that leaves room for the sentence around it.

    It is cut between characters, never inside an escape, and ends in ``…`` then.
    """
    harmless = ""
    for character in text[: _QUOTED_LENGTH + 1]:
        escaped = printable(character)
        if len(harmless) + len(escaped) > _QUOTED_LENGTH:
            return f"{harmless}…"
        harmless += escaped
    return harmless


def printable(text: str) -> str:
    """The text with control characters, line ends included, and everything unprintable as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
