"""Many images in a terminal: a line for each, the worst first, and what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vhdx.cli.exit_codes import EXIT_FAILURE
from vhdx.cli.render import echo, painted
from vhdx.fleet.columns import worst
from vhdx.report.colours import COLOURS
from vhdx.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vhdx.fleet.columns import Row
    from vhdx.fleet.summary import Summary

_EXIT = {None: 0, "ok": 0, "warnings": 3, "failed": EXIT_FAILURE, "errors": 2}


class _Shown(NamedTuple):
    """A column of the terminal: what it is of a row, its heading, its width (negative: flush left)."""

    name: str
    heading: str
    width: int
    is_size: bool = False


_COMMON = (_Shown("result", "result", -8),)
_SHOWN = {
    "info": (
        _Shown("format", "format", -6),
        _Shown("disk_type", "type", -12),
        _Shown("virtual_size", "virtual size", 12, is_size=True),
        _Shown("file_size", "file size", 10, is_size=True),
        _Shown("log_state", "log", -5),
    ),
    "check": (
        _Shown("errors", "errors", 8),
        _Shown("warnings", "warnings", 8),
        _Shown("notes", "notes", 8),
        _Shown("leaked_size", "leaked", 10, is_size=True),
    ),
    "measure": (
        _Shown("virtual_size", "virtual size", 12, is_size=True),
        _Shown("required_size", "required", 10, is_size=True),
        _Shown("compacted_size", "compacted", 10, is_size=True),
    ),
    "usage": (
        _Shown("file_size", "file size", 10, is_size=True),
        _Shown("file_system_used", "used", 10, is_size=True),
        _Shown("file_system_free", "free", 10, is_size=True),
        _Shown("given_back", "gives back", 10, is_size=True),
    ),
    "map": (
        _Shown("layers", "layers", 6),
        _Shown("data_size", "data", 10, is_size=True),
        _Shown("zero_size", "zeros", 10, is_size=True),
        _Shown("jumps", "jumps", 8),
    ),
    "hash": (_Shown("hash", "hash", -64),),
    "compact": (
        _Shown("file_size_before", "before", 10, is_size=True),
        _Shown("file_size_after", "after", 10, is_size=True),
    ),
    "convert": (
        _Shown("virtual_size", "virtual size", 12, is_size=True),
        _Shown("target_size", "new file", 10, is_size=True),
    ),
}
"""What is worth a column of the terminal, by verb."""


def print_table(verb: str, rows: Iterable[Row]) -> None:
    """Print a line for each row."""
    columns = (*_COMMON, *_SHOWN[verb])
    echo("  ".join([*(_padded(column.heading, column.width) for column in columns), "image"]))
    for row in rows:
        cells = [_padded(_cell(row, column), column.width) for column in columns]
        cells[0] = painted(cells[0], COLOURS[row["result"]].number)
        reason = f": {row['error']}" if row["error"] else ""
        echo("  ".join([*cells, f"{row['path']}{reason}"]))


def _cell(row: Row, column: _Shown) -> str:
    value = row[column.name]
    if value is None:
        return "-"
    return format_size(value) if column.is_size else str(value)


def _padded(cell: str, width: int) -> str:
    return cell.ljust(-width) if width < 0 else cell.rjust(width)


def print_summary(summary: Summary) -> None:
    """Print what all rows come to."""
    for line in _lines(summary):
        echo(line)


def _lines(summary: Summary) -> Iterator[str]:
    results = ", ".join(f"{number} {word}" for word, number in summary.results.most_common())
    images = "1 image" if summary.images == 1 else f"{summary.images} images"
    yield f"{images}, {format_size(summary.size)} in files{f': {results}' if results else ''}"
    for code, number in sorted(summary.images_of_code.items(), key=lambda each: (-each[1], each[0])):
        yield f"  {code}: {summary.codes[code]} in {number}"
    for code, number in summary.error_codes.most_common():
        yield f"  not done, {code}: {number}"
    for orphan in summary.orphans:
        yield f"  orphan, its parent is {_STATES[orphan.state]}: {orphan.path}"
    if summary.orphan_count > len(summary.orphans):
        yield f"  orphans in all: {summary.orphan_count}"
    if summary.given_back:
        yield f"  given back, or to be: {format_size(summary.given_back)}"


_STATES = {
    "moved": "elsewhere",
    "several": "one of several",
    "missing": "not among these",
    "loop": "its own descendant",
}


def exit_code(summary: Summary) -> int:
    """The worst of all."""
    return _EXIT[worst(*summary.results)]
