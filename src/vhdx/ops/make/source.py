"""Where a conversion reads from: a disk of any kind, or a stream of raw bytes of unknown length."""

from __future__ import annotations

import contextlib
import heapq
import io
import os
import stat
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from vhdx.disk.free_space import FreeSpace
from vhdx.disk.open import open_any, refuse_foreign
from vhdx.disk.parts import one_partition
from vhdx.disk.raw import RawDisk
from vhdx.disk.slice import SliceDisk
from vhdx.disk.vhd import VhdDisk
from vhdx.format.foreign import PREFIX_SIZE
from vhdx.format.identifier import SIGNATURE
from vhdx.storage.base import fill_zeros
from vhdx.storage.file import of_descriptor
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from vhdx.disk.free_space import VolumeSelection
    from vhdx.disk.open import Format, Openable
    from vhdx.disk.opened import Disk
    from vhdx.disk.places import Parents
    from vhdx.known import KnownDisk
    from vhdx.partitions.resector import Patch

    FreeRuns = Callable[[], Iterator[Any]]

PIECE_SIZE = MIB
_NO_MORE = (1 << 63, 1)
STANDARD_INPUT = "-"

_HIDDEN = (
    "QEMU and others show {} bytes that this leaves out: they stand where the image's bitmaps say that "
    "nothing is stored; --ignore-bitmaps takes them"
)


class Source(Protocol):
    """Pieces of a disk, read in ascending order."""

    @property
    def format(self) -> Format: ...

    @property
    def disk(self) -> Disk | None:
        """The disk that is read, None for a stream."""

    @property
    def size(self) -> int | None:
        """The size in bytes; of a stream it is known once all pieces were read."""

    @property
    def free(self) -> FreeRuns | None:
        """What is left out because file systems call it free; None for nothing."""

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The (offset, length) runs, in order, that may hold something. Raises ValueError for a stream."""

    def pieces(self, buffers: Iterator[bytearray]) -> Iterator[tuple[int, bytearray]]:
        """(offset, bytes) of everything that may not be zeros, as long as there are buffers.

        Each piece takes a buffer of PIECE_SIZE, and no piece reaches over a multiple of that.
        """

    def remarks(self) -> tuple[str, ...]:
        """What whoever made a copy should know of what was read."""


class DiskSource:
    """A disk; what it knows to be zeros is passed over.

    ``patches`` lie over it, later ones over earlier ones; ``size`` may be more than the disk has, of zeros.
    ``image`` is the VHD that it came from, if it did; ``free`` gives arrays of rows (offset, length) that are
    left out, ``told`` sentences on what was not.
    """

    def __init__(
        self,
        disk: Disk,
        name: Format,
        patches: Sequence[Patch] = (),
        size: int | None = None,
        *,
        image: VhdDisk | None = None,
        free: FreeRuns | None = None,
        told: tuple[str, ...] = (),
    ) -> None:
        self._image = image
        self.free = free
        self._told = told
        self.disk: Disk | None = disk
        self.format = name
        # Of a flat file what it has, not what its last sector is filled up to.
        own = disk.stored_size if isinstance(disk, RawDisk) else disk.size
        self.size: int | None = own if size is None else size
        self._disk = disk
        self._patches = patches

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The (offset, length) runs, in order, that may hold something."""
        stored = self._disk.data_ranges()
        if self.free is not None:
            stored = without(stored, self.free())
        if not self._patches:
            return stored
        laid = sorted((patch.disk_offset, len(patch.data)) for patch in self._patches)
        return _joined(heapq.merge(stored, laid))

    def pieces(self, buffers: Iterator[bytearray]) -> Iterator[tuple[int, bytearray]]:
        """What the disk and the files behind it do not know to be zeros."""
        for start, length in self.ranges():
            offset, end = start, start + length
            while offset < end:
                buffer = next(buffers, None)
                if buffer is None:
                    return
                count = min(PIECE_SIZE - offset % PIECE_SIZE, end - offset)
                piece = buffer if count == PIECE_SIZE else bytearray(count)
                self._read_into(piece, offset)
                yield offset, piece
                offset += count

    def remarks(self) -> tuple[str, ...]:
        """What is unusual about a VHD, what it holds that was left out, and which free space was not."""
        if self._image is None:
            return self._told
        hidden = self._image.hidden_bytes()
        left_out = () if not hidden else (_HIDDEN.format(hidden),)
        return (*self._image.findings, *left_out, *self._told)

    def _read_into(self, piece: bytearray, offset: int) -> None:
        if not self._patches:
            self._disk.preadinto(piece, offset)
            return
        view, end = memoryview(piece), offset + len(piece)
        there = max(0, min(end, self._disk.size) - offset)
        if there:
            self._disk.preadinto(view[:there], offset)
        fill_zeros(view[there:])
        for place, data in self._patches:
            start, stop = max(offset, place), min(end, place + len(data))
            if start < stop:
                view[start - offset : stop - offset] = data[start - place : stop - place]


def stored_size(source: Source) -> int | None:
    """The bytes that reading it takes at most, holes not counted; None of a pipe.

    Takes a look at all extents: for whoever wants to know how far a job is.
    """
    return None if source.disk is None else sum(length for _, length in source.disk.data_ranges())


