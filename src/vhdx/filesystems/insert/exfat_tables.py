"""The table and the bitmap of an exFAT as they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.filesystems.insert.base import AT_ONCE, FIRST_CLUSTER, Write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.base import Read
    from vhdx.filesystems.exfat_boot import Boot
    from vhdx.filesystems.exfat_root import Area, Clusters
    from vhdx.filesystems.insert.base import Run

_END = 0xFFFFFFFF


class ExfatTables:
    """Both of them."""

    def __init__(self, read: Read, boot: Boot, clusters: Clusters, bitmap: Area) -> None:
        self._read, self._boot = read, boot
        self._clusters, self._bitmap = clusters, bitmap

    def chain(self, first: int, count: int) -> list[Run]:
        """So many clusters of a chain. Raises NotFreeError where it is shorter."""
        return runs_of(self._clusters.first_of_chain(first, count))

    def chained(self, runs: list[Run]) -> Iterator[Write]:
        """Each cluster leads to the next, the last one ends the chain."""
        import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

        following = [first for first, _ in runs[1:]]
        for (first, count), behind in zip(runs, [*following, _END], strict=True):
            for start in range(first, first + count, AT_ONCE // 4):
                end = min(start + AT_ONCE // 4, first + count)
                values = np.arange(start + 1, end + 1, dtype="<u4")
                if end == first + count:
                    values[-1] = behind
                yield Write(self._boot.fat_offset + start * 4, values.tobytes())

    def linked(self, cluster: int, target: int) -> Write:
        """The end of a chain leads on."""
        return Write(self._boot.fat_offset + cluster * 4, target.to_bytes(4, "little"))

    def marked(self, runs: list[Run], *, in_use: bool) -> Iterator[Write]:
        """The bits of clusters."""
        for first, count in runs:
            bit, end = first - FIRST_CLUSTER, first - FIRST_CLUSTER + count
            while bit < end:
                piece = min(end, bit - bit % 8 + AT_ONCE * 8, self._end_of_cluster(bit))
                yield self._bits(bit, piece, in_use=in_use)
                bit = piece

    def _end_of_cluster(self, bit: int) -> int:
        """The first bit that stands in another cluster of the bitmap."""
        in_cluster = self._boot.cluster_size * 8
        return bit - bit % in_cluster + in_cluster

    def _bits(self, bit: int, end: int, *, in_use: bool) -> Write:
        first, behind = bit // 8, -(-end // 8)
        raw = int.from_bytes(self._clusters.read(self._bitmap, behind - first, first), "little")
        mask = (1 << end - bit) - 1 << bit % 8
        raw = raw | mask if in_use else raw & ~mask
        number, inner = divmod(first, self._boot.cluster_size)
        place = (self._bitmap.clusters[number] - FIRST_CLUSTER) * self._boot.cluster_size + inner
        return Write(self._boot.heap_offset + place, raw.to_bytes(behind - first, "little"))


def runs_of(clusters: list[int]) -> list[Run]:
    """Clusters, in their order, as runs."""
    runs: list[Run] = []
    for cluster in clusters:
        if runs and sum(runs[-1]) == cluster:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((cluster, 1))
    return runs
