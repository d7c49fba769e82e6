"""What a conversion reads: pieces of a disk in ascending order, zeros left out."""

from __future__ import annotations

from vhdx.disk.raw import RawDisk
from vhdx.storage.base import fill_zeros
from vhdx.storage.runs import joined
from vhdx.typed import TYPE_CHECKING, Protocol
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from vhdx.disk.formats import Format
    from vhdx.disk.opened import Disk
    from vhdx.disk.vhd import VhdDisk
    from vhdx.partitions.resector import Patch
    from vhdx.storage.runs import Runs

    FreeRuns = Callable[[], Iterator[Any]]

PIECE_SIZE = MIB
IS_SOURCE = "{} is the source or one of its parents"
"""Of a target."""
_NO_MORE = (1 << 63, 1)

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

    @property
    def is_changed(self) -> bool:
        """Whether something lies over what the disk's files hold."""

    @property
    def waits(self) -> bool:
        """Whether reads may wait for somebody who writes, so that they cannot be broken off."""

    @property
    def comes_once(self) -> bool:
        """Whether it can be read only once."""

    @property
    def told(self) -> tuple[str, ...]:
        """What is said of it whatever part of it is taken."""

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

    comes_once = False

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
        waits: bool = False,
    ) -> None:
        self.waits = waits
        self._image = image
        self.free = free
        self.told = told
        self.disk: Disk | None = disk
        self.format = name
        # Of a flat file what it has, not what its last sector is filled up to.
        own = disk.stored_size if isinstance(disk, RawDisk) else disk.size
        self.size: int | None = own if size is None else size
        self._disk = disk
        self._patches = patches
        self._done: Runs | None = None
        self.is_changed = bool(patches)

    def without_done(self, done: Runs) -> DiskSource:
        """The same source less what was taken from it before."""
        import copy  # noqa: PLC0415  who does all at once need not wait for it

        rest = copy.copy(self)
        rest._done = done  # noqa: SLF001  one of us
        return rest

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The (offset, length) runs, in order, that may hold something."""
        return self._all() if self._done is None else self._done.outside(self._all())

    def _all(self) -> Iterator[tuple[int, int]]:
        stored = self._disk.data_ranges()
        if self.free is not None:
            stored = without(stored, self.free())
        if not self._patches:
            return stored
        import heapq  # noqa: PLC0415  most disks are taken as they are

        laid = sorted((patch.disk_offset, patch.disk_offset + len(patch.data)) for patch in self._patches)
        return joined(heapq.merge(((start, start + length) for start, length in stored), laid))

    def pieces(self, buffers: Iterator[bytearray]) -> Iterator[tuple[int, bytearray]]:
        """What the disk and the files behind it do not know to be zeros."""
        for offset, count in self.places():
            buffer = next(buffers, None)
            if buffer is None:
                return
            piece = buffer if count == PIECE_SIZE else bytearray(count)
            self.read_into(piece, offset)
            yield offset, piece

    def places(self) -> Iterator[tuple[int, int]]:
        """Where the pieces are: (offset, length)."""
        for start, length in self.ranges():
            offset, end = start, start + length
            while offset < end:
                count = min(PIECE_SIZE - offset % PIECE_SIZE, end - offset)
                yield offset, count
                offset += count

    def remarks(self) -> tuple[str, ...]:
        """What is unusual about a VHD, what it holds that was left out, and which free space was not."""
        if self._image is None:
            return self.told
        hidden = self._image.hidden_bytes()
        left_out = () if not hidden else (_HIDDEN.format(hidden),)
        return (*self._image.findings, *left_out, *self.told)

    def read_into(self, piece: bytearray, offset: int) -> None:
        """Fill a piece. Several threads may."""
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


def vhd_of(disk: Disk) -> VhdDisk | None:
    """The disk, if it is that of a VHD."""
    if disk.format != "vhd":
        return None
    from vhdx.disk.vhd import VhdDisk  # noqa: PLC0415  the older format is the rarer one

    return disk if isinstance(disk, VhdDisk) else None


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
