"""``vhdx tree``."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import click

from vhdx.cli.options import json_option
from vhdx.cli.render import echo, print_json, signs
from vhdx.text import command, printable
from vhdx.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vhdx.ops.tree import Tree, TreeImage

_STATES = {
    "named": "found with --parent-dir only",
    "moved": "looks for it elsewhere",
    "several": "several files may be its parent",
    "missing": "its parent is not here",
    "loop": "is its own ancestor",
}


@click.command()
@click.argument("directory", type=click.Path(file_okay=False), default=".")
@json_option
def tree(directory: str, *, as_json: bool) -> None:
    """Draw whose parent is whose among the images in DIRECTORY.

    Looks at all VHDX and VHD images at or below DIRECTORY and knows parents by their identity, whatever their
    names. Shows tips, which nobody has for a parent, orphans, which look in vain for theirs, and the sizes
    of the files. Nothing is changed; `vhdx rebase --all DIRECTORY` gives orphans their parents back.
    """
    from vhdx.ops.tree import tree as tree_of  # noqa: PLC0415  --help needs no library

    found = tree_of(directory)
    if as_json:
        print_json(found)
    else:
        _print_text(found)


def _print_text(found: Tree) -> None:
    rows = list(drawn(found.images))
    width = max((len(line) + len(name) for line, name, _ in rows), default=0)
    for line, name, about in rows:
        echo(f"{signs(line)}{name:<{width - len(line)}}  {about}")
    for each in found.unread:
        echo(f"{printable(each.path)}: cannot be read: {printable(each.reason)}")
    echo(_summary(found))
    if any(each.parent_state == "moved" and each.format == "vhdx" for each in found.images):
        echo(f"to give these their parents back: {command('rebase --all {}', found.directory)}")


def drawn(images: Iterable[TreeImage]) -> Iterator[tuple[str, str, str]]:
    """Lines that lead to every image, its name and what it is, children under their parents.

    Without recursion: what identities say may be a long chain.
    """
    known = {each.path: each for each in images}
    below: dict[str | None, list[TreeImage]] = defaultdict(list)
    for each in known.values():
        below[each.parent if each.parent in known else None].append(each)
    waiting = [(each, "", "") for each in reversed(below[None])]
    while waiting:
        each, before, behind = waiting.pop()
        yield before, printable(each.path), _about(each, known)
        children = below[each.path]
        for child in reversed(children):
            last = child is children[-1]
            waiting.append((child, behind + ("└─ " if last else "├─ "), behind + ("   " if last else "│  ")))


def _about(each: TreeImage, known: dict[str, TreeImage]) -> str:
    parts = [each.disk_type, format_size(each.virtual_size), f"file {format_size(each.file_size)}"]
    if each.children == 0 and each.parent_state is not None:
        parts.append("tip")
    if each.parent is not None and each.parent not in known:
        parts.append(f"parent {printable(each.parent)}")
    if each.parent_state in _STATES:
        named = f" ({printable(each.named)})" if each.named else ""
        orphan = "" if each.parent_state == "named" else "orphan: "
        parts.append(f"{orphan}{_STATES[each.parent_state]}{named}")
    return ", ".join(parts)


def _summary(found: Tree) -> str:
    kinds = Counter("base" if each.parent_state is None else "child" for each in found.images)
    orphans = sum(each.parent_state in _STATES and each.parent_state != "named" for each in found.images)
    size = format_size(sum(each.file_size for each in found.images))
    parts = [f"{kinds['base']} without a parent, {kinds['child']} with one, {size} in files"]
    return "; ".join([*parts, f"orphans: {orphans}"] if orphans else parts)
