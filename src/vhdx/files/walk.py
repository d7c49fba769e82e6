"""All entries below a directory, each directory once, whatever a damaged tree says of itself."""

from __future__ import annotations

from vhdx.errors import FileSystemError
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeVar

    from vhdx.files.base import Entry, Tell, Tree

    _T = TypeVar("_T")


class Step(NamedTuple):
    """An entry on the way; a directory comes twice: before its entries, and ``left`` behind them.

    ``parts`` are the names from where the walk began, none for where it began itself.
    """

    parts: tuple[str, ...]
    entry: Entry
    left: bool = False


def walk(tree: Tree, start: Entry, tell: Tell) -> Iterator[Step]:
    """The entry itself and everything below it, depth first.

    A directory that turns up a second time, which makes a loop in a damaged tree, is told and left out, as
    is what cannot be listed. Memory grows with the number of directories only.
    """
    yield Step((), start)
    if not start.is_directory:
        return
    seen = {start.identity}
    stack: list[tuple[tuple[str, ...], Entry, Iterator[Entry]]] = [
        ((), start, until_damage(tree.entries(start), tell))
    ]
    while stack:
        parts, directory, entries = stack[-1]
        entry = next(entries, None)
        if entry is None:
            stack.pop()
            yield Step(parts, directory, left=True)
            continue
        below = (*parts, entry.name)
        if not entry.is_directory:
            yield Step(below, entry)
        elif entry.identity in seen:
            tell(twice("/".join(below)))
        else:
            seen.add(entry.identity)
            yield Step(below, entry)
            stack.append((below, entry, until_damage(tree.entries(entry), tell)))


def twice(path: str) -> str:
    """What is told of a directory that turns up a second time."""
    return f"{path}: this directory is in another place, too; it is left out here"


def until_damage(entries: Iterator[_T], tell: Tell) -> Iterator[_T]:
    """What is listed, up to the first that cannot be had, which is told."""
    try:
        yield from entries
    except FileSystemError as error:
        tell(str(error))
