"""What every change of one image needs: its parts, space for blocks, entries changed in memory, commits.

Begins lazily: nothing is modified before the first change. Knows when, not what, is written.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from vhdx.errors import UnsupportedImageError
from vhdx.format.bat import file_offset_of, state_of
from vhdx.image.states import is_invalid
from vhdx.write.pins import Pins
from vhdx.write.space import Conflict, keep_leftovers, survey
from vhdx.write.transaction import Transaction, nobody_reads

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterator

    from vhdx.format.header import Header
    from vhdx.image.image import Image
    from vhdx.storage.base import Storage
    from vhdx.write.space import Space

_LAST_SEQUENCE_NUMBER = 2**63
"""No session gets near the end of 64 bits from here."""


class Session:
    """The changes of one image. ``lock`` orders everything that changes the table, a bitmap or an item."""

    def __init__(self, file: Storage, image: Image, on_failure: Callable[[], None] = nobody_reads) -> None:
        refuse_unwritable(image.header, image.name)
        self.file = file
        self.image = image
        self.geometry = image.geometry
        self.reader = image.reader
        self.bat = image.bat
        self.pages = image.pages
        self.keeps_blocks = image.metadata.disk_type == "fixed"
        self.cuts = not self.keeps_blocks
        """Whether the file may be cut behind its last used MiB at the end."""
        self.lock = threading.RLock()
        self.pins = Pins()
        self.transaction = Transaction(file, image, on_failure)
        self._known_space: Space | None = None
        self._leftovers: list[int] | None = None

    @property
    def space(self) -> Space:
        """Which space is free. Raises CorruptImageError where the image contradicts itself."""
        if self._known_space is None:
            regions = self.image.regions
            try:
                space = survey(regions, self.bat, self.geometry, self.reader.file_size)
            except Conflict as conflict:
                raise conflict.finding.error(self.image.name) from None
            if self._leftovers is None:
                self._leftovers = keep_leftovers(space, regions, self.bat, self.geometry)
            else:
                space.keep(self._leftovers, self.geometry.block_size)
            self._known_space = space
        return self._known_space

    def survey_anew(self) -> None:
        """Make everything durable; then what no entry names any more is free, whatever kept it so far."""
        self.commit()
        self._known_space = None

    @property
    def keeps_leftovers(self) -> bool:
        """Whether entries behind the end of the disk keep space."""
        _ = self.space
        return bool(self._leftovers)

    def drop_leftovers(self) -> None:
        """Once these entries are cleared: let go of their space."""
        self._leftovers = []
        self.survey_anew()

    def know_space(self, space: Space) -> None:
        """Before the first change: which space is free in an image whose contradictions go."""
        self._known_space = space

    def begin(self, *, contents: bool = True) -> None:
        """Before a change: the image is sound, its headers say that it is being written to."""
        self.transaction.check()
        if contents and self.transaction.contents_began:
            return
        with self.lock:
            first = not self.transaction.began
            _ = self.space  # an image that contradicts itself is not modified at all
            self.transaction.begin(contents=contents)
            if first:
                self.transaction.recover()

    def make_room(self, pages: int) -> None:
        """Commit early if so many more changed pages would not fit half the log."""
        if not self.transaction.has_room(pages):
            self.commit()

    def commit(self) -> None:
        """Make everything durable, then free what waited: the entries that named it are durably gone now."""
        if self.transaction.commit():
            self._release()

    def _release(self) -> None:
        """Only when no write that resolved to it still runs; reads that did notice by the generation."""
        if self._known_space is None or not self._known_space.waiting:
            return
        self.pins.drain()
        self.reader.generation += 1
        # Taken off the list first: an interrupt or a failing punch wastes space, and never frees it twice.
        for file_offset, length in self._known_space.take_waiting():
            self.file.punch(file_offset, length)
            self._known_space.give_back(file_offset, length)

    def close(self) -> None:
        """Commit, empty the log, cut the file behind its last used MiB. Does nothing to an unchanged file."""
        with self.lock:
            if self.transaction.failure is not None:
                return
            self.transaction.contents_began = False  # new writes wait for the lock, and are refused
            self.pins.drain()
            self.commit()
            cut = self.cuts and self._known_space is not None
            self.transaction.close(self.space.used_end if cut else None)

    @contextlib.contextmanager
    def taken(self, length: int, named: Callable[[], int]) -> Iterator[tuple[int, bool]]:
        """Space, and whether it reads as zeros; given back unless ``named`` by the table at the end."""
        place = self.space.take(length)
        is_new = place is None
        if place is None:
            place = self.space.extend(length)
        try:
            if place + length > self.reader.file_size:
                self.file.resize(place + length)
                self.reader.file_size = place + length
            self.transaction.payload_written = True
            yield place, is_new
        finally:
            if named() != place:
                self.space.give_back(place, length)

    def allocated(self, block: int, count: int = 1) -> contextlib.AbstractContextManager[tuple[int, bool]]:
        """Space for payload blocks back to back, and whether it reads as zeros."""
        length = count * self.geometry.block_size
        return self.taken(length, lambda: file_offset_of(self.bat.payload(block)))

    def put_entries(self, block: int, entries: array[int]) -> None:
        """Change the entries of blocks, in memory; readers follow at once."""
        with self.pages.lock:
            self.reader.forget(block, len(entries))  # first: an interrupt must not leave an old place behind
            self.bat.put(block, entries)

    def refuse_invalid(self, block: int, entry: int) -> None:
        """Raise CorruptImageError for a block whose entry has a state that this kind of image cannot have."""
        if is_invalid(state_of(entry), differencing=self.geometry.differencing):
            self.reader.refuse_state(entry, block)


def refuse_unwritable(current: Header, name: str) -> None:
    """Raise UnsupportedImageError for an image whose header lets nobody change it."""
    reason = None
    if current.log_length == 0:
        reason = "the image has no log, so it cannot be changed safely"
    elif current.sequence_number > _LAST_SEQUENCE_NUMBER:
        reason = "the header's sequence number cannot grow any more"
    if reason is not None:
        raise UnsupportedImageError(reason, image=name)
