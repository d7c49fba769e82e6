"""Say what a conversion or a compaction would take, without doing it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from vhdx.disk.chain import VhdxDisk
from vhdx.disk.free_space import VolumeSelection
from vhdx.errors import CorruptImageError, UnsupportedImageError
from vhdx.ops.compact import compact
from vhdx.ops.make.ahead import pieces_here
from vhdx.ops.make.opening import open_source
from vhdx.ops.make.plan import ImageOptions, Rounding
from vhdx.ops.make.resector import with_sectors_of
from vhdx.ops.make.sink import touched_blocks
from vhdx.ops.make.source import stored_size
from vhdx.ops.make.target import target_for
from vhdx.storage.stream import is_url
from vhdx.text import brief

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.disk.formats import Format, Openable
    from vhdx.disk.places import Parents
    from vhdx.ops.make.source import Source
    from vhdx.ops.make.target import Target
    from vhdx.progress import Progress


@brief("path", "target_format", "virtual_size", "required_size", "scanned")
class MeasureResult(NamedTuple):
    """What would be made of the file ``path``. Sizes in bytes.

    ``required_size`` is the length of the file that a conversion makes, ``fully_allocated_size`` what it
    grows to when every block is written to, ``data_size`` the contents that would be written. Without
    ``scanned`` zeros that are stored count as contents, which a conversion leaves out: then these are upper
    bounds. ``compacted_size`` is the file of a VHDX after compaction, None for other sources and for an image
    that can be read but not compacted, which ``remarks`` say.
    """

    path: str
    source_format: str
    target_format: str
    virtual_size: int
    required_size: int
    fully_allocated_size: int
    data_size: int
    scanned: bool
    compacted_size: int | None
    remarks: tuple[str, ...]


def measure(
    source: Openable,
    *,
    source_format: Format | None = None,
    target_format: Format = "vhdx",
    options: ImageOptions | None = None,
    partition: int | None = None,
    scan_zeros: bool = False,
    discard_free: bool = False,
    volumes: VolumeSelection | None = None,
    parents: Parents = None,
    lock: bool = True,
    progress: Progress | None = None,
) -> MeasureResult:
    """What `convert` of ``source`` with the same arguments would make, and `compact` if it is a VHDX.

    From the tables and the host's knowledge of holes; ``scan_zeros`` reads the contents, too, and is exact.
    ``discard_free`` and ``volumes`` leave out what file systems call free.
    Raises what `convert` raises, and ValueError for a pipe, which could be read only once.
    """
    rounding = Rounding()
    selection = (volumes or VolumeSelection()) if discard_free else None
    with open_source(
        source, source_format, parents=parents, lock=lock, partition=partition, volumes=selection
    ) as opened:
        if opened.size is None or opened.disk is None:
            raise ValueError("a pipe cannot be measured: what is read from it is gone")
        target = target_for(opened, target_format, options or ImageOptions(), rounding)
        disk_size = target.disk_size(opened.size, rounding)
        read, remarks = with_sectors_of(opened, target.sector_size, disk_size)
        runs = _scanned(read, progress) if scan_zeros else read.ranges()
        blocks, data_size = _count(runs, target)
        own_file = _own_file(source) if partition is None and isinstance(opened.disk, VhdxDisk) else None
        kept = opened.remarks() if discard_free else ()
    compacted: int | None = None
    refusal: tuple[str, ...] = ()
    if own_file is not None:
        try:
            estimate = compact(
                own_file,
                scan_zeros=scan_zeros,
                dry_run=True,
                discard_free=discard_free,
                volumes=volumes,
                parents=parents,
                lock=lock,
            )
            compacted = estimate.file_size_after
        except (CorruptImageError, UnsupportedImageError) as error:
            # Of what no read asks, such as a bitmap that no block needs, or of a log that cannot be written.
            refusal = (f"it cannot be compacted: {error.message}",)
    return MeasureResult(
        path=opened.disk.chain[0],
        source_format=opened.format,
        target_format=target_format,
        virtual_size=disk_size,
        required_size=target.file_size(disk_size, blocks),
        fully_allocated_size=target.file_size(disk_size, _all_blocks(target, disk_size)),
        data_size=data_size,
        scanned=scan_zeros,
        compacted_size=compacted,
        remarks=(*rounding.sentences, *kept, *remarks, *refusal),
    )


def _own_file(source: Openable) -> str | None:
    """The path of what could be compacted in its place."""
    return (
        None
        if is_url(source) or source == "-" or not isinstance(source, str | os.PathLike)
        else os.fspath(source)
    )


def _scanned(source: Source, progress: Progress | None) -> Iterator[tuple[int, int]]:
    done, total = 0, None if progress is None else stored_size(source)
    for offset, data, runs in pieces_here(source):
        for start, stop in runs:
            yield offset + start, stop - start
        done += len(data)
        if progress is not None:
            progress(done, total)


def _count(runs: Iterator[tuple[int, int]], target: Target) -> tuple[int, int]:
    """Blocks that the runs, which come in order, lie in, and the bytes in them."""
    total = 0

    def counted() -> Iterator[tuple[int, int]]:
        nonlocal total
        for run in runs:
            total += run[1]
            yield run

    return sum(count for _, count in touched_blocks(counted(), target.block_size or 1)), total


def _all_blocks(target: Target, disk_size: int) -> int:
    return 0 if target.block_size is None else -(-disk_size // target.block_size)
