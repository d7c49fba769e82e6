"""A conversion of a damaged disk that can be broken off and gone on with: a raw target and a map beside it.

The target is written in its place, and the map, which GNU ddrescue reads and writes, too, says how far it
came: what is done is not read again, and what failed is not tried again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import TYPE_CHECKING

from vhdx.extents import Doubt
from vhdx.format import mapfile
from vhdx.format.mapfile import DONE, FAILED, UNTRIED, MapRange
from vhdx.storage.base import UNREADABLE_DATA, ZEROS
from vhdx.storage.file import open_for_writing, telling_if_full
from vhdx.storage.publish import new_file
from vhdx.storage.runs import Runs
from vhdx.storage.zeros import nonzero_runs
from vhdx.units import MIB, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.disk.base import VirtualDisk
    from vhdx.progress import Progress
    from vhdx.storage.file import FileStorage

_SECONDS_BETWEEN_MAPS = 10.0
FAILED_BEFORE = "the host could not read it when it was tried before; it was not tried again"


class Resumed:
    """One disk on its way into a raw file. ``written`` counts bytes."""

    def __init__(self, disk: VirtualDisk, target: str, state: str) -> None:
        self._disk, self._target, self._state = disk, target, state
        self._done, self._failed = Runs(), Runs()
        self._reached = 0
        self.written = 0

    def run(self, *, overwrite: bool, progress: Progress | None) -> None:
        """Copy what is still to be tried.

        Raises FileExistsError for a target that no map tells of, ValueError for a map that does not fit it.
        """
        goes_on = os.path.exists(self._state)
        if goes_on:
            self._load()
        elif os.path.lexists(self._target) and not overwrite:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self._target)
        if not (goes_on and os.path.exists(self._target)):
            with new_file(self._target, overwrite=overwrite) as storage:
                storage.resize(self._disk.size)
        storage = open_for_writing(self._target)
        with contextlib.closing(storage), telling_if_full(self._kept):
            try:
                storage.resize(self._disk.size)
                if not goes_on:  # should the host be full later, an old map is better than none
                    self._save(storage)
                self._copy(storage, progress)
            finally:
                self._save(storage)

    def _kept(self) -> str:
        return f"{format_size(self.written)} had been written, and stay: the same command goes on from there"

    def _load(self) -> None:
        with open(self._state, encoding="utf-8", errors="replace") as file:
            text = file.read(mapfile.LONGEST)
        try:
            ranges = mapfile.unpack(text)
        except ValueError as error:
            raise ValueError(f"{self._state} is no map file of this copy: {error}") from None
        if ranges and ranges[-1].end > self._disk.size:
            raise ValueError(f"{self._state} is the map of {ranges[-1].end} bytes, the disk has fewer")
        if not os.path.exists(self._target):
            raise ValueError(f"{self._state} tells of a copy, but {self._target} is not there")
        for row in ranges:
            if row.status in (DONE, FAILED):
                (self._done if row.status == DONE else self._failed).add(row.offset, row.end)

    def _copy(self, storage: FileStorage, progress: Progress | None) -> None:
        saved = time.monotonic()
        for start, end in self._untried():
            for offset in range(start, end, MIB):
                length = min(MIB, end - offset)
                self._copy_piece(storage, offset, length)
                self._done.add(offset, offset + length)
                self._reached = offset + length
                if progress is not None:
                    progress(self._reached, self._disk.size)
                if time.monotonic() - saved > _SECONDS_BETWEEN_MAPS:
                    self._save(storage)
                    saved = time.monotonic()

    def _untried(self) -> Iterator[tuple[int, int]]:
        tried = Runs()
        for runs in (self._done, self._failed):
            for start, end in runs:
                tried.add(start, end)
        at = 0
        for start, end in [*tried, (self._disk.size, self._disk.size)]:
            if start > at:
                yield at, start
            at = end

    def _copy_piece(self, storage: FileStorage, offset: int, length: int) -> None:
        """Make a piece of the target what the disk has there, whatever stood in it before."""
        at = offset
        for start, count in self._disk.data_ranges(offset=offset, length=length):
            _clear(storage, at, start)
            data = bytearray(count)
            self._disk.preadinto(data, start)
            at = start
            for low, high in nonzero_runs(data):
                _clear(storage, at, start + low)
                storage.write_at(memoryview(data)[low:high], start + low)
                self.written += high - low
                at = start + high
        _clear(storage, at, offset + length)

    def _save(self, storage: FileStorage) -> None:
        """Write the map, once everything that it calls done is durable."""
        storage.flush()
        for doubt in self._disk.doubts:
            if doubt.reason.endswith(UNREADABLE_DATA):
                self._failed.add(doubt.offset, doubt.offset + doubt.length)
        text = mapfile.pack(self._ranges(), self._reached)
        with new_file(self._state, overwrite=True) as file:
            file.write_at(text.encode(), 0)

    def _ranges(self) -> Iterator[MapRange]:
        at = 0
        for start, end in [*self._failed, (self._disk.size, self._disk.size)]:
            for low, high in self._done.within(at, start):
                if low > at:
                    yield MapRange(at, low - at, UNTRIED)
                yield MapRange(low, high - low, DONE)
                at = high
            if start > at:
                yield MapRange(at, start - at, UNTRIED)
            if end > start:
                yield MapRange(start, end - start, FAILED)
            at = end

    def doubts(self) -> Iterator[Doubt]:
        """What the disk's files say is doubtful, and what failed when it was tried before."""
        told = Runs()
        for doubt in self._disk.doubts:
            told.add(doubt.offset, doubt.offset + doubt.length)
            yield doubt
        for start, end in self._failed:
            if not told.meets(start, end):
                yield Doubt(start, end - start, FAILED_BEFORE)


def _clear(storage: FileStorage, start: int, end: int) -> None:
    """Make a range of the target zeros, if it is not known to be."""
    for at, length in list(storage.data_ranges(start, end - start)) if end > start else ():
        for piece in range(at, at + length, len(ZEROS)):
            count = min(len(ZEROS), at + length - piece)
            if storage.read(count, piece).strip(b"\0"):
                storage.zero(piece, count)
