"""Text that comes out of images, made harmless for people's screens; commands that can be pasted."""

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
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def command(words: str, *paths: str) -> str:
    """A command line that can be pasted: ``vhdx`` and the words, a path for each ``{}`` in them."""
    return "vhdx " + words.format(*map(shell_word, paths))


def shell_word(path: str) -> str:
    """A path as one word of a shell, never taken for an option; what cannot be typed as ``$'…'`` has it."""
    import shlex  # noqa: PLC0415  only whoever advises something waits for it

    path = f"./{path}" if path.startswith("-") else path
    if path.isprintable():
        return shlex.quote(path)
    raw = path.encode("utf-8", "surrogateescape")
    typed = (chr(byte) if chr(byte) in _TYPED else f"\\{byte:03o}" for byte in raw)
    return f"$'{''.join(typed)}'"


_TYPED = frozenset(map(chr, range(0x20, 0x7F))) - {"'", "\\"}
"""What stands for itself inside of ``$'…'``."""
