"""Which images there are, whose parent is whose, and in which order they come: parents before their children.

It stands in a temporary database that spills to a file, so that a hundred thousand images need no memory.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

from vhdx.fleet.columns import RESULTS, text_of
from vhdx.ops.tree import FOUND, LOOP, parent_among

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vhdx.fleet.columns import Row
    from vhdx.fleet.identity import Identity

_TABLES = """
CREATE TABLE image (
    id INTEGER PRIMARY KEY, path BLOB NOT NULL, place BLOB NOT NULL UNIQUE, size INTEGER, mtime_ns INTEGER,
    format TEXT, disk_type TEXT, virtual_size INTEGER, disk_id TEXT, own TEXT, parent_state TEXT, parent BLOB,
    named TEXT, linkages TEXT, level INTEGER, above TEXT, result TEXT
);
CREATE TABLE done (
    path TEXT NOT NULL, size INTEGER, mtime_ns INTEGER, result TEXT NOT NULL,
    PRIMARY KEY (path, size, mtime_ns)
) WITHOUT ROWID;
"""
_DONE_KEY = "path = ? AND size = ? AND mtime_ns = ?"
_UNKNOWN = -1
"""Stands for a size or a time that nobody knows."""
_AT_ONCE = 1000
"""Rows that are held at a time."""
_SAME = 1000
"""Images with one identity that are looked at: copies of a disk have the same, and one may be the parent."""


class Planned(NamedTuple):
    """An image whose turn it is; ``number`` is how the plan calls it."""

    number: int
    path: str
    size: int | None
    mtime_ns: int | None
    format: str | None
    disk_type: str | None
    virtual_size: int | None
    disk_id: str | None
    data_write_guid: str | None
    parent: str | None
    parent_state: str | None
    level: int
    above: str | None


class _Child(NamedTuple):
    """What an image says of its parent."""

    number: int
    place: bytes
    format: str
    parent: bytes | None
    named: bytes | None
    linkages: str


class Plan:
    """The images of one run."""

    def __init__(self) -> None:
        # An empty name is a database of this connection alone, in memory until it is large, then in a file.
        self._base = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._base.executescript(_TABLES)
        self._base.create_function("rank", 1, _rank, deterministic=True)
        self._base.execute("BEGIN")

    def close(self) -> None:
        """Forget everything."""
        self._base.close()

    def remember(self, rows: Iterable[Row]) -> None:
        """What an earlier run has done: the same file, unchanged since, is not done again."""
        self._base.executemany(
            "INSERT OR REPLACE INTO done VALUES (?, ?, ?, ?)",
            ((row["path"], *_key(row["file_size"], row["mtime_ns"]), row["result"]) for row in rows),
        )

    def add(self, found: Identity) -> None:
        """One more file; the same file under another name changes nothing."""
        self._base.execute(
            "INSERT OR IGNORE INTO image (path, place, size, mtime_ns, format, disk_type, virtual_size,"
            " disk_id, own, parent_state, parent, named, linkages, result)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                os.fsencode(found.path),
                os.fsencode(found.place),
                *found[2:10],
                None if found.parent is None else os.fsencode(found.parent),
                None if found.named is None else os.fsencode(found.named),
                " ".join(found.linkages),
                self._done(found),
            ),
        )

    def _done(self, found: Identity) -> str | None:
        key = (text_of(found.path), *_key(found.size, found.mtime_ns))
        done = self._base.execute(f"SELECT result FROM done WHERE {_DONE_KEY}", key).fetchone()  # noqa: S608
        return None if done is None else done[0]

    def link(self) -> int:
        """Find parents by their identities, and who comes before whom; the number of levels."""
        self._base.execute("CREATE INDEX own ON image (own)")
        self._base.execute("CREATE INDEX parent ON image (parent)")
        for row in self._each("id, place, format, parent, named, linkages", "parent_state IS NOT NULL"):
            self._link(_Child._make(row))
        return self._arrange()

    def _each(self, columns: str, condition: str) -> Iterator[Any]:
        """The rows that a condition holds for, some at a time: they may be changed meanwhile."""
        last = 0
        while True:
            question = (
                f"SELECT {columns} FROM image WHERE id > ? AND {condition} ORDER BY id LIMIT {_AT_ONCE}"  # noqa: S608
            )
            rows = self._base.execute(question, (last,)).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield from rows

    def _link(self, child: _Child) -> None:
        parent, state = child.parent, FOUND
        if parent is None:
            name = None if child.named is None else os.fsdecode(child.named)
            same = {each: each for each in self._places_of(child)}
            found, state = parent_among(os.fsdecode(child.place), name, same)
            parent = None if found is None else os.fsencode(found)
        self._base.execute(
            "UPDATE image SET parent = ?, parent_state = ? WHERE id = ?", (parent, state, child.number)
        )

    def _places_of(self, child: _Child) -> Iterator[str]:
        """Where the images are that have an identity by which a child knows its parent."""
        for own in child.linkages.split():
            question = (
                "SELECT place FROM image WHERE own = ? AND format = ? AND id != ? ORDER BY place LIMIT ?"
            )
            for (place,) in self._base.execute(question, (own, child.format, child.number, _SAME)):
                yield os.fsdecode(place)

    def _arrange(self) -> int:
        """Give every image its level: one more than that of its parent, where that is one of them."""
        self._base.execute(
            "UPDATE image SET level = 0 WHERE parent IS NULL OR parent NOT IN (SELECT place FROM image)"
        )
        levels = 1
        while self._base.execute(
            "UPDATE image SET level = ? WHERE level IS NULL"
            " AND parent IN (SELECT place FROM image WHERE level = ?)",
            (levels, levels - 1),
        ).rowcount:
            levels += 1
        # What nothing leads to is its own ancestor.
        self._base.execute(
            "UPDATE image SET level = 0, parent = NULL, parent_state = ? WHERE level IS NULL", (LOOP,)
        )
        return levels

    def waiting(self) -> int:
        """How many are to be done."""
        return int(self._base.execute("SELECT count(*) FROM image WHERE result IS NULL").fetchone()[0])

    def at(self, level: int) -> Iterator[Planned]:
        """The images of one level that are to be done, each with the worst result above it."""
        self._base.execute(
            "UPDATE image SET above = (SELECT CASE WHEN above.above IS NULL OR"
            " rank(above.result) >= rank(above.above) THEN above.result ELSE above.above END"
            " FROM image AS above WHERE above.place = image.parent) WHERE level = ? AND parent IS NOT NULL",
            (level,),
        )
        columns = (
            "id, path, size, mtime_ns, format, disk_type, virtual_size, disk_id, own, parent, parent_state"
        )
        for row in self._each(f"{columns}, level, above", f"level = {level} AND result IS NULL"):
            found = Planned._make(row)
            parent = None if found.parent is None else os.fsdecode(found.parent)
            yield found._replace(path=os.fsdecode(found.path), parent=parent)

    def finished(self, number: int, result: str) -> None:
        """An image was done."""
        self._base.execute("UPDATE image SET result = ? WHERE id = ?", (result, number))


def _rank(result: str | None) -> int:
    return -1 if result is None else RESULTS.index(result)


def _key(size: int | None, mtime_ns: int | None) -> tuple[int, int]:
    return (_UNKNOWN if size is None else size, _UNKNOWN if mtime_ns is None else mtime_ns)
