"""Which kind of report a name stands for, opened to be written or read again."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from vhdx.fleet.columns import columns_of
from vhdx.fleet.reports import CsvReport, LinesReport, csv_rows, json_rows, of_this_verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.fleet.columns import Row
    from vhdx.fleet.reports import Report

_LINES = {".jsonl": LinesReport, ".csv": CsvReport}
PAGE = ".html"
SUFFIXES = (".parquet", ".csv", ".jsonl", PAGE)


def open_report(path: str, verb: str, *, go_on: bool = False, overwrite: bool = False) -> Report:
    """A report at ``path``, its kind told by the name; a directory has parts of Parquet.

    ``go_on`` adds to one that is there, ``overwrite`` takes its place. Raises FileExistsError without either,
    ValueError for another name, OSError.
    """
    kind, columns = _kind(path), columns_of(verb)
    if _is_there(path, kind) and not (go_on or overwrite):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    if kind in _LINES:
        return _LINES[kind](path, columns, go_on=go_on)
    if kind == PAGE:
        from vhdx.fleet.page import PageReport  # noqa: PLC0415  as Parquet, an extra

        return PageReport(path, verb)
    from vhdx.fleet.parquet import ParquetReport, PartsReport, forget_parts  # noqa: PLC0415

    if kind == ".parquet":
        return ParquetReport(path, columns, go_on=go_on)
    if not go_on and os.path.isdir(path):
        forget_parts(path)
    return PartsReport(path, columns, go_on=go_on)


def read_report(path: str, verb: str) -> Iterator[Row]:
    """The rows of a report, also of a run that was killed; none where there is no report.

    Raises ValueError for what is no report of this verb, or one that cannot be read again.
    """
    kind = _kind(path)
    if kind == PAGE:
        raise ValueError(f"{path} is for people and not read again: go on with a report of data beside it")
    if kind in _LINES:
        if not os.path.exists(path):
            return iter(())
        rows = json_rows(path) if kind == ".jsonl" else csv_rows(path, columns_of(verb))
        return of_this_verb(rows, verb, path)
    from vhdx.fleet.parquet import rows_of_file, rows_of_parts  # noqa: PLC0415

    if kind == ".parquet":
        return of_this_verb(rows_of_file(path), verb, path)
    return of_this_verb(rows_of_parts(path) if os.path.isdir(path) else iter(()), verb, path)


def _kind(path: str) -> str:
    """The suffix; an empty one stands for a directory."""
    if path.endswith(("/", os.sep)) or os.path.isdir(path):
        return ""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"{path}: the name of a report ends in {', '.join(SUFFIXES)}, or in / for a directory"
        )
    return suffix


def _is_there(path: str, kind: str) -> bool:
    if kind:
        return os.path.lexists(path)
    return os.path.isdir(path) and bool(os.listdir(path))
