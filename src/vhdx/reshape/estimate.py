"""What a compaction would do: the same steps, in memory, where the changed pages of the table are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.format import guids
from vhdx.geometry import BITMAP_BLOCK_SIZE
from vhdx.reshape.relocate import Relocator
from vhdx.write.session import Session
from vhdx.write.transaction import Transaction

if TYPE_CHECKING:
    from vhdx.image.image import Image
    from vhdx.storage.dry_run import DryRunStorage
    from vhdx.write.sectors import Below


class _InMemory(Transaction):
    """Changed pages stay in memory; a dirty log is replayed as it would be."""

    def begin(self, *, contents: bool, used_end: int | None = None) -> None:  # noqa: ARG002  no headers
        """The image is as after its replay."""
        if self._began:
            return
        if self._image.header.log_guid != guids.NIL:
            self.replay_log(used_end)
        self._began = self.contents_began = True

    def open_log(self) -> None:
        """There is no log."""

    def recover(self) -> None:
        """Copies of the region table are not looked at."""

    def has_room(self, pages: int) -> bool:  # noqa: ARG002
        """There is no log to be filled."""
        return True

    def commit(self) -> bool:
        """All that was changed counts as durable."""
        return True


class DryRunSession(Session):
    """A session that leaves the file as it is. Raises as a session does for what cannot be written to."""

    def __init__(self, file: DryRunStorage, image: Image) -> None:
        super().__init__(file, image)
        self.transaction = _InMemory(file, image)


class Estimate(Relocator):
    """The changes of a compaction, with what is moved referred to."""

    def __init__(self, file: DryRunStorage, image: Image, below: Below | None) -> None:
        self.session = DryRunSession(file, image)
        super().__init__(self.session, below)
        self._tried = file

    def _move_bitmap(self, chunk: int, source: int, target: int) -> None:
        data = self._pages.read_many(BITMAP_BLOCK_SIZE, source)
        self._tried.move(source, target, BITMAP_BLOCK_SIZE)
        self._bitmap_moved(chunk, target)
        self._pages.put_all(data, target)

    def _copy(self, source: int, target: int, length: int) -> None:
        available = min(length, self._tried.size() - source)
        self._tried.move(source, target, available)
        self._clear(target + available, length - available)
