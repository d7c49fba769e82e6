"""What of a disk its file systems call free, in one ascending stream, and which volumes are left out of it.

All volumes are read and agree before anything is told. The stream reads them once more each time.
"""

from __future__ import annotations

from vhdx.disk.partitions import partition_table
from vhdx.disk.volume_map import Segment, clipped
from vhdx.disk.volumes import volumes
from vhdx.errors import UnsupportedImageError
from vhdx.filesystems.runs import joined_chunks, overlapping
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from vhdx.disk.base import VirtualDisk
    from vhdx.disk.volumes import Volume

SWAP = "swap"
_NOT_ASKED = "it was not asked for"


class VolumeSelection(NamedTuple):
    """Which volumes are asked for: by the number of a partition as a word, or a volume's name.

    Without ``include`` all are; a partition stands also for the logical volumes in it. ``swap``: also swap
    areas, which the memory of a machine that sleeps or is saved may stand in.
    """

    swap: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Chosen(NamedTuple):
    """A volume, and why nothing of it may go; without reasons what it calls free may."""

    volume: Volume
    reasons: tuple[str, ...]


class FreeSpace:
    """The volumes of a disk. Raises ValueError for names that it has not, what reading raises."""

    def __init__(self, disk: VirtualDisk, selection: VolumeSelection | None = None) -> None:
        self._disk = disk
        self.volumes = tuple(_chosen(disk, selection or VolumeSelection()))
        """What was recognised on the disk, and of which nothing may go."""

    def runs(self) -> Iterator[Any]:
        """Rows of (disk offset, length): ascending, disjoint, those that touch one, in arrays.

        Raises UnsupportedImageError if a volume does not agree any more.
        """
        free = [chosen.volume.free_runs() for chosen in self.volumes if not chosen.reasons]
        return joined_chunks(_merged(free))

    def runs_in(self, offset: int, length: int) -> Iterator[Any]:
        """The same of a range of the disk, with offsets that count from its start."""
        for runs in self.runs():
            yield from clipped(runs, Segment(offset, 0, length))

    def remarks(self) -> tuple[str, ...]:
        """Of which volumes nothing may go, and why, except of those that were not asked for."""
        return tuple(
            f"{chosen.volume.name}, {chosen.volume.file_system.kind}: its free space is kept: {reason}"
            for chosen in self.volumes
            for reason in chosen.reasons[:1]
            if reason != _NOT_ASKED
        )

    @property
    def size(self) -> int:
        """Bytes of all that may go."""
        return sum(chosen.volume.file_system.free or 0 for chosen in self.volumes if not chosen.reasons)


def runs_of(volume: Volume) -> Iterator[Any]:
    """What one volume calls free, as `FreeSpace.runs`."""
    return joined_chunks(volume.free_runs())


def _chosen(disk: VirtualDisk, selection: VolumeSelection) -> Iterator[Chosen]:
    found = volumes(disk)
    names = {volume.name: _names(volume, found) for volume in found}
    known = {str(partition.number) for partition in partition_table(disk).partitions}.union(*names.values())
    unknown = sorted({*selection.include, *selection.exclude} - known)
    if unknown:
        raise ValueError(f"there is no volume {unknown[0]}; there are: {', '.join(sorted(known)) or 'none'}")
    for volume in found:
        yield Chosen(volume, volume.file_system.reasons or _left_out(volume, names[volume.name], selection))


def _names(volume: Volume, all_volumes: Iterable[Volume]) -> frozenset[str]:
    """What a volume can be asked for by: its own name and the partitions that it stands in."""
    if volume.partition is not None:
        return frozenset({str(volume.partition)})
    inside = {
        str(other.partition)
        for other in all_volumes
        if other.partition is not None
        and any(_overlap(mine, theirs) for mine in volume.map.segments for theirs in other.map.segments)
    }
    return frozenset({volume.name, *inside})


def _overlap(one: Segment, other: Segment) -> bool:
    return (
        one.disk_offset < other.disk_offset + other.length
        and other.disk_offset < one.disk_offset + one.length
    )


def _left_out(volume: Volume, names: frozenset[str], selection: VolumeSelection) -> tuple[str, ...]:
    partitions = names - {volume.name}
    asked = volume.name in selection.include or (partitions and partitions <= {*selection.include})
    if names & {*selection.exclude} or (selection.include and not asked):
        return (_NOT_ASKED,)
    if volume.file_system.kind == SWAP and not selection.swap:
        return ("swap areas are left alone unless they are asked for (--swap)",)
    return ()


def _merged(streams: Iterable[Iterator[Any]]) -> Iterator[Any]:
    """Streams of ascending rows as one. Raises UnsupportedImageError where two have bytes in common."""
    import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

    waiting = [(runs, stream) for stream in streams if (runs := _next(stream)) is not None]
    end = 0
    while waiting:
        horizon = min(runs[-1, 0] for runs, _ in waiting)
        ready, left = [], []
        for runs, stream in waiting:
            count = int(np.searchsorted(runs[:, 0], horizon, side="right"))
            ready.append(runs[:count])
            rest = runs[count:] if count < len(runs) else _next(stream)
            if rest is not None:
                left.append((rest, stream))
        rows = np.concatenate(ready)
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        if int(rows[0, 0]) < end or overlapping(rows):
            raise UnsupportedImageError("two volumes of the disk have bytes in common that one calls free")
        end, waiting = int(rows[-1].sum()), left
        yield rows


def _next(stream: Iterator[Any]) -> Any:
    """The next array with rows, None at the end."""
    return next((runs for runs in stream if len(runs)), None)
