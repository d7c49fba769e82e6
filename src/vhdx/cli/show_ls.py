"""What ``vhdx ls`` does and prints, however its command line was read."""

from __future__ import annotations

import stat
import sys
import time
from functools import lru_cache
from typing import TYPE_CHECKING

from vhdx.cli.guest_volumes import Told, volume_of
from vhdx.cli.render import echo, print_json_rows, standard
from vhdx.files.base import TYPE_OF_KIND, Kind
from vhdx.ops.files.listing import entries, everything, listed, path_of
from vhdx.text import printable

if TYPE_CHECKING:
    from typing import Unpack

    from vhdx.cli.guest_volumes import Chosen
    from vhdx.files.base import Entry
    from vhdx.files.resolve import Found
    from vhdx.files.volume import FileVolume


def show(place: str, *, long: bool, recursive: bool, as_json: bool, **chosen: Unpack[Chosen]) -> int:
    """List what is in a directory of a guest, or below it."""
    told = Told()
    with volume_of(place, told, **chosen) as (volume, path):
        found = volume.find(path)
        if as_json:
            rows = everything(volume, found) if recursive else entries(volume, found)
            print_json_rows(listed(parts, entry) for parts, entry in rows)
        elif recursive:
            output = standard(sys.stdout)  # click.echo would flush each of very many lines
            for parts, entry in everything(volume, found):
                output.write(_line(entry, path_of(parts), long=long) + "\n")
        else:
            _print_directory(volume, found, long=long)
    return told.code


def _print_directory(volume: FileVolume, found: Found, *, long: bool) -> None:
    for parts, entry in entries(volume, found):
        name = parts[-1] if parts else "/"
        echo(_line(entry, name, long=long))
        for stream in volume.tree.streams(entry) if long else ():
            size = volume.tree.content(entry, stream).size
            as_file = entry._replace(kind=Kind.FILE, size=size)
            echo(_line(as_file, f"{name}:{stream}", long=long))


def _line(entry: Entry, name: str, *, long: bool) -> str:
    if not long:
        return printable(name)
    arrow = "" if entry.target is None else f" -> {printable(entry.target)}"
    owner = "-" if entry.uid is None else str(entry.uid)
    group = "-" if entry.gid is None else str(entry.gid)
    size = f"{entry.device[0]}, {entry.device[1]}" if entry.device else str(entry.size)
    mode, when = _mode_text(entry.kind, entry.permissions), _time_text(entry.modified)
    return f"{mode} {entry.links:>3} {owner:>5} {group:>5} {size:>12} {when} {printable(name)}{arrow}"


@lru_cache(maxsize=256)
def _mode_text(kind: Kind, permissions: int) -> str:
    return stat.filemode(TYPE_OF_KIND[kind] | permissions)


def _time_text(nanoseconds: int | None) -> str:
    """A time in UTC; what no calendar has, as seconds."""
    if nanoseconds is None:
        return " " * 16
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(nanoseconds // 10**9))
    except (OverflowError, ValueError, OSError):
        return f"{nanoseconds // 10**9:>16}"
