"""Long bitmaps in pieces of bounded length, and runs of clusters as bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vhdx.filesystems.bits import clear_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vhdx.filesystems.base import Runs

PIECE_LENGTH = 1 << 20
"""Bytes of a bitmap that are looked at together."""


def clear_runs_in_pieces(read: Callable[[int, int], bytes], count: int) -> Iterator[Runs]:
    """The runs of clear bits among the first ``count`` of the bitmap that ``read(length, offset)`` gives."""
    for first in range(0, count, PIECE_LENGTH * 8):
        bits = min(PIECE_LENGTH * 8, count - first)
        runs = clear_runs(np.frombuffer(read(-(-bits // 8), first // 8), np.uint8), bits)
        runs[:, 0] += first
        yield runs


def in_bytes(chunks: Iterable[Runs], start: int, unit: int) -> Iterator[Runs]:
    """Runs of clusters as bytes, where cluster 0 is ``unit`` bytes long and stands at ``start``."""
    for runs in chunks:
        yield runs * unit + np.array([start, 0], np.int64)
