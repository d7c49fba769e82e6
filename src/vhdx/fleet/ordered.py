"""Rows in the order in which people want them, the worst first; kept in a file once they are many."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

from vhdx.fleet.columns import RESULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.fleet.columns import Row

_WEIGHT = {
    "usage": "given_back",
    "map": "jumps",
    "check": "errors",
    "measure": "required_size",
    "info": "file_size",
}
"""What makes one image come before another with the same result."""


class Ordered:
    """Rows; of one image that comes twice the last one counts."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._base.execute("CREATE TABLE row (path TEXT PRIMARY KEY, rank INTEGER, weight REAL, row TEXT)")
        self._base.execute("BEGIN")

    def add(self, row: Row) -> None:
        """Keep one more."""
        weight = row.get(_WEIGHT.get(row["verb"], "file_size")) or 0
        kept = (row["path"], RESULTS.index(row["result"]), weight, json.dumps(row))
        self._base.execute("INSERT OR REPLACE INTO row VALUES (?, ?, ?, ?)", kept)

    def rows(self, most: int = -1) -> Iterator[Row]:
        """The worst of them, at most so many; all by default."""
        question = "SELECT row FROM row ORDER BY rank DESC, weight DESC, path LIMIT ?"
        for (row,) in self._base.execute(question, (most,)):
            yield json.loads(row)

    def close(self) -> None:
        """Forget all."""
        self._base.close()
