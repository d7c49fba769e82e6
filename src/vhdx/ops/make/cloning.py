"""A copy by shared space: on file systems that can, what is stored of a disk is neither read nor written.

Whole blocks of the file system are shared where they stand alike in both files; the ends of a run that are
no whole blocks are copied. Nothing is looked at, and what a source stores as zeros is stored, unless zeros
are to be left out.
"""

from __future__ import annotations

from vhdx.disk.sending import storages_of
from vhdx.extents import ExtentKind
from vhdx.pieces import pieces
from vhdx.storage.file import FileStorage
from vhdx.storage.sharing import share
from vhdx.storage.zeros import nonzero_runs
from vhdx.typed import TYPE_CHECKING, NamedTuple
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.ops.make.sink import Sink
    from vhdx.ops.make.source import Source
    from vhdx.ops.make.writing import Writing
    from vhdx.progress import Progress


class Run(NamedTuple):
    """Bytes of a disk that stand in a file in one piece."""

    disk_offset: int
    length: int
    storage: FileStorage
    file_offset: int

    def part(self, start: int, length: int) -> Run:
        """Some of them."""
        return Run(self.disk_offset + start, length, self.storage, self.file_offset + start)


class Cloned(NamedTuple):
    """How many bytes are stored, and how many of them in space that is shared."""

    stored: int
    shared: int


def can_be_tried(source: Source, writing: Writing) -> bool:
    """Whether every byte of the source stands in files that the target may share space with."""
    target = writing.storage
    if target is None or source.disk is None or source.waits or source.is_changed:
        return False
    storages = storages_of(source.disk)
    return bool(storages) and all(
        isinstance(storage, FileStorage) and target.may_share_with(storage) for storage in storages
    )


class Wish(NamedTuple):
    """What is wanted of a copy by shared space."""

    must_be_shared: bool
    """Whether it is an error if the file system refuses."""
    scan_zeros: bool
    """Whether what is stored is read, and zeros are left out."""


def clone(source: Source, writing: Writing, wish: Wish, progress: Progress | None) -> Cloned:
    """Share what is stored of the source, copy what cannot be shared. Raises OSError."""
    target = writing.storage
    assert target is not None
    total = None if progress is None else sum(length for _, length in source.ranges())
    span = min(writing.sink.span, MIB) if wish.scan_zeros else writing.sink.span
    done = stored = shared = 0
    for run in _runs(source):
        for offset, length in pieces(run.disk_offset, run.length, span):
            piece = run.part(offset - run.disk_offset, length)
            for wanted in _nonzero(piece) if wish.scan_zeros else (piece,):
                shared += _clone_piece(wanted, writing.sink, target, must_be=wish.must_be_shared)
                stored += wanted.length
            done += length
            if progress is not None:
                progress(done, total)
    return Cloned(stored, shared)


def _nonzero(piece: Run) -> Iterator[Run]:
    """What of a piece is not zeros."""
    data = bytearray(piece.length)
    piece.storage.read_into(memoryview(data), piece.file_offset)
    return (piece.part(low, high - low) for low, high in nonzero_runs(data))


def _clone_piece(piece: Run, sink: Sink, target: FileStorage, *, must_be: bool) -> int:
    """Share what can be of a piece in one block, copy the rest; how many bytes are shared."""
    place = sink.place(piece.disk_offset)
    start, end = share(piece.storage, piece.file_offset, piece.length, target, place, must_be=must_be)
    _copy(piece, 0, start, sink)
    _copy(piece, end, piece.length, sink)
    return end - start


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
    storages = storages_of(disk)
    for offset, length in source.ranges():
        for extent in disk.extents(offset=offset, length=min(length, disk.size - offset)):
            if extent.kind is ExtentKind.DATA and extent.file_offset is not None:
                storage = storages[extent.depth - 1]
                assert isinstance(storage, FileStorage)
                yield Run(extent.offset, extent.length, storage, extent.file_offset)
