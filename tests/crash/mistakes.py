"""Mistakes that a writer could make, each put into the library for one test: the harness has to find them."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from vhdx.format import guids, header
from vhdx.image.headers import HeaderPair
from vhdx.journal.writer import LogWriter
from vhdx.write.session import Session
from vhdx.write.space import Space
from vhdx.write.transaction import Transaction

Mistake = Callable[[pytest.MonkeyPatch], None]
MISTAKES: dict[str, Mistake] = {}


def mistake(make: Mistake) -> Mistake:
    """Enter a mistake into the list, by its name."""
    MISTAKES[make.__name__.replace("_", " ")] = make
    return make


def _forgotten(method: Any, flushes: slice) -> Any:
    """The method, with some of the flushes that it makes forgotten."""

    def wrapped(self: Any, *arguments: Any, **options: Any) -> Any:
        storage = self._file if hasattr(self, "_file") else self._storage
        really, count = storage.flush, [0]
        forgotten = range(100)[flushes]

        def flush() -> None:
            count[0] += 1
            if count[0] - 1 not in forgotten:
                really()

        storage.flush = flush
        try:
            return method(self, *arguments, **options)
        finally:
            storage.flush = really

    return wrapped


@mistake
def no_flush_before_the_log_entry(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Transaction, "commit", _forgotten(Transaction.commit, slice(0, 1)))


@mistake
def no_flush_behind_the_log_entry(patch: pytest.MonkeyPatch) -> None:
    def commit_pages(transaction: Any, pages: list[tuple[int, bytes]]) -> None:
        size = transaction._file.size()
        if not transaction._journal.has_room(pages):
            transaction._start_log(size)
        transaction._journal.append(pages, size)
        for file_offset, page in pages:
            transaction._file.write_at(page, file_offset)
        transaction._file.flush()
        transaction._pages.settle(pages)

    patch.setattr(Transaction, "_commit_pages", commit_pages)


@mistake
def a_flush_that_does_nothing_after_writes_in_place(patch: pytest.MonkeyPatch) -> None:
    really = Transaction.commit

    def commit(transaction: Any) -> bool:
        return really(transaction) if transaction._pages.dirty() else False

    patch.setattr(Transaction, "commit", commit)


@mistake
def space_given_away_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Space, "give_up", Space.give_back)


@mistake
def space_punched_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    really = Session.commit

    def commit(session: Any) -> None:
        for file_offset, length in session._known_space.waiting if session._known_space else ():
            session.file.punch(file_offset, length)
        really(session)

    patch.setattr(Session, "commit", commit)


@mistake
def headers_before_the_first_entry(patch: pytest.MonkeyPatch) -> None:
    def start_log(transaction: Any, file_size: int) -> None:
        log_guid = uuid.uuid4()
        transaction._headers.update({"log_guid": log_guid})
        transaction._journal.start(log_guid, file_size)
        transaction._file.flush()

    patch.setattr(Transaction, "_start_log", start_log)


@mistake
def the_first_entry_not_flushed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Transaction, "_start_log", _forgotten(Transaction._start_log, slice(0, 1)))


@mistake
def the_file_cut_before_the_log_is_emptied(patch: pytest.MonkeyPatch) -> None:
    really = Transaction.close

    def close(transaction: Any, file_size: int | None) -> None:
        if transaction.began and file_size is not None and file_size < transaction._file.size():
            transaction.commit()
            transaction._file.resize(file_size)
            transaction._file.flush()
        really(transaction, None)

    patch.setattr(Transaction, "close", close)


@mistake
def the_log_emptied_before_its_pages_are_in_place(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Transaction, "close", _forgotten(Transaction.close, slice(0, 1)))


@mistake
def both_headers_in_one_flush(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(HeaderPair, "update", _forgotten(HeaderPair.update, slice(0, 1)))


@mistake
def the_header_in_force_overwritten(patch: pytest.MonkeyPatch) -> None:
    def update(pair: Any, changes: dict[str, Any]) -> None:
        fields = {**pair._current._asdict(), **changes}
        fields["sequence_number"] += 1
        pair._current = header.Header(**fields)
        pair._storage.write_at(pair._current.pack(), header.HEADER_OFFSETS[pair._slot])
        pair._storage.flush()

    patch.setattr(HeaderPair, "update", update)


@mistake
def tables_written_without_the_log(patch: pytest.MonkeyPatch) -> None:
    def commit_pages(transaction: Any, pages: list[tuple[int, bytes]]) -> None:
        for file_offset, page in pages:
            transaction._file.write_at(page, file_offset)
        transaction._file.flush()
        transaction._pages.settle(pages)

    patch.setattr(Transaction, "_commit_pages", commit_pages)


@mistake
def the_log_guid_cleared_before_the_replay(patch: pytest.MonkeyPatch) -> None:
    really = Transaction._begin_session

    def begin(transaction: Any, changes: dict[str, uuid.UUID], end: int | None) -> dict[str, uuid.UUID]:
        if transaction._image.header.log_guid != guids.NIL:
            transaction._headers.update({"log_guid": guids.NIL, "file_write_guid": uuid.uuid4()})
        return really(transaction, changes, end)

    patch.setattr(Transaction, "_begin_session", begin)


@mistake
def the_replay_not_flushed(patch: pytest.MonkeyPatch) -> None:
    def begin(transaction: Any, changes: dict[str, uuid.UUID], end: int | None) -> dict[str, uuid.UUID]:
        with pytest.MonkeyPatch.context() as inner:
            storage = transaction._file
            if transaction._image.header.log_guid != guids.NIL:
                transaction._headers.update({"file_write_guid": uuid.uuid4()})
                inner.setattr(storage, "flush", bool)
                inner.setattr(transaction._headers, "update", bool)
            return really(transaction, changes, end)

    really = Transaction._begin_session
    patch.setattr(Transaction, "_begin_session", begin)


@mistake
def a_ring_that_begins_again_at_its_start_under_the_same_guid(patch: pytest.MonkeyPatch) -> None:
    def start_log(transaction: Any, file_size: int) -> None:
        if transaction._journal._log_guid is None:
            really(transaction, file_size)
        else:
            transaction._journal._position = 0

    really = Transaction._start_log
    patch.setattr(Transaction, "_start_log", start_log)


@mistake
def an_old_tail(patch: pytest.MonkeyPatch) -> None:
    """Replay of what was applied long ago, from the first entry on: once space was reused that is harmful."""

    def append(writer: Any, pages: list[tuple[int, bytes]], file_size: int) -> None:
        for entry in writer._entries(pages):
            writer._append(entry, 0, file_size)

    patch.setattr(LogWriter, "append", append)


@mistake
def no_new_file_write_guid(patch: pytest.MonkeyPatch) -> None:
    _without(patch, "file_write_guid")


@mistake
def no_new_data_write_guid(patch: pytest.MonkeyPatch) -> None:
    _without(patch, "data_write_guid")


def _without(patch: pytest.MonkeyPatch, field: str) -> None:
    really = HeaderPair.update

    def update(pair: HeaderPair, changes: dict[str, Any]) -> None:
        really(pair, {name: value for name, value in changes.items() if name != field})

    patch.setattr(HeaderPair, "update", update)