def without(ranges: Iterable[tuple[int, int]], free: Iterable[Any]) -> Iterator[tuple[int, int]]:
    """Ranges in order less what arrays of rows (offset, length), in order, too, call free."""
    rows = (row for runs in free for row in runs.tolist())
    free_start, free_end = 0, 0
    for start, length in ranges:
        at, end = start, start + length
        while at < end:
            while free_end <= at:
                free_start, count = next(rows, _NO_MORE)
                free_end = free_start + count
            if at < free_start:
                yield at, min(end, free_start) - at
            at = min(end, free_end) if free_start < end else end


def _joined(runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Runs in order of their offsets, those that touch or overlap made one."""
    start = end = 0
    for offset, length in runs:
        if offset > end:
            if end > start:
                yield start, end - start
            start = offset
        end = max(end, offset + length)
    if end > start:
        yield start, end - start


class StreamSource:
    """Raw bytes from a pipe."""

    disk = None
    format: Format = "raw"
    free = None

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size: int | None = None

    def ranges(self) -> Iterator[tuple[int, int]]:
        """What comes is known only when it comes."""
        raise ValueError("what is read from a pipe is gone: it cannot be looked at before it is converted")

    def pieces(self, buffers: Iterator[bytearray]) -> Iterator[tuple[int, bytearray]]:
        """All that comes, up to its end."""
        offset = 0
        for piece in buffers:
            length = self._fill(memoryview(piece))
            if not length:
                break
            yield offset, piece if length == PIECE_SIZE else piece[:length]
            offset += length
        self.size = offset

    def remarks(self) -> tuple[str, ...]:
        """Nothing is known of it."""
        return ()

    def _fill(self, piece: memoryview) -> int:
        """Pipes give what is there: read on until the piece is full or the stream ends."""
        done = 0
        while done < len(piece) and (count := self._stream.readinto(piece[done:])):  # type: ignore[attr-defined]
            done += count
        return done


@contextlib.contextmanager
def open_source(
    source: Openable,
    name: Format | None,
    *,
    parents: Parents,
    lock: bool,
    partition: int | None = None,
    salvage: bool = False,
    ignore_bitmaps: bool = False,
    volumes: VolumeSelection | None = None,
    known: KnownDisk | None = None,
) -> Iterator[Source]:
    """Open what is to be converted, or one of its partitions; closed at the end of the ``with``.

    With ``volumes`` what these call free is left out. Raises ValueError where the format cannot be told
    without doubt, for a partition or volume that is not there, and where free space cannot be believed in: in
    a damaged image, one that somebody may be writing to, and a pipe.
    """
    if volumes is not None and (salvage or not lock):
        raise ValueError("what is free is only certain of a sound image that nobody else writes to")
    if source == STANDARD_INPUT:
        with _standard_input(name) as found:
            yield _part_of(found, partition, volumes)
        return
    with open_any(
        source,
        image_format=name,
        parents=parents,
        lock=lock,
        salvage=salvage,
        ignore_bitmaps=ignore_bitmaps,
        known=known,
    ) as disk:
        found = DiskSource(disk, disk.format, image=disk if isinstance(disk, VhdDisk) else None)
        yield _part_of(found, partition, volumes)


def _part_of(source: Source, number: int | None, volumes: VolumeSelection | None) -> Source:
    """The source, or a partition of it, less what is free in these volumes."""
    disk = source.disk
    if disk is None:
        if number is not None:
            raise ValueError("a partition cannot be picked out of a pipe: its table may stand behind its end")
        if volumes is not None:
            raise ValueError("what is free cannot be told of a pipe: it would have to be read twice")
        return source
    part = disk if number is None else one_partition(disk, number)
    if volumes is None:
        return source if part is disk else DiskSource(part, source.format)
    if number is not None and not volumes.include:
        volumes = volumes._replace(include=(str(number),))
    space = FreeSpace(disk, volumes)
    start = part.start if isinstance(part, SliceDisk) else 0
    return DiskSource(
        part,
        source.format,
        free=partial(space.runs_in, start, part.size),
        told=(*source.remarks(), *space.remarks()),
    )


def _refuse_images(prefix: bytes) -> None:
    """Raise ValueError for what only looks at first like a raw disk."""
    if prefix.startswith(SIGNATURE):
        raise ValueError(
            "standard input is a VHDX, which is not read front to back: name the file, or say -f raw if its "
            "bytes are those of the disk"
        )
    refuse_foreign("standard input", prefix)


@contextlib.contextmanager
def _standard_input(name: Format | None) -> Iterator[Source]:
    if name not in (None, "raw"):
        raise ValueError("only a raw disk can come from standard input: images are not read front to back")
    if sys.stdin is None:
        raise ValueError("standard input is closed")
    stream = sys.stdin.buffer
    descriptor = stream.fileno()
    if stat.S_ISREG(os.fstat(descriptor).st_mode) and os.lseek(descriptor, 0, os.SEEK_CUR) == 0:
        storage = of_descriptor(descriptor, "standard input")
        with RawDisk(storage) as disk:
            if name is None:
                _refuse_images(storage.read(min(storage.size(), PREFIX_SIZE), 0))
            yield DiskSource(disk, "raw")
    else:
        if name is None and isinstance(stream, io.BufferedReader):
            _refuse_images(stream.peek(PREFIX_SIZE)[:PREFIX_SIZE])
        yield StreamSource(stream)
