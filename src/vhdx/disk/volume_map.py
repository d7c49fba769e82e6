"""Where the bytes of a volume stand on its disk: one run for a partition, several for a logical volume."""

from __future__ import annotations

from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from vhdx.disk.base import VirtualDisk


class Segment(NamedTuple):
    """``length`` bytes of a volume from ``offset`` on, which stand at ``disk_offset``."""

    offset: int
    disk_offset: int
    length: int


class VolumeMap:
    """A volume as runs of a disk, in the order of the volume; neighbours on the disk are one run."""

    def __init__(self, disk: VirtualDisk, runs: Iterable[tuple[int, int]]) -> None:
        self._disk = disk
        self.segments = tuple(_joined(runs))
        """The runs in the order of the volume."""
        self.size = sum(segment.length for segment in self.segments)
        """Bytes of the volume."""
        self.sector_size = disk.logical_sector_size
        """The unit in which a table of partitions inside of the volume would count."""

    def read(self, length: int, offset: int) -> bytes:
        """Exactly these bytes of the volume. Raises ValueError where they are not all inside."""
        if len(self.segments) == 1 and offset >= 0 and offset + length <= self.size:
            return self._disk.pread(length, self.segments[0].disk_offset + offset)
        return b"".join(self._disk.pread(count, start) for start, count in self.runs(offset, length))

    def write(self, data: bytes, offset: int) -> None:
        """Write all of ``data`` into the volume. Raises ValueError where it does not all fit in."""
        done = 0
        for start, count in self.runs(offset, len(data)):
            self._disk.pwrite(memoryview(data)[done : done + count], start)
            done += count

    def zero(self, length: int, offset: int) -> None:
        """Make a range of the volume read as zeros. Raises ValueError where it is not all inside."""
        for start, count in self.runs(offset, length):
            self._disk.zero(length=count, offset=start)

    def runs(self, offset: int, length: int) -> list[tuple[int, int]]:
        """Where a range of the volume stands: (disk offset, length), in the order of the volume."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"{length} bytes at {offset} are not inside the volume of {self.size} bytes")
        found = []
        for segment in self.segments:
            start = max(offset, segment.offset)
            end = min(offset + length, segment.offset + segment.length)
            if start < end:
                found.append((segment.disk_offset + start - segment.offset, end - start))
        return found

    def on_disk(self, free_runs: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """Rows of (offset, length) of the volume as rows of the disk, cut where segments end, ascending.

        Where the segments are out of order on the disk the rows are asked for once for each of them.
        """
        by_place = sorted(self.segments, key=lambda segment: segment.disk_offset)
        passes = [by_place] if by_place == list(self.segments) else [[segment] for segment in by_place]
        for segments in passes:
            for runs in free_runs():
                for segment in segments:
                    yield from clipped(runs, segment)


def _joined(runs: Iterable[tuple[int, int]]) -> Iterator[Segment]:
    current: Segment | None = None
    for start, length in runs:
        if current is not None and current.disk_offset + current.length == start:
            current = current._replace(length=current.length + length)
            continue
        if current is not None:
            yield current
        behind = 0 if current is None else current.offset + current.length
        current = Segment(behind, start, length)
    if current is not None:
        yield current


def clipped(runs: Any, segment: Segment) -> Iterator[Any]:
    """The parts of rows that lie in a segment, as rows of the disk; nothing where there are none."""
    import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

    starts = np.maximum(runs[:, 0], segment.offset)
    lengths = np.minimum(runs[:, 0] + runs[:, 1], segment.offset + segment.length) - starts
    inside = lengths > 0
    if inside.any():
        places = starts - segment.offset + segment.disk_offset
        yield np.stack((places, lengths), axis=1)[inside]
