"""Patterns over the names of a path: ``*``, ``?``, ``[…]`` within a name, ``**`` for any number of names."""

from __future__ import annotations

import fnmatch
import re

from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Names = list[re.Pattern[str] | None]


def matcher(pattern: str, *, is_windows: bool) -> Callable[[Sequence[str]], bool]:
    """What tells whether names, from the root on, match a pattern. Raises ValueError for an empty one."""
    if is_windows:
        pattern = pattern.replace("\\", "/")
    parts = [part for part in pattern.split("/") if part]
    if not parts:
        raise ValueError("the pattern is empty")
    names = [_pattern(part, is_windows=is_windows) for part in parts]

    def matches(path: Sequence[str]) -> bool:
        places = set(_reached(names, 0))
        for name in path:
            places = {
                further
                for at in places
                for step in _after(names, at, name)
                for further in _reached(names, step)
            }
        return len(names) in places

    return matches


def _reached(names: Names, at: int) -> Iterator[int]:
    """A place in the pattern, and those behind it that need no name."""
    yield at
    while at < len(names) and names[at] is None:
        at += 1
        yield at


def _after(names: Names, at: int, name: str) -> Iterator[int]:
    """Where a name leads from a place in the pattern."""
    if at == len(names):
        return
    wanted = names[at]
    if wanted is None:
        yield at
    elif wanted.match(name):
        yield at + 1


def _pattern(part: str, *, is_windows: bool) -> re.Pattern[str] | None:
    """What a name must be; None for any number of names."""
    if part == "**":
        return None
    return re.compile(fnmatch.translate(part), re.IGNORECASE if is_windows else 0)
