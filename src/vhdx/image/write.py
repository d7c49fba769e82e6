"""Changing one image: its disk, what is to be mended in it, its metadata items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.errors import UnsupportedImageError
from vhdx.image.blocks import BlockWriter
from vhdx.image.erase import Eraser
from vhdx.image.items import item_changes
from vhdx.image.pages import PAGE_SIZE
from vhdx.image.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from vhdx.image.image import Image
    from vhdx.image.sectors import Below
    from vhdx.storage.base import Storage


class Writer:
    """Writes into one image. Safe to use from several threads.

    Writes into present blocks run in parallel; everything that changes the table or a bitmap is ordered by
    the session's lock. Nothing is modified before the first change.
    """

    def __init__(
        self, file: Storage, image: Image, on_failure: Callable[[], None], below: Below | None = None
    ) -> None:
        self._image = image
        self._geometry = image.geometry
        self._session = Session(file, image, on_failure)
        self._door = self._session.door
        self._blocks = BlockWriter(self._session, below)
        eraser = Eraser(self._session, below, self._blocks)
        self.zero = eraser.zero
        self.trim = eraser.trim
        self.close = self._session.close

    def keep_identity(self) -> None:
        """Before the first write: say that all writes will leave what a read returns as it is."""
        self._door.identity = None

    def take_identity(self, data_write_guid: UUID) -> None:
        """Before the first write: give the contents this DataWriteGuid, durably."""
        self._door.identity = data_write_guid
        self._session.begin()

    def check(self) -> None:
        """Raise ImageFailedError after a failure that could not be undone."""
        self._door.check()

    def pwrite(self, data: bytes | memoryview, offset: int) -> None:
        """Write bytes of a range inside the disk."""
        if not self._door.contents_began:
            self._session.begin()
        if self._blocks.write_in_place(data, offset):
            return
        data = memoryview(data)
        for span in self._geometry.spans(offset, len(data)):
            start = self._geometry.offset_of(span) - offset
            piece = data[start : start + span.length]
            if not self._blocks.write_in_place(piece, offset + start):
                self._blocks.write(span, piece)

    def flush(self) -> None:
        """Return when everything written before is durable."""
        self._door.check()
        with self._session.lock:
            self._session.commit()

    def mend(self) -> bool:
        """Replay a dirty log and put right what disagrees, contents untouched; whether it was needed."""
        with self._session.lock:
            if not self._image.needs_mending:
                return False
            self._session.begin(contents=False)
            self._session.commit()
            return True

    def replace_item(self, item_id: UUID, value: bytes) -> None:
        """Give a system metadata item another value, durably. Does not count as a change of contents."""
        session = self._session
        with session.lock:
            changes = item_changes(self._image.metadata, item_id, value)
            session.begin(contents=False)
            session.commit()  # so that what belongs together has half the log for itself
            if not session.door.has_room(sum(len(data) // PAGE_SIZE + 2 for _, data in changes)):
                raise UnsupportedImageError("the log is too small for this item", image=self._image.name)
            with session.door.failing_for_good():
                for file_offset, data in changes:
                    session.pages.put_all(data, file_offset)
            session.commit()
