"""Which files are meant: names, directories, patterns, URLs, lists; told one by one, never kept."""

from __future__ import annotations

import fnmatch
import glob
import os
from typing import TYPE_CHECKING

from vhdx.disk.formats import SUFFIXES
from vhdx.storage.filling import lines
from vhdx.storage.stream import is_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

    PathLike = str | os.PathLike[str]

STANDARD_INPUT = "-"
"""Stands for a list on standard input."""
IMAGES = tuple(f"*{suffix}" for suffix, name in SUFFIXES.items() if name != "raw")
"""What is taken of a directory unless something else is said."""


def files(
    paths: Iterable[PathLike], include: Sequence[str] = (), listed: BinaryIO | None = None
) -> Iterator[str]:
    """Every file that ``paths`` stand for, in no order; one that is named also if it is not there.

    A directory stands for what is in it and below with a name like one of ``include``, whatever the case;
    what matches a pattern, for itself or, a directory, for what is in it. ``-`` are the names in
    ``listed``, a line each, or between zero bytes. Links to directories are not followed. Raises OSError
    where a directory cannot be listed.
    """
    patterns = tuple(each.lower() for each in include) or IMAGES
    for path in paths:
        name = os.fspath(path)
        names = _listed(listed) if name == STANDARD_INPUT and listed is not None else _matching(name)
        for each in names:
            if not is_url(each) and os.path.isdir(each):
                yield from _below(each, patterns)
            else:
                yield each


def _matching(name: str) -> Iterator[str]:
    """The paths that a pattern matches; all else is a name, as is a pattern that a file has for its name."""
    if is_url(name) or not glob.has_magic(name) or os.path.lexists(name):
        yield name
        return
    found = False
    for path in glob.iglob(name, recursive=True, include_hidden=True):
        found = True
        yield path
    if not found:
        yield name


def _below(directory: str, patterns: tuple[str, ...]) -> Iterator[str]:
    waiting = [directory]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif any(fnmatch.fnmatchcase(entry.name.lower(), pattern) for pattern in patterns):
                    yield entry.path


def _listed(stream: BinaryIO) -> Iterator[str]:
    """Names that end with a zero byte where there is one in the first line, else with the line."""
    for line in lines(stream):
        for name in line.rstrip(b"\r\n").split(b"\0") if b"\0" in line else (line.rstrip(b"\r\n"),):
            if name:
                yield os.fsdecode(name)
