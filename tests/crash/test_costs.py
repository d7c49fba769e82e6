"""Promise 14, counted on the storage: flushes, log entries, writes and bytes of each pattern. Never timed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.support.build import ImageBuilder
from tests.support.layout import GIB, HEADER_OFFSETS, KIB, MIB
from tests.support.lying import Operation
from tests.support.sparse import content_of

from .scenarios.allocating import with_gaps
from .scenarios.scenario import block, dynamic
from .scenarios.sessions import dirty
from .session import Session

PAGE = 4 * KIB
HEADERS = 2
"""Flushes of a change of the headers: one for each slot."""
FIRST_CHANGE = HEADERS
NEW_RING = 1 + HEADERS
"""The empty entry, then the headers that name its GUID."""
COMMIT = 2


@dataclass
class Cost:
    """What was done to the file."""

    operations: list[Operation]
    session: Session
    reads: int = 0

    def count(self, *kinds: str) -> int:
        return sum(operation.kind in kinds for operation in self.operations)

    @property
    def flushes(self) -> int:
        return self.count("flush")

    @property
    def entries(self) -> int:
        return sum(self._in_log(operation) for operation in self.operations)

    @property
    def log_bytes(self) -> int:
        return sum(op.end - op.start for op in self.operations if self._in_log(op))

    @property
    def header_writes(self) -> int:
        return sum(op.kind == "write" and op.start in HEADER_OFFSETS.values() for op in self.operations)

    @property
    def bytes_written(self) -> int:
        return sum(op.end - op.start for op in self.operations if op.kind == "write")

    @property
    def changes(self) -> int:
        return len(self.operations) - self.flushes

    def _in_log(self, operation: Operation) -> bool:
        log = self.session.survey.log
        return operation.kind == "write" and log.file_offset <= operation.start < log.file_offset + log.length


@contextmanager
def counted(session: Session) -> Iterator[Cost]:
    """What the block does to the file, reads included."""
    session.disk.pread(1, 0)
    start, reads = len(session.record.operations), session.storage.reads
    cost = Cost([], session)
    yield cost
    cost.operations += [op for op in session.record.operations[start:] if op.kind != "mark"]
    cost.reads = session.storage.reads - reads


class Sessions:
    """Sessions that are let go of when the test ends."""

    def __init__(self) -> None:
        self._all: list[Session] = []

    def fresh(self, image: ImageBuilder | None = None) -> Session:
        """A session that has changed nothing yet."""
        self._all.append(Session(content_of(image or dynamic())))
        return self._all[-1]

    def begun(self, image: ImageBuilder | None = None) -> Session:
        """A session that has committed once, so that what a session pays once is paid."""
        session = self.fresh(image)
        session.disk.pwrite(b"once", session.size - 100)
        session.disk.flush()
        return session

    def large(self, log_length: int) -> Session:
        """A disk with many pages in its table."""
        return self.begun(ImageBuilder(160 * GIB, blocks={0: block(0)}, log_length=log_length))

    def forget(self) -> None:
        for session in self._all:
            session.forget()


@pytest.fixture(name="sessions")
def _sessions() -> Iterator[Sessions]:
    sessions = Sessions()
    yield sessions
    sessions.forget()


def test_a_flush_with_nothing_new_costs_nothing(sessions: Sessions) -> None:
    fresh = sessions.fresh()
    session = sessions.begun()
    for one in (fresh, session):
        with counted(one) as cost:
            one.disk.flush()
            one.disk.pread(4096, 0)
            one.disk.flush()
        assert not cost.operations


def test_a_flush_after_writes_in_place_costs_one(sessions: Sessions) -> None:
    session = sessions.begun()
    with counted(session) as cost:
        for offset in (0, 100, MIB + 511, 2 * MIB):
            session.disk.pwrite(b"x" * 1000, offset)
        session.disk.flush()
        session.disk.flush()
    assert [op.kind for op in cost.operations] == ["write"] * 4 + ["flush"]
    assert (cost.entries, cost.bytes_written) == (0, 4000)


def test_a_write_in_place_is_one_write_of_its_bytes_and_no_read(sessions: Sessions) -> None:
    session = sessions.begun()
    session.disk.pwrite(b"look", MIB)
    with counted(session) as cost:
        session.disk.pwrite(b"x" * 3, MIB + 5)
    [only] = cost.operations
    assert (only.kind, only.end - only.start, only.data) == ("write", 3, b"xxx")
    assert cost.reads == 0


def _allocations(session: Session, count: int) -> None:
    for number in range(count):
        session.disk.pwrite(b"a" * 512, (3 + number) * MIB)


def _zeros(session: Session, count: int) -> None:
    for number in range(count):
        session.disk.zero(length=MIB, offset=number * MIB)


def _trims(session: Session, count: int) -> None:
    session.disk.trim(length=count * MIB, offset=0)


def _everything(session: Session, count: int) -> None:
    for number in range(count):
        session.disk.trim(length=MIB, offset=number * MIB)
        session.disk.pwrite(b"b" * 512, number * MIB + 512)
        session.disk.zero(length=512, offset=number * MIB)
        session.disk.pwrite(b"a" * 512, (3 + number) * MIB)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("pattern", [_allocations, _zeros, _trims, _everything])
def test_a_flush_after_any_changes_of_the_table_costs_two(
    pattern: Callable[[Session, int], None], count: int, sessions: Sessions
) -> None:
    session = sessions.begun()
    with counted(session) as before:
        pattern(session, count)
    with counted(session) as cost:
        session.disk.flush()
        session.disk.flush()
    assert before.flushes == before.entries == 0
    assert (cost.flushes, cost.entries, cost.header_writes) == (COMMIT, 1, 0)
    assert cost.log_bytes == 2 * PAGE, "a sector of descriptors and the page"
    assert cost.bytes_written == 3 * PAGE, "the entry, and the page in its place"
    assert cost.reads == 0


def test_space_at_the_end_of_the_file_is_not_zeroed(sessions: Sessions) -> None:
    session = sessions.begun()
    with counted(session) as cost:
        session.disk.pwrite(b"a" * 512, 5 * MIB + 512)
    assert [op.kind for op in cost.operations] == ["resize", "write"]
    assert cost.bytes_written == 512


def test_space_in_a_gap_is_zeroed_once_unless_all_of_it_is_written(sessions: Sessions) -> None:
    session = sessions.begun(with_gaps())
    with counted(session) as part:
        session.disk.pwrite(b"a" * 512, 5 * MIB + 512)
    with counted(session) as whole:
        session.disk.pwrite(b"a" * MIB, 6 * MIB)
    assert [op.kind for op in part.operations] == ["punch", "write"]
    assert [op.kind for op in whole.operations] == ["write"]


def _one_change_in_each_page(session: Session, pages: int) -> None:
    for page in range(pages):
        session.disk.zero(length=MIB, offset=page * 512 * MIB + MIB)


@pytest.mark.parametrize(("pages", "halves", "laps"), [(126, 1, 0), (127, 2, 0), (252, 2, 1), (253, 3, 1)])
def test_a_flush_costs_two_for_each_half_of_the_log(
    pages: int, halves: int, laps: int, sessions: Sessions
) -> None:
    session = sessions.large(MIB)
    with counted(session) as cost:
        _one_change_in_each_page(session, pages)
        session.disk.flush()
    assert cost.header_writes == laps * HEADERS
    assert cost.flushes == COMMIT * halves + NEW_RING * laps
    assert cost.entries == halves + laps
    assert cost.log_bytes == (pages + halves + laps) * PAGE


@pytest.mark.parametrize(("pages", "entries"), [(126, 1), (127, 2), (300, 3)])
def test_a_commit_of_many_pages_is_several_entries_and_two_flushes(
    pages: int, entries: int, sessions: Sessions
) -> None:
    session = sessions.large(4 * MIB)
    with counted(session) as cost:
        _one_change_in_each_page(session, pages)
        session.disk.flush()
    assert (cost.flushes, cost.entries, cost.header_writes) == (COMMIT, entries, 0)
    assert cost.bytes_written == (2 * pages + entries) * PAGE


def test_the_first_change_of_a_session_costs_two_more_and_its_first_commit_three(sessions: Sessions) -> None:
    session = sessions.fresh()
    with counted(session) as change:
        session.disk.pwrite(b"x", 0)
    assert (change.flushes, change.header_writes, change.entries) == (FIRST_CHANGE, 2, 0)
    with counted(session) as growth:  # before the file grows the log begins, as the first commit lets it
        session.disk.pwrite(b"x", 5 * MIB)
    assert (growth.flushes, growth.header_writes, growth.entries) == (NEW_RING, 2, 1)
    with counted(session) as commit:
        session.disk.flush()
    assert (commit.flushes, commit.header_writes, commit.entries) == (COMMIT, 0, 1)
    assert growth.bytes_written - 1 == PAGE + 2 * PAGE
    assert commit.bytes_written == 3 * PAGE


def test_a_new_ring_costs_three_more_once_a_lap(sessions: Sessions) -> None:
    session = sessions.begun()
    rest = (MIB - 3 * PAGE - 1) // (2 * PAGE)
    costs = []
    for number in range(rest + 1 + 127):
        with counted(session) as cost:
            session.disk.pwrite(b"x", 3 * MIB + number % 2)
            session.disk.trim(length=MIB, offset=3 * MIB)
            session.disk.pwrite(b"x", 4 * MIB)
            session.disk.flush()
        costs.append(cost.flushes)
    laps = [number for number, flushes in enumerate(costs) if flushes != COMMIT]
    assert laps == [rest, rest + 127]
    assert {costs[number] for number in laps} == {COMMIT + NEW_RING}


def test_opening_and_closing_costs_nothing(sessions: Sessions) -> None:
    for image in (dynamic(), dirty(0)):
        session = sessions.fresh(image)
        with counted(session) as cost:
            session.disk.close()
        assert not cost.operations


def test_closing(sessions: Sessions) -> None:
    flushed = sessions.begun()
    with counted(flushed) as cost:
        flushed.disk.close()
    assert (cost.flushes, cost.changes) == (1 + HEADERS, 2), "pages durable, then the headers"
    dirty = sessions.begun()
    dirty.disk.pwrite(b"x", 5 * MIB)
    with counted(dirty) as cost:
        dirty.disk.close()
    assert cost.flushes == COMMIT + 1 + HEADERS
    cut = sessions.begun()
    cut.disk.zero(length=MIB, offset=cut.size - MIB)
    cut.disk.flush()
    with counted(cut) as cost:
        cut.disk.close()
    assert (cost.flushes, cost.count("resize"), cost.entries) == (1 + 1 + 1 + HEADERS, 1, 1)
    in_place = sessions.fresh()
    in_place.disk.pwrite(b"x", 0)
    with counted(in_place) as cost:
        in_place.disk.close()
    assert (cost.flushes, cost.changes) == (1, 0)


def test_a_replay_costs_the_headers_twice_and_one_flush(sessions: Sessions) -> None:
    session = sessions.fresh(dirty(0))
    with counted(session) as cost:
        session.disk.pwrite(b"x", 0)
    assert (cost.flushes, cost.header_writes) == (HEADERS + 1 + HEADERS, 4)


def test_promise_16_a_read_inside_one_block_is_one_call(sessions: Sessions) -> None:
    session = sessions.begun()
    session.disk.pread(1, 2 * MIB)
    buffer = bytearray(4096)
    for read in (
        lambda: session.disk.pread(4096, 2 * MIB + 4096),
        lambda: session.disk.preadinto(buffer, 2 * MIB + 100),
    ):
        before = session.storage.reads
        read()
        assert session.storage.reads == before + 1
