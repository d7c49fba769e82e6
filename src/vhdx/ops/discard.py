"""What an image can let go of because the file systems on its disk call it free: blocks, and parts of blocks.

Everything is read, and agrees, before the first byte goes; the ranges are told as arrays, never kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vhdx.disk.free_space import FreeSpace, runs_of
from vhdx.errors import UnsupportedImageError
from vhdx.extents import ExtentKind
from vhdx.image.bat import WINDOW
from vhdx.image.state_masks import are_in
from vhdx.image.states import PRESENT
from vhdx.reshape.holes import punch_all
from vhdx.text import brief
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from vhdx.disk.chain import VhdxDisk
    from vhdx.disk.free_space import Chosen, VolumeSelection
    from vhdx.image.image import Image
    from vhdx.reshape.relocate import Relocator

    Flags = NDArray[np.bool_]
    Runs = NDArray[np.int64]

_UNIT = 4096
"""Of holes in files: less is not asked for, as the host would write zeros instead."""
_SHARED = "it stands in blocks with what is in use"
_FIXED = "a fixed image keeps its blocks"
_TINY = "holes of files have no such small parts"
_NO_HOLES = "the host makes no holes in this file"


@brief("name", "kind", "discarded_size", "kept_size")
class DiscardedVolume(NamedTuple):
    """What became of a volume's free space, or would. Sizes in bytes.

    ``name``, ``partition``, ``kind``, ``label``, ``state`` and ``free`` are as in `FileSystemOn`. Of what is
    free ``whole_blocks_size`` is in blocks of which everything is free; ``discarded_size`` was in the file
    and went; ``kept_size`` is in blocks of the file still, for the ``reasons``, and no hole.
    """

    partition: int | None
    name: str
    kind: str
    label: str | None
    state: str
    free: int | None
    whole_blocks_size: int
    discarded_size: int
    kept_size: int
    reasons: tuple[str, ...]


class _Sizes(NamedTuple):
    """Bytes of what a volume calls free: in wholly free blocks, be they in the file or not.

    And in blocks of the file: what can go with wholly free ones, what can become holes, what is too small.
    """

    whole: int = 0
    going: int = 0
    holes: int = 0
    tiny: int = 0


class Blocks:
    """Some of the blocks of an image, and how much of them lies in ranges of the disk."""

    def __init__(self, image: Image, flags: Flags) -> None:
        import numpy as np  # noqa: PLC0415  as all here that is vectorised

        self.flags = flags
        self._geometry = image.geometry
        self._before = np.concatenate(([0], np.cumsum(flags, dtype=np.int32)))

    def size_in(self, runs: Runs) -> int:
        """Bytes of rows (disk offset, length) that lie in these blocks."""
        return int((self._below(runs[:, 0] + runs[:, 1]) - self._below(runs[:, 0])).sum())

    def _below(self, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes of these blocks in front of each offset of the disk."""
        import numpy as np  # noqa: PLC0415

        blocks = offsets >> self._geometry.block_shift
        part = offsets & (self._geometry.block_size - 1)
        inside = self.flags[np.minimum(blocks, len(self.flags) - 1)]
        before: NDArray[np.int64] = self._before[blocks].astype(np.int64) << self._geometry.block_shift
        return before + np.where(inside, part, 0)


