"""A virtual disk as an export: what it offers, and its verbs as the protocol means them."""

from __future__ import annotations

import errno
import threading
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from vhdx.errors import VhdxError
from vhdx.extents import ExtentKind
from vhdx.nbd.negotiate import Offer
from vhdx.pieces import pieces
from vhdx.wire import BASE_ALLOCATION, Allocation, Error, ExportFlag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from vhdx.disk.base import VirtualDisk
    from vhdx.extents import Doubt, Extent

    Run = tuple[int, int]

EXTENT_LIMIT = 1 << 14
"""Extents that are looked at for one answer; clients ask again for the rest."""
SLICE = 1 << 30
"""Bytes that are trimmed or zeroed at once: between slices a stopping server is noticed."""
SLICE_WITH_SPACE = 1 << 26
"""The same where zeros may have to be written."""
_ZEROS = bytes(1 << 20)

_ALWAYS = ExportFlag.HAS_FLAGS | ExportFlag.SEND_FLUSH | ExportFlag.SEND_FUA | ExportFlag.SEND_CACHE
_WRITABLE = ExportFlag.SEND_TRIM | ExportFlag.SEND_WRITE_ZEROES | ExportFlag.SEND_FAST_ZERO

_ERRORS = {
    errno.EPERM: Error.EPERM,
    errno.EACCES: Error.EPERM,
    errno.EROFS: Error.EPERM,
    errno.ENOSPC: Error.ENOSPC,
    errno.EDQUOT: Error.ENOSPC,
    errno.EFBIG: Error.ENOSPC,
    errno.ENOTSUP: Error.ENOTSUP,  # only of WRITE_ZEROES that is to be fast
    errno.ESHUTDOWN: Error.ESHUTDOWN,
}


class Failure(NamedTuple):
    """What a client is told of an exception."""

    error: Error
    text: str


def failure_of(error: Exception) -> Failure:
    """The number and the words for an exception; paths of this host stay here."""
    if isinstance(error, OSError):
        return Failure(_ERRORS.get(error.errno or 0, Error.EIO), error.strerror or "input/output error")
    if isinstance(error, VhdxError):
        return Failure(Error.EIO, type(error).__name__)
    return Failure(Error.EIO, "internal error")


class Export:
    """One disk under one name, shared by all its clients. The disk stays its opener's to close.

    ``multi`` says that several clients may be connected: what one of them was told is written, all see.
    """

    def __init__(self, name: str, disk: VirtualDisk, description: str = "", *, multi: bool = True) -> None:
        self._disk = disk
        flags = _ALWAYS | (ExportFlag.READ_ONLY if disk.read_only else _WRITABLE)
        if multi:
            flags |= ExportFlag.CAN_MULTI_CONN
        self.offer = Offer(name, disk.size, flags, description, (BASE_ALLOCATION, *disk.contexts))
        self.stopping = threading.Event()
        """Set when the server stops: requests that last end at the next slice."""
        self._failed: OSError | None = None
        self.read = disk.pread
        self.read_into = disk.preadinto

    @property
    def doubts(self) -> Iterator[Doubt]:
        """What may read wrong of a damaged disk that was opened to be salvaged."""
        return self._disk.doubts

    def write(self, data: bytes | bytearray | memoryview, offset: int) -> None:
        """Write all of ``data``."""
        if self._failed is not None:
            self._check()
        self._disk.pwrite(data, offset)

    def flush(self) -> None:
        """Make durable what was answered. What failed once fails for good.

        The host forgets what it could not write, so that a second attempt would succeed and lie.
        """
        self._check()
        if self._disk.read_only:
            return
        try:
            self._disk.flush()
        except OSError as error:
            self._failed = error
            raise

    def _check(self) -> None:
        if self._failed is not None:
            text = "a flush failed: what was written before it may be lost, and nothing is written any more"
            raise OSError(errno.EIO, text, self.offer.name)

    def trim(self, length: int, offset: int) -> None:
        """Let go of a range."""
        self._check()
        for start, count in self._slices(length, offset, SLICE):
            self._disk.trim(length=count, offset=start)

    def zero(self, length: int, offset: int, *, no_hole: bool, fast_only: bool) -> None:
        """Make a range zeros; ``no_hole`` with space behind them, ``fast_only`` or not at all."""
        self._check()
        if fast_only:
            if no_hole:
                raise OSError(errno.ENOTSUP, "space is not taken fast")
            if length:  # undivided: all of it or nothing
                self._disk.zero(length=length, offset=offset, fast_only=True)
            return
        for start, count in self._slices(length, offset, SLICE_WITH_SPACE if no_hole else SLICE):
            if no_hole:
                self._zero_with_space(count, start)
            else:
                self._disk.zero(length=count, offset=start)

    def _zero_with_space(self, length: int, offset: int) -> None:
        """Zero in place what has space here, write zeros where there is none."""
        for extent in list(self._disk.extents(offset=offset, length=length)):
            if extent.depth == 1 and extent.file_offset is not None and extent.kind is ExtentKind.DATA:
                self._disk.zero(length=extent.length, offset=extent.offset, keep_allocated=True)
                continue
            for start, count in pieces(extent.offset, extent.length, len(_ZEROS)):
                self._stop_check()
                self._disk.pwrite(memoryview(_ZEROS)[:count], start)

    def _slices(self, length: int, offset: int, size: int) -> Iterator[Run]:
        """The pieces of a range, as long as the server does not stop."""
        for piece in pieces(offset, length, size):
            self._stop_check()
            yield piece

    def _stop_check(self) -> None:
        if self.stopping.is_set():
            raise OSError(errno.ESHUTDOWN, "the server stops")

    def status(self, length: int, offset: int, contexts: Sequence[str], *, one: bool) -> list[list[Run]]:
        """For each context its runs (length, value) from ``offset`` on; fewer than the range may have."""
        extents: Iterable[Extent] = () if one else list(self._few_extents(length, offset))
        found = []
        for context in contexts:
            if one:  # no further than to the first run's end: most clients that ask so ask for all of a disk
                extents = self._few_extents(length, offset)
            if context == BASE_ALLOCATION:
                runs = self._allocation(extents)
            else:
                runs = _values(extents, self._disk.contexts[context])
            found.append(list(islice(_joined(runs), 1 if one else EXTENT_LIMIT)))
        return found

    def _few_extents(self, length: int, offset: int) -> Iterator[Extent]:
        return islice(self._disk.extents(offset=offset, length=length), EXTENT_LIMIT)

    def _allocation(self, extents: Iterable[Extent]) -> Iterator[Run]:
        """Holes of the host's files inside data count as zeros: they read so, and are quick to skip."""
        for extent in extents:
            if extent.kind is not ExtentKind.DATA:
                yield extent.length, _ZERO if extent.file_offset is not None else _HOLE
                continue
            place = extent.offset
            for start, count in self._disk.data_ranges(offset=place, length=extent.length):
                yield start - place, _ZERO
                yield count, 0
                place = start + count
            yield extent.end - place, _ZERO


_ZERO = int(Allocation.ZERO)
_HOLE = int(Allocation.ZERO | Allocation.HOLE)


def _values(extents: Iterable[Extent], value: Callable[[Extent], int]) -> Iterator[Run]:
    for extent in extents:
        yield extent.length, value(extent)


def _joined(runs: Iterable[Run]) -> Iterator[Run]:
    """The same runs, empty ones left out and neighbours of one value made one."""
    total, current = 0, 0
    for length, value in runs:
        if value != current and length:
            if total:
                yield total, current
            total, current = 0, value
        total += length
    if total:
        yield total, current
