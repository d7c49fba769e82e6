"""A report as a page for people: a table that can be sorted, and what all rows come to, in pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from vhdx.fleet.columns import RESULTS
from vhdx.fleet.ordered import Ordered
from vhdx.fleet.summary import Summary
from vhdx.report.colours import COLOURS
from vhdx.report.page import rendered
from vhdx.storage.publish import new_file
from vhdx.units import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vhdx.fleet.columns import Row

_ROWS = 400
"""Rows that a page has: the worst. The others are in reports of data."""
_CODES = 40
_ORPHANS = 50
_COLUMNS = {
    "info": ("format", "disk_type", "virtual_size", "file_size", "log_state", "file_systems"),
    "check": ("format", "file_size", "errors", "warnings", "notes", "leaked_size", "worst"),
    "measure": ("file_size", "virtual_size", "data_size", "required_size", "compacted_size"),
    "usage": ("file_size", "file_systems", "file_system_used", "file_system_free", "given_back"),
    "map": ("file_size", "layers", "data_size", "zero_size", "jumps"),
    "hash": ("virtual_size", "hash"),
    "compact": ("file_size_before", "file_size_after", "freed_blocks", "moved_size"),
    "convert": ("virtual_size", "target", "target_size", "data_size"),
}
"""What is worth a column, by verb."""
_COUNTS = frozenset({"errors", "warnings", "notes", "layers", "jumps", "freed_blocks"})
_WORDS = {"disk_type": "type", "file_size": "file", "log_state": "log", "leaked_size": "leaked"}


class Cell(NamedTuple):
    """A cell of the table: what is shown, and the number by which it is sorted."""

    text: str
    number: int | float | None


class Bar(NamedTuple):
    """A bar of a picture: its words, a number, its share of the longest."""

    label: str
    number: int
    share: float


class PageReport:
    """A page that is made at the end."""

    def __init__(self, path: str, verb: str) -> None:
        rendered("colours.css", colours=COLOURS)  # whoever lacks the package is told before anything is done
        self._path, self._verb, self._rows = path, verb, Ordered()

    def write(self, row: Row) -> None:
        self._rows.add(row)

    def close(self) -> None:
        summary = Summary()
        for row in self._rows.rows():
            summary.add(row)
        page = rendered("fleet.html", colours=COLOURS, **self._values(summary)).encode()
        self._rows.close()
        with new_file(self._path, overwrite=True) as file:
            file.write_at(page, 0)

    def _values(self, summary: Summary) -> dict[str, Any]:
        names = _COLUMNS[self._verb]
        rows = list(self._rows.rows(_ROWS))
        return {
            "verb": self._verb,
            "summary": summary,
            "headings": [_WORDS.get(name, name.replace("_", " ")) for name in names],
            "rows": [(row, [_cell(row, name) for name in names]) for row in rows],
            "results": [(each, summary.results[each]) for each in reversed(RESULTS) if summary.results[each]],
            "sizes": _sizes(summary),
            "codes": _bars([(code, number) for code, number in summary.images_of_code.most_common(_CODES)]),
            "failures": _bars(summary.error_codes.most_common(_CODES)),
            "orphans": summary.orphans[:_ORPHANS],
            "given_back": _bars_of_sizes(rows),
        }


def _cell(row: Row, name: str) -> Cell:
    value = row[name]
    if value is None:
        return Cell("", None)
    if isinstance(value, int) and name not in _COUNTS:
        return Cell(format_size(value), value)
    return Cell(str(value), value if isinstance(value, int | float) else None)


def _bars(counted: Sequence[tuple[str, int]]) -> list[Bar]:
    most = max((number for _, number in counted), default=1)
    return [Bar(label, number, number / most) for label, number in counted]


def _sizes(summary: Summary) -> list[Bar]:
    """How many files are how large, in powers of two."""
    return _bars([(_below(bits), summary.sizes[bits]) for bits in sorted(summary.sizes)])


def _below(bits: int) -> str:
    return f"below {format_size(1 << bits)}" if bits else "nothing"


def _bars_of_sizes(rows: Sequence[Row]) -> list[Bar]:
    """The images that could let go of most."""
    gains = sorted(((row.get("given_back") or 0, row["path"]) for row in rows), reverse=True)[:20]
    return _bars([(path, gain) for gain, path in gains if gain])
