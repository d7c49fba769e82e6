"""Stretches of consecutive numbers: as few long reads, and as runs whose neighbours are one."""

from __future__ import annotations

import itertools

from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    Runs = NDArray[np.int64]


def spans(numbers: NDArray[np.int64], most: int) -> Iterator[tuple[int, int, int]]:
    """(index, number, count) of each stretch of consecutive numbers, none longer than ``most``."""
    import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

    borders = (np.flatnonzero(np.diff(numbers) != 1) + 1).tolist()
    for begin, end in itertools.pairwise((0, *borders, len(numbers))):
        for index in range(begin, end, most):
            yield index, int(numbers[index]), min(most, end - index)


def overlapping(runs: Runs) -> bool:
    """Whether any two of the runs, which ascend by their start, have something in common."""
    return bool((runs[:-1].sum(axis=1) > runs[1:, 0]).any())


def counts_between(runs: Runs, borders: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many numbers of ascending, disjoint runs lie between each border and the next."""
    import numpy as np  # noqa: PLC0415  see above

    summed = np.concatenate(([0], np.cumsum(runs[:, 1])))
    begun = np.searchsorted(runs[:, 0], borders)
    last = np.maximum(begun - 1, 0)
    behind = (
        np.maximum(runs[last].sum(axis=1) - borders, 0) if len(runs) else np.zeros(len(borders), np.int64)
    )
    return np.diff(summed[begun] - np.where(begun > 0, behind, 0))


def joined(runs: Runs) -> Runs:
    """Ascending, disjoint runs with those that touch made one."""
    import numpy as np  # noqa: PLC0415  see above

    if len(runs) == 0:
        return runs
    apart = runs[1:, 0] != runs[:-1].sum(axis=1)
    starts = runs[np.concatenate(([True], apart)), 0]
    ends = runs[np.concatenate((apart, [True]))].sum(axis=1)
    return np.stack((starts, ends - starts), axis=1)


def joined_chunks(chunks: Iterable[Runs]) -> Iterator[Runs]:
    """Arrays of ascending runs, each joined in itself, joined where one array ends and the next begins."""
    import numpy as np  # noqa: PLC0415  see above

    held = np.empty((0, 2), dtype=np.int64)
    for runs in chunks:
        if not len(runs):
            continue
        if len(held) and held[0].sum() == runs[0, 0]:
            together = runs.copy()
            together[0] = held[0, 0], held[0, 1] + runs[0, 1]
        else:
            together = np.concatenate((held, runs))
        held = together[-1:]
        if len(together) > 1:
            yield together[:-1]
    if len(held):
        yield held
