"""Text that comes out of images, made harmless for people's screens; commands that can be pasted."""

from __future__ import annotations

import sys

from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Class = TypeVar("Class", bound=type)

_QUOTED_LENGTH = 200
_BRIEF_LENGTH = 40


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
    if sys.platform == "win32":
        return windows_word(path)
    import shlex  # noqa: PLC0415  only whoever advises something waits for it

    path = f"./{path}" if path.startswith("-") else path
    if path.isprintable():
        return shlex.quote(path)
    raw = path.encode("utf-8", "surrogateescape")
    typed = (chr(byte) if chr(byte) in _TYPED else f"\\{byte:03o}" for byte in raw)
    return f"$'{''.join(typed)}'"


def windows_word(path: str) -> str:
    """A path as one word for `cmd` and PowerShell; for the latter alone where only it has a way."""
    path = f".\\{path}" if path.startswith("-") else path
    if path and all(character.isalnum() or character in _PLAIN_ON_WINDOWS for character in path):
        return path
    if any(character in _DOUBLE_QUOTED_BY_POWERSHELL for character in path):
        return "'" + "".join(c * (2 if c in _SINGLE_QUOTES else 1) for c in path) + "'"
    return f'"{path}\\"' if path.endswith("\\") else f'"{path}"'


_PLAIN_ON_WINDOWS = frozenset("\\/:._-")
_DOUBLE_QUOTED_BY_POWERSHELL = frozenset("$`\u201c\u201d\u201e")
"""What is not itself in its double quotes: typographic ones end them."""
_SINGLE_QUOTES = frozenset("'\u2018\u2019\u201a\u201b")
_TYPED = frozenset(map(chr, range(0x20, 0x7F))) - {"'", "\\"}
"""What stands for itself inside of ``$'…'``."""


def brief(*names: str) -> Callable[[Class], Class]:
    """Let the ``repr`` of a result show these of its fields, so that it stands in one line."""

    def decorated(result: Class) -> Class:
        setattr(result, "__repr__", lambda self: _brief_repr(self, names))  # noqa: B010  types have no place for it
        return result

    return decorated


def _brief_repr(result: object, names: tuple[str, ...]) -> str:
    fields = (f"{name}={_brief_value(getattr(result, name))}" for name in names)
    return f"<vhdx.{type(result).__name__} {' '.join(fields)}>"


def _brief_value(value: Any) -> str:
    """A value in few characters: a member of an enumeration by its name, of several things their number."""
    if isinstance(value, tuple | dict):
        return str(len(value))
    text = repr(getattr(value, "name", value))
    return text if len(text) <= _BRIEF_LENGTH else f"…{text[-_BRIEF_LENGTH:]}"
