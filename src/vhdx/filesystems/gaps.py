"""What used ranges leave free, array by array."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.filesystems.base import NotFreeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vhdx.filesystems.base import Runs


def gaps(used: Iterable[Runs], start: int, end: int) -> Iterator[Runs]:
    """The ranges from ``start`` to ``end`` that ``used``, rows of (offset, length) in order, leaves free.

    Raises NotFreeError where used ranges overlap, are out of order or leave the range.
    """
    import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

    for runs in used:
        if not len(runs):
            continue
        ends = runs[:, 0] + runs[:, 1]
        before = np.concatenate((np.array((start,), np.int64), ends[:-1]))
        lengths = runs[:, 0] - before
        if lengths.min() < 0 or runs[:, 1].min() <= 0 or ends[-1] > end:
            raise NotFreeError("two things of it use the same bytes, or bytes outside of it")
        yield np.stack((before, lengths), axis=1)[lengths > 0]
        start = int(ends[-1])
    if start < end:
        yield np.array(((start, end - start),), np.int64)
