"""The commit path: every change of metadata leaves through it, in an order that no crash can hurt.

Commit: payload written → flush → log entry → flush → pages put in their places, which the next flush makes
durable. Beginning: headers with new write GUIDs, then replay of a dirty log. End: log GUID cleared. The
order of promise 14; what each step relies on is told in docs/journal.md.

Knows pages, not what a BAT entry is. After a failure that it cannot undo it refuses everything.
"""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING

from vhdx.errors import ImageFailedError
from vhdx.format import guids
from vhdx.image.headers import HeaderPair
from vhdx.image.pages import PAGE_SIZE
from vhdx.journal.replay import known_end, replay
from vhdx.journal.ring import Ring
from vhdx.journal.writer import LogWriter
from vhdx.storage.overlay import Overlay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdx.image.image import Image
    from vhdx.storage.base import Storage


def nobody_reads() -> None:
    """There are no readers to be told of a failure."""


class Transaction:
    """The changes of one session on one file. Its callers hold the image's change lock."""

    def __init__(self, file: Storage, image: Image, on_failure: Callable[[], None] = nobody_reads) -> None:
        self._file = file
        self._image = image
        self._pages = image.pages
        self._on_failure = on_failure
        self._headers = HeaderPair(file, image.headers)
        length = image.header.log_length
        together = image.geometry.differencing
        self._journal = LogWriter(file, image.header.log_offset, length, together=together)
        self._page_limit = self._journal.page_limit
        self._began = False
        self.contents_began = False
        """Whether contents may be changed: the headers say so, and nothing has failed for good."""
        self.payload_written = False
        """Whether something was written that the next flush has to make durable."""
        self.identity: uuid.UUID | None = uuid.uuid4()
        """The DataWriteGuid that contents get when they begin to change; None keeps the one they have,
        because they change only in ways that no read can tell."""
        self.failure: BaseException | None = None
        """What went wrong for good, None as long as nothing has."""
        self._closed = False

    def check(self) -> None:
        """Raise ImageFailedError after a failure that could not be undone, ValueError after `close`."""
        if self._closed:
            raise ValueError("the disk is closed")
        if self.failure is not None:
            raise ImageFailedError(
                f"an earlier operation failed for good ({self.failure!r}); what was flushed before is safe, "
                "the file is as after a crash, open it again",
                image=self._image.name,
            ) from self.failure

    @property
    def began(self) -> bool:
        """Whether this session has modified the file."""
        return self._began

    @contextlib.contextmanager
    def failing_for_good(self) -> Iterator[None]:
        """Whatever goes wrong inside cannot be undone: refuse everything from then on."""
        self.check()
        try:
            yield
        except BaseException as error:
            self.failure = error
            self.contents_began = False
            self._on_failure()
            raise

    def begin(self, *, contents: bool, used_end: int | None = None) -> None:
        """Before a modification: new FileWriteGuid once, new DataWriteGuid once for ``contents``.

        The first call also replays a dirty log in its place, cuts what the file has behind its end by the
        log and behind ``used_end`` (bytes, None: nothing is cut), and lays out what is to be repaired.
        """
        if self._began and (self.contents_began or not contents):
            self.check()
            return
        with self.failing_for_good():
            changes = {"data_write_guid": self.identity} if contents and self.identity is not None else {}
            if not self._began:
                changes |= self._begin_session(changes, used_end)
            if changes:
                self._headers.update(changes)
            self._began = True
            self.contents_began = self.contents_began or contents

    def _begin_session(self, changes: dict[str, uuid.UUID], used_end: int | None) -> dict[str, uuid.UUID]:
        """Replay what is to be replayed; the header fields that are still to be changed."""
        fresh = {"file_write_guid": uuid.uuid4()}
        if self._image.header.log_guid == guids.NIL:
            return changes | fresh
        # The headers come before the replay, the identity of the contents after it: replay changes none.
        self._headers.update(fresh)
        self.replay_log(used_end)
        return changes | {"log_guid": guids.NIL}

    def recover(self) -> None:
        """Put right bytes over a damaged copy of the region table, with the next commit."""
        for file_offset, table in self._image.regions.to_repair:
            for start in range(0, len(table), PAGE_SIZE):
                self._pages.put(table[start : start + PAGE_SIZE], file_offset + start)

    def replay_log(self, used_end: int | None) -> None:
        """Replay a dirty log in its place; what the file has behind its end by the log goes first."""
        sequence = self._image.sequence
        if sequence is not None:
            header, end = self._image.header, known_end(sequence)
            if end is not None and used_end is not None and max(end, used_end) < self._file.size():
                self._file.resize(max(end, used_end))
            replay(self._file, Ring(header.log_offset, header.log_length, self._file.read), sequence)
            self._file.flush()
        if isinstance(self._image.storage, Overlay):
            self._image.storage.dissolve()

    def has_room(self, pages: int) -> bool:
        """Whether so many more changed pages still fit a commit, which takes at most half the log."""
        return self._pages.dirty_count + pages <= self._page_limit

    def fits(self, pages: int) -> bool:
        """Whether so many changed pages fit one entry of the log, so that no crash tears them apart."""
        return pages <= self._journal.entry_limit

    def commit(self) -> bool:
        """Make everything durable that was written or changed; whether there were changed pages."""
        self.check()
        pages = self._pages.dirty()
        if not pages and not self.payload_written:
            return False
        self._claim_space(pages)
        with self.failing_for_good():
            self.payload_written = False
            self._file.flush()
            if pages:
                self._commit_pages(pages)
        return bool(pages)

    def _claim_space(self, pages: list[tuple[int, bytes]]) -> None:
        """Claim from the host what the commit writes to: where it is full (OSError) nothing has begun yet.

        Logs and tables of new images are holes in the host's file.
        """
        if pages:
            self._journal.claim(pages)
        for file_offset, length in _neighbours(sorted(offset for offset, _ in pages)):
            self._file.reserve(file_offset, length)

    def _commit_pages(self, pages: list[tuple[int, bytes]]) -> None:
        size = self._file.size()
        if not self._journal.has_room(pages):
            self._start_log(size)
        self._journal.append(pages, size)
        self._file.flush()
        for file_offset, page in pages:
            self._file.write_at(page, file_offset)
        self._pages.settle(pages)

    def open_log(self) -> None:
        """Before the file grows: let the log say how long it is, so that a crash explains what comes behind.

        The first commit would begin the log as well, so this costs nothing. Raises OSError where the host
        is full.
        """
        if not self._journal.is_open:
            self._journal.claim([])
            with self.failing_for_good():
                self._start_log(self._file.size())

    def _start_log(self, file_size: int) -> None:
        """Everything stands durably in its place: begin the log anew, entry first, headers second."""
        log_guid = uuid.uuid4()
        self._journal.start(log_guid, file_size)
        self._file.flush()
        self._headers.update({"log_guid": log_guid})

    def close(self, file_size: int | None) -> None:
        """Commit, empty the log, then cut the file to ``file_size`` bytes unless that is None.

        Nothing is let through from then on: a write that comes too late must not be taken for written.
        """
        self.commit()
        self.end(file_size)

    def end(self, file_size: int | None) -> None:
        """The same without what was not committed."""
        with self.failing_for_good():
            is_open = self._began and self._headers.current.log_guid != guids.NIL
            if is_open:
                self._file.flush()
            if self._began and file_size is not None and file_size < self._file.size():
                if is_open:  # a crash in between is explained, and for QEMU the file is long enough
                    self._journal.append_length(file_size)
                    self._file.flush()
                self._file.resize(file_size)
                self._file.flush()
            if is_open:
                self._headers.update({"log_guid": guids.NIL})
        self._closed = True


def _neighbours(offsets: list[int]) -> Iterator[tuple[int, int]]:
    """(file offset, length) of runs of pages, which come in order."""
    start = end = 0
    for offset in offsets:
        if offset != end:
            if end:
                yield start, end - start
            start = offset
        end = offset + PAGE_SIZE
    if end:
        yield start, end - start
