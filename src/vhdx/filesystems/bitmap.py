"""Long bitmaps in pieces, and runs as arrays of bounded length: joined where they touch, in bytes."""

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


def joined_chunks(chunks: Iterable[Runs]) -> Iterator[Runs]:
    """The same runs; where the last of a chunk and the first of the next touch, they are one."""
    held: Runs | None = None
    for runs in chunks:
        if not len(runs):
            continue
        if held is None:
            whole = runs
        elif held[0].sum() == runs[0, 0]:
            whole = runs.copy()
            whole[0] = held[0, 0], held[0, 1] + runs[0, 1]
        else:
            whole = np.concatenate((held, runs))
        if len(whole) > 1:
            yield whole[:-1]
        held = whole[-1:]
    if held is not None:
        yield held


def in_bytes(chunks: Iterable[Runs], start: int, unit: int) -> Iterator[Runs]:
    """Runs of clusters as bytes, where cluster 0 is ``unit`` bytes long and stands at ``start``."""
    for runs in chunks:
        yield runs * unit + np.array([start, 0])
