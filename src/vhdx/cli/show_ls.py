"""What ``vhdx ls`` does and prints, however its command line was read."""

from __future__ import annotations

import stat
import sys
import time
from functools import lru_cache
from itertools import islice

from vhdx.cli.guest_volumes import Told, print_entries, volume_of
from vhdx.cli.render import standard
from vhdx.files.base import TYPE_OF_KIND, Kind, permissions_of
from vhdx.ops.files.listing import below, entries, listed, path_of, paths
from vhdx.text import printable
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Unpack

    from vhdx.cli.guest_volumes import Chosen
    from vhdx.files.base import Entry
    from vhdx.files.resolve import Found
    from vhdx.files.volume import FileVolume

_LINES_AT_ONCE = 500
_MINUTE = 60 * 10**9


def show(place: str, *, long: bool, recursive: bool, as_json: bool, **chosen: Unpack[Chosen]) -> int:
    """List what is in a directory of a guest, or below it."""
    told = Told()
    with volume_of(place, told, **chosen) as (volume, path):
        found = volume.find(path)
        if as_json:
            rows = below(volume, found) if recursive else _paths(entries(volume, found))
            print_entries(volume, (listed(path, entry) for path, entry in rows))
        elif recursive and long:
            _print_lines(_long(entry, path) for path, entry in below(volume, found))
        elif recursive:
            _print_lines(path for path, _ in paths(volume, found))
        else:
            _print_lines(_directory(volume, found, long=long))
    return told.code


def _paths(rows: Iterator[tuple[tuple[str, ...], Entry]]) -> Iterator[tuple[str, Entry]]:
    return ((path_of(parts), entry) for parts, entry in rows)


def _print_lines(lines: Iterator[str]) -> None:
    """Very many lines, made harmless, not each by itself; those before an error, too."""
    output, together = standard(sys.stdout), list[str]()
    try:
        while True:
            together.extend(islice(lines, _LINES_AT_ONCE))
            if not together:
                return
            is_harmless = "".join(together).isprintable()
            text = "\n".join(together if is_harmless else map(printable, together))
            together.clear()
            output.write(f"{text}\n")
    finally:
        output.writelines(f"{printable(line)}\n" for line in together)


def _directory(volume: FileVolume, found: Found, *, long: bool) -> Iterator[str]:
    for parts, entry in entries(volume, found):
        name = parts[-1] if parts else "/"
        yield _long(entry, name) if long else name
        for stream in volume.tree.streams(entry) if long else ():
            size = volume.tree.content(entry, stream).size
            as_file = entry._replace(kind=Kind.FILE, size=size)
            yield _long(as_file, f"{name}:{stream}")


def _long(entry: Entry, name: str) -> str:
    arrow = "" if entry.target is None else f" -> {entry.target}"
    size = f"{entry.device[0]}, {entry.device[1]}" if entry.device else entry.size
    head = _head(entry.kind, entry.mode, entry.links, entry.uid, entry.gid)
    return f"{head} {size:>12} {_time_text(entry.modified)} {name}{arrow}"


@lru_cache(maxsize=256)
def _head(kind: Kind, mode: int | None, links: int, uid: int | None, gid: int | None) -> str:
    """What is the same for most files: mode, links, owners."""
    owner, group = ("-" if each is None else str(each) for each in (uid, gid))
    permissions = permissions_of(kind, mode)
    return f"{stat.filemode(TYPE_OF_KIND[kind] | permissions)} {links:>3} {owner:>5} {group:>5}"


def _time_text(nanoseconds: int | None) -> str:
    """A time in UTC; what no calendar has, as seconds."""
    if nanoseconds is None:
        return " " * 16
    return _minute_text(nanoseconds // _MINUTE)


@lru_cache(maxsize=256)
def _minute_text(minutes: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(minutes * 60))
    except (OverflowError, ValueError, OSError):
        return f"{minutes * 60:>16}"