class Discard:
    """The discard of an image. Raises ValueError for volumes that are not there, what reading raises."""

    def __init__(self, disk: VhdxDisk, selection: VolumeSelection) -> None:
        self._image = disk.layers[0]
        self._keeps_blocks = disk.disk_type == "fixed"
        self._space = FreeSpace(disk, selection)
        self._present = Blocks(self._image, _present(self._image))
        self._free_blocks, self.needed_mibs = self._looked_through()
        self._sizes = [self._sizes_of(chosen) for chosen in self._space.volumes]
        self._punched = [0] * len(self._sizes)
        self._makes_holes = True

    def _looked_through(self) -> tuple[Blocks, int]:
        """Which blocks are wholly free, and how many MiB in blocks of the file are not."""
        import numpy as np  # noqa: PLC0415

        geometry, disk_size = self._image.geometry, self._image.geometry.disk_size
        edges, total, free_in_mibs = np.zeros(geometry.block_count + 1, dtype=np.int8), 0, 0
        for runs in self._space.runs():
            total += int(runs[:, 1].sum())
            first, stop = _whole(runs, geometry.block_size, disk_size)
            np.add.at(edges, first, 1)
            np.add.at(edges, stop, -1)
            first, stop = _whole(runs, MIB, disk_size)
            ends = np.minimum(stop * MIB, disk_size)
            starts = np.minimum(first * MIB, ends)
            free_in_mibs += self._present.size_in(np.stack((starts, ends - starts), axis=1))
        if total != self._space.size:
            raise UnsupportedImageError(
                "what file systems call free changes while it is read: somebody else writes to the disk",
                image=self._image.name,
            )
        stored = self._present.size_in(np.array([[0, disk_size]], dtype=np.int64))
        flags = np.cumsum(edges[:-1], dtype=np.int8).astype(bool)
        return Blocks(self._image, flags), -(-(stored - free_in_mibs) // MIB)

    def _sizes_of(self, chosen: Chosen) -> _Sizes:
        if chosen.reasons:
            return _Sizes()
        whole = stored = going = gone = units = 0
        blocks = self._going
        for runs in runs_of(chosen.volume):
            aligned = _whole_units(runs)
            whole += self._free_blocks.size_in(runs)
            stored += self._present.size_in(runs)
            units += self._present.size_in(aligned)
            if not self._keeps_blocks:
                going += blocks.size_in(runs)
                gone += blocks.size_in(aligned)
        holes = units - gone
        return _Sizes(whole, going, holes, stored - going - holes)

    @property
    def _going(self) -> Blocks:
        return Blocks(self._image, self._free_blocks.flags & self._present.flags)

    def apply(self, changes: Relocator, *, punch: bool) -> tuple[int, int]:
        """Let go of whole blocks, with ``punch`` also of parts: how many blocks, and bytes of parts."""
        blocks = 0
        for run in () if self._keeps_blocks else self._blocks():
            start = run.start << self._image.geometry.block_shift
            end = min(run.stop << self._image.geometry.block_shift, self._image.geometry.disk_size)
            changes.discard(end - start, start)
            blocks += len(run)
        if punch:
            self._punch_parts(changes)
        return blocks, sum(self._punched)

    def _blocks(self) -> Iterator[range]:
        """The blocks in the file that are wholly free, in order."""
        import numpy as np  # noqa: PLC0415

        edges = np.flatnonzero(np.diff(self._going.flags, prepend=False, append=False))
        for first, stop in edges.reshape(-1, 2).tolist():
            yield range(first, stop)

    def _punch_parts(self, changes: Relocator) -> None:
        """What is free in blocks that stay becomes holes."""
        present = _present(self._image)

        def punch(file_offset: int, length: int) -> bool:
            self._makes_holes = changes.punch(file_offset, length, contents=True)
            return self._makes_holes

        for index, chosen in enumerate(self._space.volumes):
            if not chosen.reasons:
                parts = _parts(self._image, present, runs_of(chosen.volume))
                self._punched[index] = punch_all(self._image, parts, punch)

    def results(self, *, punch: bool) -> tuple[DiscardedVolume, ...]:
        """What became of each volume."""
        return tuple(
            self._result(*row, punch=punch)
            for row in zip(self._space.volumes, self._sizes, self._punched, strict=True)
        )

    def _result(self, chosen: Chosen, sizes: _Sizes, punched: int, *, punch: bool) -> DiscardedVolume:
        if punch and self._makes_holes:
            kept, why = sizes.tiny, _TINY
        else:
            kept = sizes.holes + sizes.tiny - punched
            why = (
                _NO_HOLES
                if punch
                else f"{_FIXED if self._keeps_blocks else _SHARED}; --punch makes holes there"
            )
        volume, found = chosen.volume, chosen.volume.file_system
        return DiscardedVolume(
            volume.partition,
            volume.name,
            found.kind,
            found.label,
            found.state,
            found.free,
            sizes.whole,
            sizes.going + punched,
            kept,
            chosen.reasons or ((why,) if kept else ()),
        )


def _present(image: Image) -> Flags:
    """Of each block whether it has contents in the file."""
    import numpy as np  # noqa: PLC0415

    flags = np.zeros(image.geometry.block_count, dtype=bool)
    for block in range(0, len(flags), WINDOW):
        entries = image.bat.payloads(block, min(WINDOW, len(flags) - block))
        flags[block : block + len(entries)] = are_in(np.frombuffer(entries, dtype=np.uint64), PRESENT)
    return flags


def _whole(runs: Runs, size: int, disk_size: int) -> tuple[Runs, Runs]:
    """First and last but one of the units of some size that each run covers: columns, equal for none.

    A run up to the end of the disk covers a short last unit, too.
    """
    import numpy as np  # noqa: PLC0415

    ends = runs[:, 0] + runs[:, 1]
    first = -(-runs[:, 0] // size)
    stop = np.where(ends == disk_size, -(-ends // size), ends // size)
    return first, np.maximum(first, stop)


def _whole_units(runs: Runs) -> Runs:
    """The same without what is no whole unit of the host's."""
    import numpy as np  # noqa: PLC0415

    starts = -(-runs[:, 0] // _UNIT) * _UNIT
    ends = (runs[:, 0] + runs[:, 1]) // _UNIT * _UNIT
    return np.stack((starts, np.maximum(ends - starts, 0)), axis=1)


def _parts(image: Image, present: Flags, chunks: Iterable[Runs]) -> Iterator[tuple[int, int]]:
    """The (file offset, length) of whole units of the host in ranges of the disk that stand in the file."""
    for runs in chunks:
        for start, length in _near_present(image, present, runs).tolist():
            for extent in image.reader.extents(start, length):
                if extent.kind is ExtentKind.DATA and extent.file_offset is not None:
                    first = -(-extent.file_offset // _UNIT) * _UNIT
                    stop = (extent.file_offset + extent.length) // _UNIT * _UNIT
                    if first < stop:
                        yield first, stop - first


def _near_present(image: Image, present: Flags, runs: Runs) -> Runs:
    """Those rows that are worth a look: long enough for a hole, and not wholly in blocks without contents."""
    first = runs[:, 0] >> image.geometry.block_shift
    last = (runs[:, 0] + runs[:, 1] - 1) >> image.geometry.block_shift
    chosen: Runs = runs[(runs[:, 1] >= _UNIT) & (present[first] | present[last] | (last - first > 1))]
    return chosen
