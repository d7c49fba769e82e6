"""A copy by shared space: on file systems that can, what is stored of a disk is neither read nor written.

Whole blocks of the file system are shared where they stand alike in both files; the ends of a run that are
no whole blocks are copied. Nothing is looked at: what a source stores as zeros is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from vhdx.disk.chain import VhdxDisk
from vhdx.disk.raw import RawDisk
from vhdx.disk.vhd import VhdDisk
from vhdx.extents import ExtentKind
from vhdx.pieces import pieces
from vhdx.storage.file import FileStorage
from vhdx.storage.zeros import nonzero_runs
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vhdx.disk.opened import Disk
    from vhdx.ops.make.sink import Sink
    from vhdx.ops.make.source import Source
    from vhdx.ops.make.writing import Writing
    from vhdx.progress import Progress
    from vhdx.storage.base import ReadableStorage

Clone = Literal["auto", "never", "always"]
NOT_SHARED = "the file system cannot share space between these files: say --clone auto, or leave it out"
SHARED = "its space is shared with the source: the disk may become full when either is written to"


class NotSharedError(Exception):
    """Nothing can be shared here; nothing was written."""


class Run(NamedTuple):
    """Bytes of a disk that stand in a file in one piece."""

    disk_offset: int
    length: int
    storage: FileStorage
    file_offset: int


def can_be_tried(source: Source, writing: Writing) -> bool:
    """Whether both sides are files of one file system, and every byte of the source stands in one."""
    target = writing.storage
    if target is None or not target.shared_unit() or source.disk is None or source.waits or source.is_changed:
        return False
    storages = _storages(source.disk)
    device = target.identity()[0]
    return bool(storages) and all(
        isinstance(storage, FileStorage) and storage.identity()[0] == device for storage in storages
    )


def clone(source: Source, writing: Writing, progress: Progress | None) -> int:
    """Share what is stored of the source; how many bytes that is. Raises NotSharedError, OSError."""
    target = writing.storage
    assert target is not None
    unit = target.shared_unit()
    total = None if progress is None else sum(length for _, length in source.ranges())
    done = shared = 0
    for run in _runs(source):
        for offset, length in pieces(run.disk_offset, run.length, writing.sink.span):
            piece = Run(offset, length, run.storage, run.file_offset + offset - run.disk_offset)
            shared += _clone_piece(piece, writing.sink, target, unit, must_share=not shared)
            done += length
            if progress is not None:
                progress(done, total)
    return done


def _clone_piece(piece: Run, sink: Sink, target: FileStorage, unit: int, *, must_share: bool) -> int:
    """Share what can be of a piece in one block, copy the rest; how many bytes are shared."""
    place = sink.place(piece.disk_offset)
    start = -piece.file_offset % unit
    length = (piece.length - start) // unit * unit
    is_alike = (place - piece.file_offset) % unit == 0 and length > 0
    if is_alike and target.clone_from(piece.storage, piece.file_offset + start, length, place + start):
        _copy(piece, 0, start, sink)
        _copy(piece, start + length, piece.length, sink)
        return length
    if is_alike and must_share:
        raise NotSharedError
    _copy(piece, 0, piece.length, sink)
    return 0


def _copy(piece: Run, start: int, end: int, sink: Sink) -> None:
    for offset, length in pieces(piece.disk_offset + start, end - start, MIB):
        data = bytearray(length)
        piece.storage.read_into(memoryview(data), piece.file_offset + offset - piece.disk_offset)
        for low, high in nonzero_runs(data):
            sink.put(memoryview(data)[low:high], offset + low)


def _runs(source: Source) -> Iterator[Run]:
    """What may hold something, as it stands in the files."""
    disk = source.disk
    assert disk is not None
    storages = _storages(disk)
    for offset, length in source.ranges():
        for extent in disk.extents(offset=offset, length=min(length, disk.size - offset)):
            if extent.kind is ExtentKind.DATA and extent.file_offset is not None:
                storage = storages[extent.depth - 1]
                assert isinstance(storage, FileStorage)
                yield Run(extent.offset, extent.length, storage, extent.file_offset)


def _storages(disk: Disk) -> Sequence[ReadableStorage]:
    """The files of a disk, from the top to the base; none of a disk that is part of another."""
    if isinstance(disk, RawDisk):
        return (disk.storage,)
    return tuple(layer.storage for layer in disk.layers) if isinstance(disk, VhdxDisk | VhdDisk) else ()
