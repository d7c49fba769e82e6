"""The latest blocks of something slow to ask, so that small reads beside each other ask once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Fetch = Callable[[Sequence[tuple[int, int]]], Sequence[bytes]]

BLOCK_SIZE = 64 * 1024
"""What is fetched at least."""
_KEPT_BLOCKS = 128
_LARGEST_KEPT_READ = 16 * BLOCK_SIZE


class KeptBlocks:
    """Reads by aligned blocks, neighbours at once, and keeps the latest; large reads go past them.

    ``fetch`` gives the bytes of (start, end) ranges, exactly. Several threads may read: what two of them
    miss at once is fetched twice, and nobody waits for another's block.
    """

    def __init__(self, fetch: Fetch, size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, start: int, end: int) -> bytes:
        """The bytes of a range that is not empty and ends inside."""
        if end - start > _LARGEST_KEPT_READ:
            return self._fetch([(start, end)])[0]
        wanted = range(start // BLOCK_SIZE, -(-end // BLOCK_SIZE))
        found = self.load(wanted)
        data = b"".join(found[block] for block in wanted)
        moved = wanted.start * BLOCK_SIZE
        return data[start - moved : end - moved]

    def load(self, wanted: Iterable[int]) -> dict[int, bytes]:
        """Blocks by number, in ascending order; all that are missing are asked for in one call."""
        with self._lock:
            found = {block: self._blocks[block] for block in wanted if block in self._blocks}
        runs = list(_runs(block for block in wanted if block not in found))
        if runs:
            places = [(run.start * BLOCK_SIZE, min(run.stop * BLOCK_SIZE, self._size)) for run in runs]
            for run, data in zip(runs, self._fetch(places), strict=True):
                for index, block in enumerate(run):
                    found[block] = data[index * BLOCK_SIZE :][:BLOCK_SIZE]
        self._keep(found)
        return found

    def _keep(self, found: dict[int, bytes]) -> None:
        with self._lock:
            for block, data in sorted(found.items()):
                self._blocks[block] = data
                self._blocks.move_to_end(block)
            while len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)

    def clear(self) -> None:
        """Keep nothing."""
        with self._lock:
            self._blocks.clear()


def _runs(blocks: Iterable[int]) -> Iterator[range]:
    """Numbers in ascending order as runs."""
    run = range(0)
    for block in blocks:
        if run and block == run.stop:
            run = range(run.start, block + 1)
            continue
        if run:
            yield run
        run = range(block, block + 1)
    if run:
        yield run
