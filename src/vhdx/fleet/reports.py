"""Reports as files that are added to line by line, and read again to go on from: lines of JSON, and CSV."""

from __future__ import annotations

import csv
import io
import json
import os
from typing import IO, TYPE_CHECKING, Any, Protocol

from vhdx.fleet.columns import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vhdx.fleet.columns import Column, Row

_READ_BACK = 1 << 16
"""Bytes in which the end of the last whole line is looked for."""


class Report(Protocol):
    """Where rows go."""

    def write(self, row: Row) -> None:
        """Add a row; it is in the file when this returns, unless the file is made whole at the end."""

    def close(self) -> None:
        """Make the file whole."""


class LinesReport:
    """A file to which each row adds a line at once; what a killed run left torn is cut."""

    def __init__(self, path: str, columns: Sequence[Column], *, go_on: bool) -> None:
        self._columns = columns
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        self._file = os.fdopen(
            os.open(path, flags if go_on else flags | os.O_TRUNC, 0o666), "r+b", buffering=0
        )
        if _end_of_lines(self._file) == 0:
            self._file.write(self.head().encode())

    def head(self) -> str:
        """What stands before the first row."""
        return ""

    def line(self, row: Row) -> str:
        """A row as a line."""
        return json.dumps(row) + "\n"

    def write(self, row: Row) -> None:
        self._file.write(self.line(row).encode())

    def close(self) -> None:
        self._file.close()


class CsvReport(LinesReport):
    """The same as CSV: a head, nothing for what is not known."""

    def head(self) -> str:
        return _csv_line([column.name for column in self._columns])

    def line(self, row: Row) -> str:
        return _csv_line(
            [_WORDS.get(row[c.name], row[c.name]) if c.kind == "bool" else row[c.name] for c in self._columns]
        )


_WORDS = {True: "true", False: "false"}


def _csv_line(cells: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _end_of_lines(file: IO[bytes]) -> int:
    """Cut what stands behind the last end of a line, and go there; where that is."""
    end = size = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _READ_BACK)
        file.seek(start)
        at = file.read(end - start).rfind(b"\n")
        if at >= 0:
            end = start + at + 1
            break
        end = start
    if end != size:
        file.truncate(end)
    return file.seek(end)


def json_rows(path: str) -> Iterator[Row]:
    """The rows of lines of JSON; a last line that is torn is none."""
    with open(path, "rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield _object(line, path)


def _object(line: bytes, path: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path} is no report: {error}") from None
    if not isinstance(row, dict):
        raise ValueError(f"{path} is no report: a line is no JSON object")  # noqa: TRY004  of a file
    return row


def csv_rows(path: str, columns: Sequence[Column]) -> Iterator[Row]:
    """The rows of a report as CSV; a last line that is torn is none."""
    kinds = {column.name: _READ[column.kind] for column in columns}
    with open(path, encoding="utf-8", newline="") as file:
        for cells in csv.DictReader(line for line in file if line.endswith("\n")):
            try:
                yield {
                    name: None if not cells.get(name) else read(cells[name]) for name, read in kinds.items()
                }
            except ValueError as error:
                raise ValueError(f"{path} is no report: {error}") from None


_READ: dict[str, Callable[[str], Any]] = {
    "int64": int,
    "float64": float,
    "string": str,
    "bool": lambda word: word == "true",
}


def of_this_verb(rows: Iterator[Row], verb: str, path: str) -> Iterator[Row]:
    """Rows that a run of ``verb`` can go on from. Raises ValueError for others."""
    for row in rows:
        if row.get("verb") != verb or row.get("schema") != SCHEMA:
            told = f"of {row.get('verb')}, version {row.get('schema')}"
            raise ValueError(
                f"{path} is a report {told}, not of {verb}, version {SCHEMA}: it is not gone on with"
            )
        yield row
