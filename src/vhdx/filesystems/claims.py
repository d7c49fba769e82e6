"""What files claim against a bitmap: every cluster is one file's only, and not free."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.runs import joined, overlapping

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vhdx.filesystems.base import Runs

_AT_ONCE = 1 << 20
_MOST_PIECES = 8 << 20
"""Pieces of used space that are held: 128 MiB."""


def used_runs(chunks: Iterable[Runs], advice: str) -> Runs:
    """All claims as few runs, ascending. Raises NotFreeError where two overlap."""
    used = np.empty((0, 2), np.int64)
    waiting: list[Runs] = []
    count = 0
    for runs in chunks:
        waiting.append(runs)
        count += len(runs)
        if count >= max(_AT_ONCE, len(used)):
            used, waiting, count = _merged([used, *waiting], advice), [], 0
    return _merged([used, *waiting], advice)


def _merged(chunks: list[Runs], advice: str) -> Runs:
    runs = np.concatenate(chunks)
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    if overlapping(runs):
        twice = runs[1:, 0][runs[:-1, 0] + runs[:-1, 1] > runs[1:, 0]]
        raise NotFreeError(f"cluster {twice[0]} belongs to two files: {advice}")
    runs = joined(runs)
    if len(runs) > _MOST_PIECES:
        raise NotFreeError(
            f"its used space is in more than {_MOST_PIECES} pieces, which is not compared", "unknown"
        )
    return runs


def must_be_apart(free: Runs, used: Runs, advice: str) -> None:
    """Raises NotFreeError where a run of clear bits meets a claim; both ascend."""
    ends = used[:, 0] + used[:, 1]
    following = np.searchsorted(ends, free[:, 0], "right")
    starts = np.append(used[:, 0], np.iinfo(np.int64).max)[following]
    wrong = np.flatnonzero(starts < free[:, 0] + free[:, 1])
    if len(wrong):
        cluster = max(int(starts[wrong[0]]), int(free[wrong[0], 0]))
        raise NotFreeError(f"cluster {cluster} is free by its bitmap and belongs to a file: {advice}")
