"""Changing one image: its disk, what is to be repaired in it, its metadata items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.closing import ClosedAtEnd
from vhdx.errors import UnsupportedImageError
from vhdx.progress import to_nobody
from vhdx.write.blocks import BlockWriter
from vhdx.write.erase import Eraser
from vhdx.write.items import ItemChange, NewItem, NoRoomError, RegionFullError, with_items, without_item
from vhdx.write.region_move import grow_metadata
from vhdx.write.session import Session
from vhdx.write.transaction import nobody_reads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from vhdx.format.metadata import MetadataEntry
    from vhdx.image.image import Image
    from vhdx.progress import Advance
    from vhdx.storage.base import Storage
    from vhdx.storage.sharing import FileRange
    from vhdx.write.sectors import Below


class Writer(ClosedAtEnd):
    """Writes into one image. Safe to use from several threads.

    Writes into present blocks run in parallel; everything that changes the table or a bitmap is ordered by
    the session's lock. Nothing is modified before the first change.
    """

    def __init__(
        self,
        file: Storage,
        image: Image,
        on_failure: Callable[[], None] = nobody_reads,
        below: Below | None = None,
        advance: Advance = to_nobody,
    ) -> None:
        self._image = image
        self._geometry = image.geometry
        self.session = Session(file, image, on_failure)
        self.session.advance = advance
        self._transaction = self.session.transaction
        self._blocks = BlockWriter(self.session, below)
        self._items = image.metadata.entries
        eraser = Eraser(self.session, below, self._blocks)
        self.zero = eraser.zero
        self.trim = eraser.trim

    def close(self) -> None:
        """End the session. Raises ImageFailedError after a failure that could not be undone."""
        self.session.close()

    def keep_identity(self) -> None:
        """Before the first write: say that all writes will leave what a read returns as it is."""
        self._transaction.identity = None

    def take_identity(self, data_write_guid: UUID) -> None:
        """Before the first write: give the contents this DataWriteGuid, durably."""
        self._transaction.identity = data_write_guid
        self.session.begin()

    def check(self) -> None:
        """Raise ImageFailedError after a failure that could not be undone."""
        self._transaction.check()

    def pwrite(self, data: bytes | memoryview, offset: int) -> None:
        """Write bytes of a range inside the disk."""
        if not self._transaction.contents_began:
            self.session.begin()
        if self._blocks.write_in_place(data, offset):
            return
        data = memoryview(data)
        for span in self._geometry.spans(offset, len(data)):
            start = self._geometry.offset_of(span) - offset
            piece = data[start : start + span.length]
            if not self._blocks.write_in_place(piece, offset + start):
                self._blocks.write(span, piece)

    def share(self, found: FileRange, offset: int) -> None:
        """The same of bytes that stand in a file, whose space is shared where that can be."""
        self.session.begin()
        for span in self._geometry.spans(offset, found.length):
            start = self._geometry.offset_of(span) - offset
            piece = found.part(start, span.length)
            if not self._blocks.write_in_place(piece, offset + start):
                self._blocks.write(span, piece)

    def flush(self) -> None:
        """Return when everything written before is durable."""
        self._transaction.check()
        with self.session.lock:
            self.session.commit()

    def recover(self) -> bool:
        """Replay a dirty log and put right what disagrees, contents untouched; whether it was needed."""
        with self.session.lock:
            if not self._image.needs_recovery:
                return False
            self.session.begin(contents=False)
            self.session.commit()
            return True

    def replace_item(self, item_id: UUID, value: bytes) -> None:
        """Give a system metadata item another value, durably. Does not count as a change of contents."""
        self.put_items((NewItem(item_id, value),), contents=False)

    def put_items(self, items: Iterable[NewItem], *, contents: bool) -> None:
        """Add metadata items or replace them, all in one log entry, durably.

        ``contents``: children are to see that the disk is another one. Raises UnsupportedImageError, before
        anything changed, where there is no room.
        """
        with self.session.lock:
            change = self._change_for(items)
            self._apply(change, contents=contents)

    def grow_for(self, items: Iterable[NewItem]) -> bool:
        """Move the metadata region to a longer place if it has no room for these items, durably.

        Whether it did; then the image has to be opened anew. Raises UnsupportedImageError past the limit.
        """
        items = tuple(items)
        try:
            self._with_items(ItemChange(self._items, ()), items)
        except RegionFullError:
            with self.session.lock:
                grow_metadata(self.session, sum(len(item.value) for item in items))
            return True
        except NoRoomError:
            pass
        return False

    def replace_disk_items(self, items: Iterable[NewItem]) -> None:
        """Let ``items`` be the ones that belong to the virtual disk, durably, in one log entry.

        Other user items of the disk go. Raises UnsupportedImageError where there is no room.
        """
        items = tuple(items)
        kept = {item.item_id for item in items if item.is_user}
        with self.session.lock:
            whole = ItemChange(self._items, ())
            while (index := self._superfluous(whole.entries, kept)) is not None:
                step = without_item(whole.entries, index)
                whole = ItemChange(step.entries, whole.logged + step.logged)
            self._apply(self._change_for(items, whole), contents=True)

    def _superfluous(self, entries: tuple[MetadataEntry, ...], kept: set[UUID]) -> int | None:
        """The row of a user item that belongs to the virtual disk and is not to stay."""
        found = (
            i for i, e in enumerate(entries) if e.is_user and e.is_virtual_disk and e.item_id not in kept
        )
        return next(found, None)

    def delete_item(self, index: int) -> None:
        """Delete the metadata item of a row of the table, durably. Counts as a change of contents."""
        with self.session.lock:
            self._apply(without_item(self._items, index), contents=True)

    def _change_for(self, items: Iterable[NewItem], before: ItemChange | None = None) -> ItemChange:
        """The items put, after what is changed ``before``."""
        before = before or ItemChange(self._items, ())
        try:
            change = self._with_items(before, items)
        except NoRoomError as error:
            raise UnsupportedImageError(str(error), image=self._image.name, rule="2.6.1") from None
        if not self._transaction.fits(change.page_count):
            raise UnsupportedImageError("the log is too small for these items", image=self._image.name)
        return change

    def _with_items(self, before: ItemChange, items: Iterable[NewItem]) -> ItemChange:
        return with_items(before, self._image.metadata.region.length, items, self._fits, self._items)

    def _fits(self, pages: int) -> bool:
        """Whether so many pages go through the log; also if not: where it has written already."""
        return self._transaction.began or self._transaction.fits(pages)

    def _apply(self, change: ItemChange, *, contents: bool) -> None:
        session, start = self.session, self._image.metadata.region.file_offset
        session.begin(contents=contents)
        session.commit()  # so that what belongs together has half the log for itself
        for offset, data in change.direct:
            session.transaction.payload_written = True
            session.file.write_at(data, start + offset)
            session.pages.forget(start + offset, len(data))
        with session.transaction.failing_for_good():
            for offset, data in change.logged:
                session.pages.put_all(data, start + offset)
            self._items = change.entries  # also if the commit fails: the pages leave with the next one
        session.commit()
