"""The free clusters of a volume, given out in order."""

from __future__ import annotations

import errno
import itertools
from typing import TYPE_CHECKING

from vhdx.filesystems.insert.base import FIRST_CLUSTER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vhdx.filesystems.insert.base import Layout, Run

_MOST_HELD = 1024
"""Runs that are looked at for one that is long enough, before a file is put together of several."""


class FreeClusters:
    """What is certainly free, by (offset, length) ranges that ascend; ``left`` clusters of it."""

    def __init__(self, layout: Layout, ranges: Iterable[tuple[int, int]], free_bytes: int) -> None:
        start, size = layout.cluster_offset(FIRST_CLUSTER), layout.cluster_size
        self._runs = (((offset - start) // size + FIRST_CLUSTER, length // size) for offset, length in ranges)
        self._held: list[Run] = []
        self.left = free_bytes // size

    def take(self, count: int) -> list[Run]:
        """So many clusters, in one run where there is one among the next. Raises OSError (ENOSPC)."""
        if count > self.left:
            raise OSError(errno.ENOSPC, "the volume has no room for it")
        taken: list[Run] = []
        while count:
            index = self._long_enough(count)
            first, length = self._held.pop(index)
            used = min(length, count)
            if used < length:
                self._held.insert(index, (first + used, length - used))
            taken.append((first, used))
            count -= used
            self.left -= used
        return taken

    def take_fitting(self, fits: Callable[[int], bool]) -> int:
        """One cluster for which ``fits`` holds. Raises OSError (ENOSPC)."""
        for index in itertools.count():
            if index == len(self._held):
                self._held.extend(itertools.islice(self._runs, 1))
            if index == len(self._held):
                raise OSError(errno.ENOSPC, "the volume has no room for a longer directory")
            first, length = self._held[index]
            found = next((cluster for cluster in range(first, first + length) if fits(cluster)), None)
            if found is not None:
                parts = ((first, found - first), (found + 1, first + length - found - 1))
                self._held[index : index + 1] = [part for part in parts if part[1]]
                self.left -= 1
                return found
        raise AssertionError  # itertools.count has no end

    def _long_enough(self, count: int) -> int:
        for index, (_, length) in enumerate(self._held):
            if length >= count:
                return index
        while len(self._held) < _MOST_HELD:
            run = next(self._runs, None)
            if run is None:
                break
            self._held.append(run)
            if run[1] >= count:
                return len(self._held) - 1
        if not self._held:
            raise OSError(errno.ENOSPC, "the volume has less free space than it says")
        return 0
