"""The table of a FAT as it is written: chains, and the bits that say whether it was unmounted."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.insert.base import ADVICE, AT_ONCE, ATOM, BARRIER, FIRST_CLUSTER, Write

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from vhdx.filesystems.base import Read
    from vhdx.filesystems.fat_boot import Boot
    from vhdx.filesystems.insert.base import Run, Step

_PAGE = 4096
_MASK = 0x0FFFFFFF
_FAT12 = 12


class FatTable:
    """The table that counts, in as many copies as do."""

    def __init__(self, read: Read, boot: Boot) -> None:
        self._read, self._boot = read, boot
        self._bits = boot.width.bits
        self.end = (1 << min(self._bits, 28)) - 1
        """What ends a chain."""

    def entry(self, cluster: int) -> int:
        """What stands for a cluster."""
        length = 2 if self._bits == _FAT12 else self._bits // 8
        raw = int.from_bytes(self._read(length, self._offset(cluster)), "little")
        return self._of_12(raw, cluster) if self._bits == _FAT12 else raw & _MASK

    def chain(self, first: int, most: int) -> list[Run]:
        """The clusters of a chain as runs. Raises NotFreeError where it does not end within ``most``."""
        runs: list[Run] = []
        for cluster in islice(self._followed(first), most + 1):
            if runs and sum(runs[-1]) == cluster:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((cluster, 1))
        if sum(count for _, count in runs) > most:
            raise NotFreeError(f"a chain of its FAT has no end: {ADVICE}")
        return runs

    def _followed(self, first: int) -> Iterator[int]:
        cluster = first
        while cluster <= self._boot.width.bad:
            if not FIRST_CLUSTER <= cluster < self._boot.clusters + FIRST_CLUSTER:
                raise NotFreeError(f"a chain of its FAT leads to cluster {cluster}: {ADVICE}")
            yield cluster
            cluster = self.entry(cluster)

    def chained(self, runs: list[Run]) -> Iterator[Write]:
        """Each cluster leads to the next, the last one ends the chain."""
        following = [first for first, _ in runs[1:]]
        for (first, count), behind in zip(runs, [*following, self.end], strict=True):
            yield from self._run(first, count, behind)

    def released(self, runs: list[Run]) -> Iterator[Write]:
        """No cluster is in use."""
        for first, count in runs:
            yield from self._run(first, count, None)

    def linked(self, last: int, target: int) -> Iterator[Step]:
        """The end of a chain leads on; see `fits_behind` for where its entry stands in two atoms."""
        for write in self._run(last, 1, target):
            if self._is_torn(last):
                yield write._replace(data=write.data[:1])
                yield BARRIER
                yield Write(write.offset + 1, write.data[1:])
            else:
                yield write

    def fits_behind(self, last: int, cluster: int) -> bool:
        """Whether a chain that ends with ``last`` can be led on to ``cluster`` so that it is always sound.

        An entry of FAT12 may stand in two atoms. Its lower bits are written first then, and the rest of the
        old entry is ones: together they have to end the chain still.
        """
        return not self._is_torn(last) or (cluster & 0xF >= 8 if last % 2 else cluster & 0xFF >= 0xF8)

    def _is_torn(self, cluster: int) -> bool:
        return self._bits == _FAT12 and self._offset(cluster) % ATOM == ATOM - 1

    def marked(self, *, is_clean: bool) -> Iterator[Write]:
        """The bit of the second entry, which FAT12 does not have."""
        bit = self._boot.width.clean
        if bit:
            old = self.entry(1)
            value = old | bit if is_clean else old & ~bit
            yield from self._copies(self._offset(1), self._packed(1, [value]))

    def _run(self, first: int, count: int, behind: int | None) -> Iterator[Write]:
        """Entries that lead to the next each, the last one to ``behind``; all of them free for None."""
        import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

        step = AT_ONCE * 8 // self._bits & ~1
        for start in range(first, first + count, step):
            end = min(start + step, first + count)
            values = np.zeros(end - start, np.uint32)
            if behind is not None:
                values = np.arange(start + 1, end + 1, dtype=np.uint32)
                if end == first + count:
                    values[-1] = behind
            yield from self._copies(self._offset(start), self._packed(start, values))

    def _packed(self, first: int, values: NDArray[np.uint32] | list[int]) -> bytes:
        """Entries as bytes, with what else stands in these."""
        import numpy as np  # noqa: PLC0415  see above

        entries = np.asarray(values, np.uint32)
        if self._bits == 16:
            return entries.astype("<u2").tobytes()
        if self._bits == 32:
            before = np.frombuffer(self._read(4 * len(entries), self._offset(first)), "<u4")
            return (before & np.uint32(0xF0000000) | entries & np.uint32(_MASK)).astype("<u4").tobytes()
        start, end = self._offset(first), self._offset(first + len(entries) - 1) + 2
        raw = int.from_bytes(self._read(end - start, start), "little")
        for index, value in enumerate(entries.tolist()):
            shift = (first + index) * _FAT12 - (start - self._first_copy) * 8
            raw = raw & ~(0xFFF << shift) | value << shift
        return raw.to_bytes(end - start, "little")

    def _copies(self, offset: int, data: bytes) -> Iterator[Write]:
        for number in self._boot.copies:
            start = offset - self._first_copy + self._boot.fat_offset + number * self._boot.fat_length
            yield Write(start, data)

    @property
    def _first_copy(self) -> int:
        return self._boot.fat_offset + self._boot.copies[0] * self._boot.fat_length

    def _offset(self, cluster: int) -> int:
        """Where an entry begins in the first copy that counts."""
        return self._first_copy + cluster * self._bits // 8

    def _of_12(self, raw: int, cluster: int) -> int:
        return raw >> 4 if cluster % 2 else raw & 0xFFF
