"""All entries below a directory, each directory once, whatever a damaged tree says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vhdx.errors import FileSystemError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.files.base import Entry, Tell, Tree


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
    stack: list[tuple[tuple[str, ...], Entry, Iterator[Entry]]] = [((), start, _listed(tree, start, tell))]
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
            tell(f"{'/'.join(below)}: this directory is in another place, too; it is left out here")
        else:
            seen.add(entry.identity)
            yield Step(below, entry)
            stack.append((below, entry, _listed(tree, entry, tell)))


def _listed(tree: Tree, directory: Entry, tell: Tell) -> Iterator[Entry]:
    """The entries, up to the first that cannot be had."""
    try:
        yield from tree.entries(directory)
    except FileSystemError as error:
        tell(str(error))
