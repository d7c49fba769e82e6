"""What many rows come to: counted while they come, without keeping them."""

from __future__ import annotations

import heapq
import json
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from vhdx.ops.tree import ORPHANED

if TYPE_CHECKING:
    from vhdx.fleet.columns import Row

_LISTED = 1000
"""Orphans that are listed by name."""
_LOCKED = "locked"


class Orphan(NamedTuple):
    """A child that looks in vain for its parent."""

    path: str
    state: str


class Summary:
    """The sums of a report."""

    def __init__(self) -> None:
        self.images = self.size = self.virtual_size = self.given_back = self.chains = self.orphan_count = 0
        self.results: Counter[str] = Counter()
        self.error_codes: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        """Findings by code."""
        self.images_of_code: Counter[str] = Counter()
        self.sizes: Counter[int] = Counter()
        """Files by the number of bits of their size."""
        self._orphans: list[tuple[str, str]] = []

    def add(self, row: Row) -> None:
        """Count one more image."""
        self.images += 1
        size = row["file_size"] or 0
        self.size += size
        self.virtual_size += row["virtual_size"] or 0
        self.results[row["result"]] += 1
        self.sizes[size.bit_length()] += 1
        self.given_back += _given_back(row)
        if row["error_code"]:
            self.error_codes[row["error_code"]] += 1
        self.chains += row["level"] == 1
        for code, number in json.loads(row.get("codes") or "{}").items():
            self.codes[code] += number
            self.images_of_code[code] += 1
        if row["parent_state"] in ORPHANED:
            self.orphan_count += 1
            if len(self._orphans) < _LISTED:
                heapq.heappush(self._orphans, (row["path"], row["parent_state"]))

    @property
    def orphans(self) -> list[Orphan]:
        """The first of them, by name."""
        return [Orphan(*each) for each in sorted(self._orphans)]

    @property
    def in_use(self) -> int:
        """How many could not be looked at because somebody else has them."""
        return self.error_codes[_LOCKED]


def _given_back(row: Row) -> int:
    """What an image could let go of, or has let go of, by what its verb says."""
    if row.get("given_back") is not None:
        return int(row["given_back"])
    if row.get("file_size_before") is not None and row.get("file_size_after") is not None:
        return int(row["file_size_before"]) - int(row["file_size_after"])
    if row.get("compacted_size") is not None and row["file_size"] is not None:
        return max(0, int(row["file_size"]) - int(row["compacted_size"]))
    return 0
