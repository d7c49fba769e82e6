"""What rows of two runs have in common, whoever did the work."""

import itertools
from collections.abc import Iterable
from typing import Any

from vhdx.fleet.columns import Row

TIMES = ("seconds", "examined_ns", "attempts")
"""Columns that differ from run to run."""


def comparable(rows: Iterable[Row]) -> list[Row]:
    """The rows in the order of their paths, without what only this run has."""
    kept = [{name: value for name, value in row.items() if name not in TIMES} for row in rows]
    return sorted(kept, key=lambda row: str(row["path"]))


def differences(one: Iterable[Row], other: Iterable[Row]) -> list[tuple[Any, ...]]:
    """The first fields in which two runs differ."""
    nothing: Row = {}
    pairs = itertools.zip_longest(comparable(one), comparable(other), fillvalue=nothing)
    return [
        (a.get("path"), name, a.get(name), b.get(name))
        for a, b in pairs
        for name in {**a, **b}
        if a.get(name) != b.get(name)
    ][:10]
