"""Reports as Parquet: one file that is whole at the end, or a directory of parts, each whole or not there.

Rows stand in lines of JSON beside it until they are in a file, so that a run that is killed loses none.
"""

from __future__ import annotations

import contextlib
import io
import os
from typing import TYPE_CHECKING, Any

from vhdx.errors import missing_extra
from vhdx.fleet.columns import SCHEMA
from vhdx.fleet.reports import LinesReport, json_rows
from vhdx.storage.publish import new_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from typing_extensions import Buffer

    from vhdx.fleet.columns import Column, Row
    from vhdx.storage.file import FileStorage

_GROUP = 5000
"""Rows of one group of a file."""
PART = 1000
"""Rows of one part of a directory."""
_BESIDE = ".rows.jsonl"
"""Behind the name of a file, or in a directory: what is not in a file of Parquet yet."""


class ParquetReport:
    """One file, made whole at the end; also at the end of a run that was interrupted."""

    def __init__(self, path: str, columns: Sequence[Column], *, go_on: bool) -> None:
        _pyarrow()  # whoever lacks it is told before anything is done
        self._path, self._columns = path, columns
        self._beside = path + _BESIDE
        old = (
            rows_in(path) if go_on and os.path.exists(path) and not os.path.exists(self._beside) else iter(())
        )
        self._lines = LinesReport(self._beside, columns, go_on=go_on)
        for row in old:
            self._lines.write(row)

    def write(self, row: Row) -> None:
        self._lines.write(row)

    def close(self) -> None:
        self._lines.close()
        _write(self._path, self._columns, json_rows(self._beside))
        os.unlink(self._beside)


class PartsReport:
    """A directory of files, each with some rows."""

    def __init__(self, path: str, columns: Sequence[Column], *, go_on: bool) -> None:
        _pyarrow()
        os.makedirs(path, exist_ok=True)
        self._path, self._columns = path, columns
        self._beside = os.path.join(path, _BESIDE)
        self._number = 1 + max((int(name[5:-8]) for name in parts_of(path)), default=0)
        unwritten = [] if not go_on else list(_not_in_parts(path))
        self._lines = LinesReport(self._beside, columns, go_on=False)
        self._count = 0
        for row in unwritten:
            self.write(row)

    def write(self, row: Row) -> None:
        self._lines.write(row)
        self._count += 1
        if self._count >= PART:
            self._publish()

    def _publish(self) -> None:
        if self._count:
            part = os.path.join(self._path, f"part-{self._number:06}.parquet")
            _write(part, self._columns, json_rows(self._beside))
            self._lines.close()
            self._lines = LinesReport(self._beside, self._columns, go_on=False)
            self._number, self._count = self._number + 1, 0

    def close(self) -> None:
        self._publish()
        self._lines.close()
        os.unlink(self._beside)


def parts_of(directory: str) -> list[str]:
    """The names of the parts in a directory, in their order."""
    names = (name for name in os.listdir(directory) if name.startswith("part-") and name.endswith(".parquet"))
    return sorted(name for name in names if name[5:-8].isdigit())


def forget_parts(directory: str) -> None:
    """Remove the parts of a report, and nothing else. Raises OSError."""
    for name in parts_of(directory):
        os.unlink(os.path.join(directory, name))


def rows_of_file(path: str) -> Iterator[Row]:
    """The rows of one report, also of one whose run was killed."""
    if os.path.exists(path + _BESIDE):  # it has what was in the file, too
        yield from json_rows(path + _BESIDE)
    elif os.path.exists(path):
        yield from rows_in(path)


def rows_of_parts(directory: str) -> Iterator[Row]:
    """The rows of all parts, and of those that were not written any more."""
    for name in parts_of(directory):
        yield from rows_in(os.path.join(directory, name))
    yield from _not_in_parts(directory)


def _not_in_parts(directory: str) -> Iterator[Row]:
    """What stands beside the parts and not in the last one: the run may have ended between the two."""
    beside = os.path.join(directory, _BESIDE)
    if not os.path.exists(beside):
        return
    names = parts_of(directory)
    last = rows_in(os.path.join(directory, names[-1])) if names else iter(())
    written = {(row["path"], row["examined_ns"]) for row in last}
    for row in json_rows(beside):
        if (row["path"], row["examined_ns"]) not in written:
            yield row


def rows_in(path: str) -> Iterator[Row]:
    """The rows of one file of Parquet, group by group. Raises ValueError for what is none."""
    arrow, parquet = _pyarrow()
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_GROUP):
                yield from batch.to_pylist()
    except arrow.ArrowInvalid as error:
        raise ValueError(f"{path} is no Parquet: {error}") from None


def _write(path: str, columns: Sequence[Column], rows: Iterable[Row]) -> None:
    """Make a file of rows, whole or not at all; it takes the place of one that is there."""
    arrow, parquet = _pyarrow()
    types = {
        "int64": arrow.int64(),
        "float64": arrow.float64(),
        "bool": arrow.bool_(),
        "string": arrow.string(),
    }
    schema = arrow.schema(
        [(column.name, types[column.kind]) for column in columns], metadata={"vhdx.fleet.schema": str(SCHEMA)}
    )
    with (
        new_file(path, overwrite=True) as storage,
        contextlib.closing(_Sink(storage)) as sink,
        parquet.ParquetWriter(sink, schema) as writer,
    ):
        for group in _in_groups(rows):
            writer.write_table(arrow.Table.from_pylist(group, schema=schema))


def _in_groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    for row in rows:
        group.append(row)
        if len(group) == _GROUP:
            yield group
            group = []
    if group:
        yield group


class _Sink(io.RawIOBase):
    """A new file as what is written to front to back."""

    def __init__(self, storage: FileStorage) -> None:
        self._storage, self._position = storage, 0

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        """Add bytes."""
        view = memoryview(data).cast("B")
        self._storage.write_at(view, self._position)
        self._position += len(view)
        return len(view)

    def tell(self) -> int:
        return self._position


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow  # noqa: ICN001, PLC0415  an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise missing_extra("fleet", "Parquet needs pyarrow") from error
    return pyarrow, parquet
