"""List, find and measure what is in a volume."""

from __future__ import annotations

import fnmatch

from vhdx.files.base import Kind
from vhdx.files.glob import matcher
from vhdx.files.walk import twice
from vhdx.typed import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdx.files.base import Entry, Tree
    from vhdx.files.resolve import Found
    from vhdx.files.volume import FileVolume

_Row = TypeVar("_Row", bound="Entry | None")


class Listed(NamedTuple):
    """An entry as it is reported: ``path`` from the root of its volume, times in nanoseconds since 1970."""

    path: str
    kind: str
    size: int
    mode: int | None
    links: int
    uid: int | None
    gid: int | None
    identity: int
    modified: int | None
    accessed: int | None
    changed: int | None
    created: int | None
    target: str | None
    device: tuple[int, ...] | None


def path_of(parts: tuple[str, ...]) -> str:
    """Names as a path from the root."""
    return "/" + "/".join(parts)


def listed(path: str, entry: Entry) -> Listed:
    """The report of an entry."""
    return Listed(
        path,
        entry.kind.value,
        entry.size,
        entry.mode,
        entry.links,
        entry.uid,
        entry.gid,
        entry.identity,
        entry.modified,
        entry.accessed,
        entry.changed,
        entry.created,
        entry.target,
        entry.device,
    )


def entries(volume: FileVolume, found: Found) -> Iterator[tuple[tuple[str, ...], Entry]]:
    """What `ls` lists of a path: the entries of a directory by name, or the entry itself."""
    if not found.entry.is_directory:
        yield found.parts, found.entry
        return
    for entry in sorted(volume.tree.entries(found.entry), key=lambda each: each.name):
        yield (*found.parts, entry.name), entry


def below(volume: FileVolume, found: Found) -> Iterator[tuple[str, Entry]]:
    """The paths of `everything`, each with its entry, as quick as that goes."""
    if found.entry.is_directory:
        yield from _descended(volume, found, volume.named)
    else:
        yield path_of(found.parts), found.entry


def everything(volume: FileVolume, found: Found) -> Iterator[tuple[tuple[str, ...], Entry]]:
    """All below a path, in the order of the file system; nothing of it is kept."""
    for step in volume.steps(found.entry):
        if not step.left and (step.parts or not found.entry.is_directory):
            yield (*found.parts, *step.parts), step.entry


def paths(volume: FileVolume, found: Found) -> Iterator[tuple[str, Entry | None]]:
    """The paths of `everything`, which is quicker: no more is read than the names, and directories."""
    if found.entry.is_directory:
        yield from _descended(volume, found, volume.names)
    else:
        yield path_of(found.parts), None


def _descended(
    volume: FileVolume, found: Found, listed_in: Callable[[Entry], Iterator[tuple[str, _Row]]]
) -> Iterator[tuple[str, _Row]]:
    seen = {found.entry.identity}
    waiting = [("".join(f"/{part}" for part in found.parts), listed_in(found.entry))]
    while waiting:
        above, rows = waiting[-1]
        for name, entry in rows:
            path = f"{above}/{name}"
            if entry is None or entry.kind is not Kind.DIRECTORY:
                yield path, entry
            elif entry.identity in seen:
                volume.tell(twice(path))
            else:
                seen.add(entry.identity)
                yield path, entry
                waiting.append((path, listed_in(entry)))
                break
        else:
            waiting.pop()


def matching(volume: FileVolume, found: Found, pattern: str) -> Iterator[tuple[tuple[str, ...], Entry]]:
    """All below a path whose name matches, or whose path where the pattern has a slash."""
    matches = _matcher(pattern, is_windows=volume.tree.is_windows)
    return ((parts, entry) for parts, entry in everything(volume, found) if parts and matches(parts))


def _matcher(pattern: str, *, is_windows: bool) -> Callable[[tuple[str, ...]], bool]:
    if "/" in pattern or (is_windows and "\\" in pattern):
        return matcher(pattern, is_windows=is_windows)
    if is_windows:
        return lambda parts: fnmatch.fnmatchcase(parts[-1].casefold(), pattern.casefold())
    return lambda parts: fnmatch.fnmatchcase(parts[-1], pattern)


def allocated(tree: Tree, entry: Entry) -> int:
    """Bytes of a file that are stored: its size without its holes."""
    if entry.kind.value != "file":
        return 0
    return sum(length for _, length in tree.content(entry).data_ranges())
