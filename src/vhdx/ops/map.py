"""Say what a disk is made of: run by run, summed up, or cut into cells of equal length to be drawn."""

from __future__ import annotations

from vhdx.disk.census import count_extents, count_layer, layer_extents
from vhdx.disk.chain import VhdxDisk
from vhdx.extents import ExtentKind
from vhdx.tally import Tally
from vhdx.typed import TYPE_CHECKING, NamedTuple
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeAlias

    from vhdx.disk.opened import Disk
    from vhdx.extents import Extent
    from vhdx.progress import Progress
    from vhdx.tally import Class

    MappedDisk: TypeAlias = Disk
    Counter = Callable[[Tally, int, int], None]
    """Adds a range, given by offset and length, to a tally."""

_SMALLEST_CELL = MIB
_STEPS = 256
"""Parts in which a disk is summed up, for those who watch."""


class MapRow(NamedTuple):
    """A run of the disk; offsets and lengths in bytes.

    ``depth`` and ``file`` name the layer that answers: 0 and None where none does. Of a single layer they
    always name that layer, which says nothing where ``kind`` is unallocated.
    """

    offset: int
    length: int
    kind: str
    state: str
    depth: int
    file: str | None
    file_offset: int | None


class DiskMap(NamedTuple):
    """A disk run by run, or all of its layers so, from the image to its base."""

    path: str
    format: str
    virtual_size: int
    runs: Iterator[MapRow]


class SummaryRow(NamedTuple):
    """All runs of one kind and state in one layer: how many, and their bytes of the disk."""

    depth: int
    file: str | None
    kind: str
    state: str
    runs: int
    length: int


class Summary(NamedTuple):
    """A disk, or one layer of it, summed up.

    ``jumps`` says how often data is followed by data of the same layer that stands elsewhere in the file.
    """

    path: str
    format: str
    virtual_size: int
    rows: tuple[SummaryRow, ...]
    jumps: int


class DiskSummary(NamedTuple):
    """A disk summed up as a whole, or layer by layer."""

    path: str
    format: str
    virtual_size: int
    summaries: tuple[Summary, ...]


class Cell(NamedTuple):
    """A part of a disk: its bytes by what they are, and whether data in it, or at its start, jumps.

    ``depth`` is that of the layer that most of its data, or else of its zeros, comes from; 0 of nothing.
    """

    offset: int
    length: int
    data: int
    zeros: int
    jumps: int
    depth: int = 0


def map_rows(disk: MappedDisk) -> Iterator[MapRow]:
    """What a read of the disk comes from, run by run, in bounded memory."""
    for extent in disk.extents():
        yield _row(extent, extent.depth, disk.chain[extent.depth - 1] if extent.depth else None)


def layer_rows(disk: MappedDisk, depth: int) -> Iterator[MapRow]:
    """What the layer at ``depth`` says of its own disk, run by run, in bounded memory.

    Raises ValueError for a VHD with parents.
    """
    _refuse_layers(disk)
    extents = layer_extents(disk, depth) if isinstance(disk, VhdxDisk) else disk.extents()
    for extent in extents:
        yield _row(extent, depth, disk.chain[depth - 1])


def _row(extent: Extent, depth: int, file: str | None) -> MapRow:
    state = extent.state.name.lower()
    return MapRow(extent.offset, extent.length, extent.kind.value, state, depth, file, extent.file_offset)


def summary(disk: MappedDisk, depth: int | None = None, progress: Progress | None = None) -> Summary:
    """The disk summed up, or the layer at ``depth``; a full table of 64 TiB takes seconds.

    ``progress`` is called with the bytes of the disk that were counted, and its size.
    """
    count, size = _counter(disk, depth)
    tally = Tally()
    for offset, length in _steps(disk, size, _STEPS, depth):
        count(tally, offset, length)
        if progress is not None:
            progress(offset + length, size)
    rows = (
        SummaryRow(
            depth or layer,
            disk.chain[(depth or layer) - 1] if depth or layer else None,
            kind.value,
            state.name.lower(),
            *tally.counts[layer, kind, state],
        )
        for layer, kind, state in sorted(tally.counts)
    )
    return Summary(disk.chain[(depth or 1) - 1], disk.format, size, tuple(rows), tally.jumps)


def cells(disk: MappedDisk, most: int, depth: int | None = None) -> Iterator[Cell]:
    """The disk, or the layer at ``depth``, in at most ``most`` cells of equal length, in order.

    The length is a whole number of blocks, so only the last cell may be shorter.
    """
    count, size = _counter(disk, depth)
    tally = Tally()
    before = _shares(tally)
    counted: dict[Class, int] = {}
    for offset, length in _steps(disk, size, most, depth):
        count(tally, offset, length)
        after = _shares(tally)
        data, zeros, jumps = (now - then for now, then in zip(after, before, strict=True))
        yield Cell(
            offset,
            length,
            data,
            zeros,
            jumps,
            _answering(tally, counted, ExtentKind.DATA if data else ExtentKind.ZERO),
        )
        before, counted = after, {each: count.length for each, count in tally.counts.items()}


def _steps(disk: MappedDisk, size: int, most: int, depth: int | None) -> Iterator[tuple[int, int]]:
    """The disk cut into at most ``most`` equal parts of whole blocks: offset and length of each."""
    unit = disk.layers[(depth or 1) - 1].geometry.block_size if isinstance(disk, VhdxDisk) else _SMALLEST_CELL
    step = max(1, -(-size // (most * unit))) * unit
    for offset in range(0, size, step):
        yield offset, min(step, size - offset)


def _shares(tally: Tally) -> tuple[int, int, int]:
    """Bytes of data and of zeros, and jumps."""
    data = sum(count.length for (_, kind, _), count in tally.counts.items() if kind is ExtentKind.DATA)
    zeros = sum(count.length for (_, kind, _), count in tally.counts.items() if kind is ExtentKind.ZERO)
    return data, zeros, tally.jumps


def _answering(tally: Tally, before: Mapping[Class, int], kind: ExtentKind) -> int:
    """The layer that most of one kind came from since ``before``; 0 if nothing did."""
    added: dict[int, int] = {}
    for each, count in tally.counts.items():
        if each[1] is kind:
            added[each[0]] = added.get(each[0], 0) + count.length - before.get(each, 0)
    depth = max(added, key=lambda depth: added[depth], default=0)
    return depth if added.get(depth) else 0


def _counter(disk: MappedDisk, depth: int | None) -> tuple[Counter, int]:
    """How to count ranges of the disk or of one layer, and how long that is."""
    if depth is not None:
        _refuse_layers(disk)
    if depth is None or not isinstance(disk, VhdxDisk):
        return lambda tally, offset, length: count_extents(disk, tally, offset, length), disk.size
    size = disk.layers[depth - 1].geometry.disk_size
    return lambda tally, offset, length: count_layer(disk, depth, tally, offset, length), size


def _refuse_layers(disk: MappedDisk) -> None:
    if not isinstance(disk, VhdxDisk) and len(disk.chain) > 1:
        raise ValueError("a VHD with parents is mapped as a whole, not layer by layer")
