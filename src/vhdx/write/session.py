"""What every change of one image needs: its parts, space for blocks, entries changed in memory, commits.

Begins lazily: nothing is modified before the first change. Knows when, not what, is written.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from vhdx.closing import ClosedAtEnd
from vhdx.errors import UnsupportedImageError, VhdxError
from vhdx.format.bat import file_offset_of, state_of
from vhdx.image.image import load
from vhdx.image.states import is_invalid
from vhdx.image.unowned import Look, Seen
from vhdx.journal.replay import known_end
from vhdx.progress import to_nobody
from vhdx.units import MIB
from vhdx.write.kept_space import KeptSpace
from vhdx.write.pins import Pins
from vhdx.write.survey import Conflict, keep_leftovers, survey
from vhdx.write.transaction import Transaction, nobody_reads

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterator

    from vhdx.format.header import Header
    from vhdx.image.image import Image
    from vhdx.progress import Advance
    from vhdx.storage.base import Storage
    from vhdx.write.space import Space

_LAST_SEQUENCE_NUMBER = 2**63
"""No session gets near the end of 64 bits from here."""


class Session(ClosedAtEnd):
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
        self.cuts_unknown = True
        """Whether the file may be cut where its dirty log says that it ended, if nothing stands behind."""
        self.lock = threading.RLock()
        self.pins = Pins()
        self.transaction = Transaction(file, image, on_failure)
        self._known_space: Space | None = None
        self._leftovers: list[int] | None = None
        self.seen = Seen()
        """What is known of the file; may be had from whoever looked before."""
        self.advance: Advance = to_nobody
        """Told the bytes that are looked into before space is taken or cut; set before the first change."""
        self._kept_space: KeptSpace | None = None

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
            if self._kept_space is None:
                self._kept_space = self._space_to_keep(space)
            for run in self._kept_space.found():
                space.keep_run(*run)
            self._known_space = space
        return self._known_space

    @property
    def claimed(self) -> bytes:
        """The map of the file as it was opened, 0 for each MiB that nobody claims, kept or not."""
        _ = self.space
        assert self._kept_space is not None  # the survey made it
        return self._kept_space.claimed

    def _space_to_keep(self, space: Space) -> KeptSpace:
        """What nobody claims when the file is opened, but for what the log says is newer than itself."""
        claimed, sequence = space.claimed(), None if self.transaction.began else self.image.sequence
        end = None if sequence is None or not self.cuts_unknown else known_end(sequence)
        size = min(self.reader.file_size, len(claimed) * MIB)
        size = size if end is None else min(size, max(end, space.used_end))
        look = Look(self.image.storage, size, advance=self.advance, seen=self.seen)
        kept = KeptSpace(look, claimed, self.geometry.block_size)
        if self._lacks_entries():
            kept.keep_all()
        return kept

    def keep_unexplained(self) -> None:
        """Before space is shared out: keep what nobody claims and is not zeros, as it may be a lost block."""
        self._keep_within(self.space, 0, self.space.end)

    def _keep_within(self, space: Space, file_offset: int, length: int) -> bool:
        """Look into a range that a map calls free; whether any of it is kept, and marked so."""
        assert self._kept_space is not None  # the survey made it
        kept = [*self._kept_space.within(file_offset, length)]
        for run in kept:
            space.keep_run(*run)
        return bool(kept)

    def _lacks_entries(self) -> bool:
        """Whether a fixed image has blocks without an entry, so that all it has may be blocks."""
        blocks = self.bat.runs(0, self.geometry.block_count) if self.keeps_blocks else ()
        return any(run.entry == 0 for run in blocks)

    def free_unexplained(self) -> None:
        """Before the first change: what nobody claims is free, whatever it holds; the caller says so."""
        look = Look(self.image.storage, 0)
        self._kept_space = KeptSpace(look, b"", self.geometry.block_size)

    def survey_anew(self) -> None:
        """Make everything durable; then what no entry names any more is free, whatever kept it so far."""
        _ = self.space
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
        self.free_unexplained()

    def begin(self, *, contents: bool = True) -> None:
        """Before a change: the image is sound, its headers say that it is being written to."""
        self.transaction.check()
        if contents and self.transaction.contents_began:
            return
        with self.lock:
            first = not self.transaction.began
            used_end = self.space.used_end  # an image that contradicts itself is not modified at all
            self.transaction.begin(contents=contents, used_end=used_end if self.cuts_unknown else None)
            if first:
                self._follow_end()
                self.transaction.recover()

    def _follow_end(self) -> None:
        """The replay of a dirty log may have cut the file."""
        size = self.file.size()
        if size < self.reader.file_size:
            self.reader.file_size = size
            self.space.end_at(size)

    def grow(self, end: int) -> None:
        """Make the file so long, if it is not; the log has said before how long it was."""
        if end > self.reader.file_size:
            self.transaction.open_log()
            self.file.resize(end)
            self.reader.file_size = end

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
            self.empty(file_offset, length)
            self._known_space.give_back(file_offset, length)

    def empty(self, file_offset: int, length: int) -> None:
        """Let go of the contents of space that becomes free: in later sessions zeros are known to be free."""
        length = min(length, self.reader.file_size - file_offset)
        if length > 0 and not self.file.punch(file_offset, length):
            self.file.zero(file_offset, length)

    def close(self) -> None:
        """Commit, empty the log, cut the file behind its last used MiB. Does nothing to an unchanged file.

        Raises ImageFailedError, and does nothing, after a failure that could not be undone.
        """
        with self.lock:
            self.transaction.check()
            self.transaction.contents_began = False  # new writes wait for the lock, and are refused
            self.pins.drain()
            try:
                self.commit()
            except OSError:
                if self.transaction.failure is None:  # the host is full, and nothing of the commit has begun
                    self._give_up_changes()
                raise
            self.transaction.close(self._end_to_cut_at())

    def _end_to_cut_at(self) -> int | None:
        """Where the file is to end, None for where it ends."""
        if not self.cuts or self._known_space is None:
            return None
        return self._end_of(self.space)

    def _end_of(self, space: Space) -> int:
        """The file offset behind what a map calls used, and behind what is kept."""
        end = space.used_end
        self._keep_within(space, end, max(0, self.file.size() - end))
        return space.used_end

    def _give_up_changes(self) -> None:
        """End the session with what was durable before, and give back the space of what was not."""
        try:
            durable = load(self.file)
            kept = survey(durable.regions, durable.bat, durable.geometry, self.file.size())
            keep_leftovers(kept, durable.regions, durable.bat, durable.geometry)
            for run in self._kept_space.found() if self._kept_space else ():
                kept.keep_run(*run)
        except (Conflict, VhdxError):  # an image that was being repaired: what of it is free is not known
            self.transaction.end(None)
            return
        for file_offset, length in self.space.taken_beyond(kept):
            self.file.punch(file_offset, min(length, self.file.size() - file_offset))
        self.transaction.end(self._end_of(kept) if self.cuts else None)

    def take_gap(self, length: int) -> int | None:
        """Space between other things, all of it in the file, which may end inside its last MiB; None if none.

        It may hold anything. Whoever fails to have it named gives it back.
        """
        place = self.space.find(length)
        while place is not None and self._keep_within(self.space, place, length):
            place = self.space.find(length)
        if place is not None:
            self.space.claim(place, length)
            self._reach(place, length)
        return place

    def take_end(self, length: int) -> int:
        """Space behind everything, all of it in the file, which reads as zeros."""
        place = self.space.extend(length)
        self._reach(place, length)
        return place

    def _reach(self, place: int, length: int) -> None:
        """Let the file have all of some space that was taken; where it cannot, the space is given back."""
        if place + length > self.reader.file_size:
            try:
                self.begin(contents=False)
                self.grow(place + length)
            except BaseException:
                self.space.give_back(place, length)
                raise

    @contextlib.contextmanager
    def taken(self, length: int, named: Callable[[], int]) -> Iterator[tuple[int, bool]]:
        """Space, and whether it reads as zeros; given back unless ``named`` by the table at the end."""
        place = self.take_gap(length)
        is_new = place is None
        if place is None:
            place = self.take_end(length)
        try:
            self.transaction.payload_written = True
            yield place, is_new
        finally:
            if named() != place:
                self.untake(place, length)

    def untake(self, place: int, length: int) -> None:
        """Give back space that was taken and that no entry came to name, also to a host that may be full.

        Behind the end of what is used the file is cut when the session ends.
        """
        self.space.give_back(place, length)
        if self.transaction.failure is None:
            with contextlib.suppress(OSError):  # what goes wrong already says more
                self.empty(place, length)

    def allocated(self, block: int, count: int = 1) -> contextlib.AbstractContextManager[tuple[int, bool]]:
        """Space for payload blocks back to back, and whether it reads as zeros."""
        length = count * self.geometry.block_size
        return self.taken(length, lambda: file_offset_of(self.bat.payload(block)))

    def put_entries(self, block: int, entries: array[int]) -> None:
        """Change the entries of blocks, in memory; readers follow at once."""
        with self.pages.lock:
            self.reader.remembers = False  # an interrupt may leave it so: slower, never wrong
            self.reader.forget(block, len(entries))  # first: an interrupt must not leave an old place behind
            self.bat.put(block, entries)
            self.reader.remembers = True

    def put_bitmap_entry(self, chunk: int, entry: int) -> None:
        """The same for the entry of a sector bitmap."""
        with self.pages.lock:
            self.reader.remembers = False
            self.reader.forget_bitmap(chunk)
            self.bat.put_bitmap(chunk, entry)
            self.reader.remembers = True

    def refuse_invalid(self, block: int, entry: int) -> None:
        """Raise CorruptImageError for a block whose entry has a state that no block can have."""
        if is_invalid(state_of(entry)):
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
