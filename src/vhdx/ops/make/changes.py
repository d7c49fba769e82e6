"""What a disk holds otherwise than another one: by the tables of their chain, or by comparing contents."""

from __future__ import annotations

import contextlib
from array import array
from typing import TYPE_CHECKING, Protocol

from vhdx.build.differencing import Change
from vhdx.disk.base import padded_read
from vhdx.disk.chain import VhdxDisk
from vhdx.extents import ExtentKind
from vhdx.ops.differences import stored_apart, unequal_runs
from vhdx.pieces import pieces
from vhdx.storage.file import temporary_file
from vhdx.storage.zeros import is_zero
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.disk.opened import Disk
    from vhdx.progress import Progress
    from vhdx.storage.file import FileStorage

_KEPT = 1 << 20
"""Numbers that are kept in memory, two for each change; the others go to a temporary file."""


class Changes(Protocol):
    """Runs of sectors in order, as often as one goes through them."""

    def __iter__(self) -> Iterator[Change]: ...


class TableChanges:
    """What the layers over an ancestor changed, from their tables and bitmaps alone."""

    def __init__(self, disk: VhdxDisk, depth: int) -> None:
        self._disk = disk
        self._depth = depth

    def __iter__(self) -> Iterator[Change]:
        for extent in self._disk.changed_extents(since=self._depth):
            yield Change(extent.offset, extent.length, extent.kind is ExtentKind.ZERO)


class FoundChanges:
    """Changes that were found one by one. Many of them are kept in a file without a name."""

    def __init__(self) -> None:
        self._held = contextlib.ExitStack()
        self._file: FileStorage | None = None
        self._spilled = 0
        self._numbers = array("Q")

    def append(self, change: Change) -> None:
        """Take one that stands behind all others, or goes on where the last one ends."""
        numbers, code = self._numbers, int(change.is_zero)
        if numbers and numbers[-1] & 1 == code and numbers[-2] + (numbers[-1] & ~1) == change.offset:
            numbers[-1] += change.length
            return
        if len(numbers) >= _KEPT:
            self._spill()
        self._numbers.extend((change.offset, change.length | code))  # lengths are whole sectors

    def _spill(self) -> None:
        if self._file is None:
            self._file = temporary_file()
            self._held.callback(self._file.close)
        self._file.write_at(self._numbers.tobytes(), self._spilled)
        self._spilled += len(self._numbers) * self._numbers.itemsize
        self._numbers = array("Q")

    def __iter__(self) -> Iterator[Change]:
        for offset, length in pieces(0, self._spilled, MIB):
            assert self._file is not None
            yield from _unpacked(array("Q", self._file.read(length, offset)))
        yield from _unpacked(self._numbers)

    def close(self) -> None:
        """Let go of the file."""
        self._held.close()


def _unpacked(numbers: array[int]) -> Iterator[Change]:
    for offset, coded in zip(numbers[::2], numbers[1::2], strict=True):
        yield Change(offset, coded & ~1, bool(coded & 1))


def depth_in_chain(disk: Disk, base: VhdxDisk) -> int | None:
    """How deep under a disk an image stands as one of its ancestors; None if it is none."""
    if not isinstance(disk, VhdxDisk):
        return None
    files = [layer.file.identity() for layer in disk.layers]
    own = base.layers[0].file.identity()
    return files.index(own) + 1 if own in files[1:] else None


def compared(disk: Disk, base: Disk, unit: int, progress: Progress | None) -> FoundChanges:
    """In which units of ``unit`` bytes a disk holds otherwise than another one, by comparing their contents.

    Read is only what is not known to be equal. Behind the end of either one there are zeros.
    """
    found = FoundChanges()
    total = 0 if progress is None else sum(part.length for part in stored_apart(disk, base))
    done = end = 0
    for part in stored_apart(disk, base):
        start = max(end, part.offset - part.offset % unit)
        end = -(-part.end // unit) * unit
        for offset, length in pieces(start, max(0, end - start), MIB):
            ours, theirs = (padded_read(each, length, offset) for each in (disk, base))
            for first, stop in unequal_runs(ours, theirs, unit):
                found.append(Change(offset + first, stop - first, is_zero(ours[first:stop])))
        done += part.length
        if progress is not None:
            progress(done, total)
    return found
