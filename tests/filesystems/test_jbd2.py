"""Journals made by hand: replayed as the obvious loop replays them, ended or refused where Linux does so."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.filesystems.journals import (
    BLOCK,
    DISK_BLOCKS,
    MAGIC,
    PLAIN,
    V1,
    V2,
    V3,
    Journal,
    Transaction,
    disk,
    expected,
    places,
)
from vhdx.filesystems import jbd2
from vhdx.filesystems.base import NotFreeError

if TYPE_CHECKING:
    from vhdx.filesystems.base import Read

FORMATS = [(checksums, wide) for checksums in (PLAIN, V1, V2, V3) for wide in (False, True)]
OLD, NEW = b"old." * 256, b"new." * 256
LOOKS_LIKE_A_HEADER = MAGIC + b"\0\0\0\2" * 255


def replay(image: bytes | bytearray, length: int = 60) -> Read:
    def read(length: int, offset: int) -> bytes:
        assert 0 <= offset <= offset + length <= len(image)
        return bytes(image[offset : offset + length])

    return jbd2.replayed(jbd2.opened(read, np.array(places(length)), BLOCK), DISK_BLOCKS)


def after(journal: Journal, superblock: bytes | None = None) -> bytes:
    return replay(disk(journal, superblock), journal.length)(DISK_BLOCKS * BLOCK, 0)


def block(image: bytes | bytearray, number: int) -> bytes:
    return bytes(image[number * BLOCK : (number + 1) * BLOCK])


class Circumstances(NamedTuple):
    """How the journal of a property test is laid out."""

    checksums: str
    wide: bool
    start: int
    sequence: int
    tags_in_block: int


CIRCUMSTANCES = st.builds(
    Circumstances,
    st.sampled_from((PLAIN, V1, V2, V3)),
    st.booleans(),
    st.integers(1, 59),
    st.sampled_from((1, 7, 2**32 - 2)),
    st.integers(1, 6),
)
CONTENTS = {"a": b"a" * BLOCK, "b": b"b" * BLOCK, "header": LOOKS_LIKE_A_HEADER}
WRITES = st.lists(st.tuples(st.integers(2, 9), st.sampled_from(sorted(CONTENTS))), max_size=7)
TRANSACTIONS = st.tuples(WRITES, st.lists(st.integers(2, 9), max_size=4))


def transaction_of(drawn: tuple[list[tuple[int, str]], list[int]]) -> Transaction:
    writes, revokes = drawn
    return Transaction(tuple((number, CONTENTS[name]) for number, name in writes), tuple(revokes))


@given(
    CIRCUMSTANCES, st.lists(TRANSACTIONS, max_size=4).map(lambda drawn: [*map(transaction_of, drawn)]), WRITES
)
def test_as_the_obvious_loop(
    around: Circumstances, transactions: list[Transaction], uncommitted: list[tuple[int, str]]
) -> None:
    checksums, wide, start, sequence, tags_in_block = around
    journal = Journal(checksums, wide, start=start, sequence=sequence, tags_in_block=tags_in_block)
    for transaction in transactions:
        journal.add(transaction)
    journal.add(transaction_of((uncommitted, [3])), commit=False)
    image = disk(journal)
    whole = expected(image, transactions)
    read = replay(image)
    assert read(len(image), 0) == whole
    for offset, length in (
        (0, 1),
        (5 * BLOCK - 3, 7),
        (2 * BLOCK + 1, 3 * BLOCK),
        (4 * BLOCK, BLOCK),
        (6144, 0),
    ):
        assert read(length, offset) == whole[offset : offset + length]


@pytest.mark.parametrize(("checksums", "wide"), FORMATS)
def test_goes_round_behind_the_last_block(checksums: str, wide: bool) -> None:
    journal = Journal(checksums, wide, start=57)
    journal.add(Transaction(((5, OLD), (6, NEW))))
    journal.add(Transaction(((5, NEW),)))
    assert journal.cursor < 57
    assert block(after(journal), 5) == block(after(journal), 6) == NEW


@pytest.mark.parametrize(("checksums", "wide"), FORMATS)
def test_escaped_blocks_get_their_magic_back(checksums: str, wide: bool) -> None:
    journal = Journal(checksums, wide)
    journal.add(Transaction(((5, LOOKS_LIKE_A_HEADER),)))
    assert block(after(journal), 5) == LOOKS_LIKE_A_HEADER


@pytest.mark.parametrize(("checksums", "wide"), FORMATS)
def test_revokes_of_the_same_and_of_later_transactions(checksums: str, wide: bool) -> None:
    journal = Journal(checksums, wide)
    journal.add(Transaction(((4, OLD), (5, OLD), (6, OLD)), revokes=(4,)))
    journal.add(Transaction(revokes=(5,)))
    journal.add(Transaction(((5, NEW),)))
    found = after(journal)
    assert block(found, 4) == block(disk(journal), 4)
    assert block(found, 5) == NEW
    assert block(found, 6) == OLD


@pytest.mark.parametrize(("checksums", "wide"), FORMATS)
def test_revokes_that_were_not_committed_mean_nothing(checksums: str, wide: bool) -> None:
    journal = Journal(checksums, wide)
    journal.add(Transaction(((4, OLD),)))
    journal.add(Transaction(revokes=(4,)), commit=False)
    assert block(after(journal), 4) == OLD


@pytest.mark.parametrize(("checksums", "wide"), FORMATS)
def test_a_commit_block_that_was_never_written_ends_it(checksums: str, wide: bool) -> None:
    journal = Journal(checksums, wide)
    journal.add(Transaction(((4, OLD),)))
    journal.add(Transaction(((4, NEW), (5, NEW))))
    journal.add(Transaction(((6, NEW),)))
    del journal.blocks[journal.kinds["commit"][1]]
    found = after(journal)
    assert block(found, 4) == OLD
    assert block(found, 6) == block(disk(journal), 6)


@pytest.mark.parametrize(
    ("kind", "number", "at", "says"),
    [
        ("data", 0, 500, "a block in its journal has a wrong checksum"),
        ("descriptor", 0, 200, "a transaction of its journal is damaged"),
        ("revoke", 0, 200, "a transaction of its journal is damaged"),
        ("commit", 0, 200, "a transaction of its journal is damaged"),
    ],
)
@pytest.mark.parametrize("checksums", [V2, V3])
def test_damage_is_refused(checksums: str, kind: str, number: int, at: int, says: str) -> None:
    journal = Journal(checksums)
    journal.add(Transaction(((4, OLD), (5, OLD)), revokes=(7,)))
    journal.add(Transaction(((4, NEW),)))
    journal.damage(kind, number, at)
    with pytest.raises(NotFreeError, match=says):
        after(journal)


@pytest.mark.parametrize("kind", ["data", "descriptor"])
def test_damage_that_only_the_commit_blocks_sum_shows(kind: str) -> None:
    journal = Journal(V1)
    journal.add(Transaction(((4, OLD),)))
    journal.damage(kind, 0, 500)
    with pytest.raises(NotFreeError, match="a transaction of its journal is damaged"):
        after(journal)


def test_damage_of_a_revoked_block_does_not_matter() -> None:
    journal = Journal()
    journal.add(Transaction(((4, OLD),)))
    journal.add(Transaction(revokes=(4,)))
    journal.damage("data", 0, 500)
    assert block(after(journal), 4) == block(disk(journal), 4)


@pytest.mark.parametrize("kind", ["descriptor", "revoke"])
def test_a_damaged_block_that_was_not_committed_ends_it(kind: str) -> None:
    journal = Journal()
    journal.add(Transaction(((4, OLD),)))
    journal.add(Transaction(((4, NEW),), revokes=(4,)), commit=False)
    journal.damage(kind, 0 if kind == "revoke" else 1, 300)
    assert block(after(journal), 4) == OLD


def test_leftovers_of_an_earlier_file_system_end_it() -> None:
    journal = Journal()
    journal.add(Transaction(((4, OLD),)), seconds=1000)
    journal.add(Transaction(((4, NEW),)), seconds=900)
    journal.damage("descriptor", 1, 300)
    assert block(after(journal), 4) == OLD


def test_an_empty_journal_changes_nothing() -> None:
    journal = Journal()
    journal.add(Transaction(((4, NEW),)))
    empty = journal.superblock(start=0)
    assert after(journal, empty) == disk(journal, empty)
    with_fast_commits = journal.superblock(start=0, incompat=0x33)
    assert after(journal, with_fast_commits) == disk(journal, with_fast_commits)


def test_the_first_version_of_the_superblock_has_no_features() -> None:
    journal = Journal(PLAIN, wide=False)
    journal.add(Transaction(((4, NEW),)))
    assert block(after(journal, journal.superblock(kind=3, incompat=0xFFFF, compat=9)), 4) == NEW


@pytest.mark.parametrize(
    "changes",
    [
        {"magic": 1}, {"kind": 1}, {"block_size": 4096}, {"length": 61}, {"length": 0}, {"first": 0},
        {"first": 60}, {"start": 60}, {"start": 2**32 - 1}, {"errno": 5}, {"incompat": 0x33},
        {"incompat": 0x40}, {"ro_compat": 1}, {"compat": 2}, {"compat": 1}, {"incompat": 0x18},
        {"checksum": 1}, {"checksum_type": 1},
    ],
    ids=str,
)  # fmt: skip
def test_superblocks_that_are_refused(changes: dict[str, int]) -> None:
    journal = Journal()
    journal.add(Transaction(((4, NEW),)))
    with pytest.raises(NotFreeError):
        after(journal, journal.superblock(**changes))


@pytest.mark.parametrize(
    ("number", "says"),
    [(DISK_BLOCKS, "outside"), (2**63 + 4, "outside"), (2**64 - 1, "outside"), (101, "over itself")],
)
def test_writes_to_where_nothing_may_be_written(number: int, says: str) -> None:
    journal = Journal()
    journal.add(Transaction(((number, NEW),)))
    with pytest.raises(NotFreeError, match=says):
        after(journal)


def test_a_circle_without_an_end() -> None:
    journal = Journal(PLAIN)
    for _ in range(59):
        journal.add(Transaction(revokes=(5,)), commit=False)
    with pytest.raises(NotFreeError, match="no end"):
        after(journal)


def test_a_journal_that_is_full() -> None:
    journal = Journal(PLAIN, start=30, tags_in_block=57)
    journal.add(Transaction(tuple((number, NEW) for number in range(2, 59))))
    assert journal.cursor == 30
    assert block(after(journal), 58) == NEW


def test_revokes_longer_than_their_block() -> None:
    journal = Journal(PLAIN)
    journal.add(Transaction(((4, OLD),), revokes=(5,)))
    position = journal.kinds["revoke"][0]
    damaged = journal.blocks[position]
    journal.blocks[position] = damaged[:12] + (2**32 - 1).to_bytes(4, "big") + damaged[16:]
    with pytest.raises(NotFreeError, match="revoke block"):
        after(journal)
