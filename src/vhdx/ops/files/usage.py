"""Measure directories: bytes below each, every file once however many names it has."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, NamedTuple

from vhdx.errors import FileSystemError
from vhdx.ops.files.listing import allocated, path_of
from vhdx.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.files.base import Entry
    from vhdx.files.resolve import Found
    from vhdx.files.volume import FileVolume

_NCDU_VERSION = (1, 2)


class Usage(NamedTuple):
    """A directory with all below it: bytes that are stored, sizes of the files, how many entries."""

    path: str
    stored: int
    size: int
    entries: int


def usage(volume: FileVolume, found: Found) -> Iterator[Usage]:
    """Each directory after those in it, the path itself last."""
    sums: list[list[int]] = []
    seen: set[int] = set()
    for step in volume.steps(found.entry):
        entry = step.entry
        if step.left:
            stored, size, entries = sums.pop()
            yield Usage(path_of((*found.parts, *step.parts)), stored, size, entries)
            if sums:
                sums[-1] = [a + b for a, b in zip(sums[-1], (stored, size, entries + 1), strict=True)]
        elif entry.is_directory:
            sums.append([0, 0, 0])
        elif sums:
            stored, size = _measured(volume, entry, seen)
            sums[-1] = [a + b for a, b in zip(sums[-1], (stored, size, 1), strict=True)]
        else:
            yield Usage(path_of(found.parts), *_measured(volume, entry, seen), 1)


def _measured(volume: FileVolume, entry: Entry, seen: set[int]) -> tuple[int, int]:
    """Stored bytes and size; nothing for a file that was counted under another name."""
    if entry.links > 1:
        if entry.identity in seen:
            return 0, 0
        seen.add(entry.identity)
    return _stored(volume, entry), entry.size


def _stored(volume: FileVolume, entry: Entry) -> int:
    try:
        return allocated(volume.tree, entry)
    except FileSystemError as error:
        volume.tell(str(error))
        return 0


def ncdu(volume: FileVolume, found: Found) -> Iterator[str]:
    """The export format of ncdu, which `ncdu -f FILE` shows; nothing of it is kept."""
    about = {"progname": "vhdx", "progver": __version__, "timestamp": int(time.time())}
    yield f"[{_NCDU_VERSION[0]},{_NCDU_VERSION[1]},{json.dumps(about)}"
    for step in volume.steps(found.entry):
        if step.left:
            yield "]"
            continue
        name = step.parts[-1] if step.parts else path_of(found.parts)
        yield ",\n" + ("[" if step.entry.is_directory else "") + json.dumps(_row(volume, step.entry, name))
    yield "]\n"


def _row(volume: FileVolume, entry: Entry, name: str) -> dict[str, object]:
    printed = name.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    row: dict[str, object] = {"name": printed}
    if entry.size:
        row |= {"asize": entry.size, "dsize": _stored(volume, entry)}
    row["ino"] = entry.identity
    if entry.links > 1 and not entry.is_directory:
        row |= {"hlnkc": True, "nlink": entry.links}
    if entry.kind.value not in ("file", "directory"):
        row["notreg"] = True
    return row
