"""The judge of the soak: what it takes for possible, and what not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .history import NEVER, SECTOR, Change, History, Look, ReadBytes, stamped
from .reference import Reference

SIZE = 16 * SECTOR
OLD = stamped(999, 0, SIZE)


@pytest.fixture
def reference(tmp_path: Path) -> Iterator[Reference]:
    made = Reference(tmp_path / "reference", SIZE)
    made.write(OLD, 0)
    yield made
    made.close()


def history(*changes: Change, flushes: tuple[tuple[int, int], ...] = ()) -> History:
    made = History()
    made.changes += changes
    made.flushes += flushes
    return made


def written(number: int, began: int, ended: float, start: int, end: int, *, forced: bool = False) -> Change:
    data = stamped(number, start, end - start)
    return Change(number, began, ended, start, end - start, data, forced=forced)


def holding(content: bytes) -> ReadBytes:
    return lambda length, offset: content[offset : offset + length]


def with_change(change: Change, content: bytes = OLD, *, sectors: int = 16) -> bytes:
    """The content after a change, of which only the first sectors arrived."""
    end = min(change.end, change.offset + sectors * SECTOR)
    return content[: change.offset] + change.part(change.offset, end) + content[end:]


FIRST = written(1, 0, 1, 0, 2048)
LATER = written(2, 2, 3, 1024, 3072)
TOGETHER = written(3, 0, 3, 1024, 3072)
UNANSWERED = written(4, 2, NEVER, 1024, 3072)
FORCED = written(5, 0, 1, 0, 2048, forced=True)
TRIM = Change(6, 0, 1, 1024, 2048, None, sure=False)
ODD = written(7, 0, 1, 700, 1900)

POSSIBLE = {
    "both in order": (history(FIRST, LATER), with_change(LATER, with_change(FIRST)), False),
    "the first of two together wins": (
        history(FIRST, TOGETHER),
        with_change(FIRST, with_change(TOGETHER)),
        False,
    ),
    "each wins in some sectors": (
        history(FIRST, TOGETHER),
        with_change(TOGETHER, with_change(FIRST), sectors=1)[:2048] + with_change(TOGETHER)[2048:],
        False,
    ),
    "a trim did nothing": (history(TRIM), OLD, False),
    "a trim made zeros": (history(TRIM), with_change(TRIM), False),
    "no multiples of sectors": (history(ODD), with_change(ODD), False),
    "a crash took back what was not flushed": (history(FIRST, LATER), OLD, True),
    "a crash took back some sectors": (history(FIRST), with_change(FIRST, sectors=2), True),
    "only the last of two came through": (history(FIRST, LATER), with_change(LATER), True),
    "what was flushed is there, later is not": (
        history(FIRST, written(2, 4, 5, 1024, 3072), flushes=((2, 3),)),
        with_change(FIRST),
        True,
    ),
    "what nobody answered is there": (history(FIRST, UNANSWERED), with_change(UNANSWERED), True),
}
IMPOSSIBLE = {
    "a write is lost": (history(FIRST, LATER), with_change(FIRST), False),
    "the earlier write wins": (history(FIRST, LATER), with_change(FIRST, with_change(LATER)), False),
    "a sector is torn": (history(FIRST), with_change(FIRST)[:100] + OLD[100:], True),
    "neither old nor new": (history(FIRST), bytes(512) + with_change(FIRST)[512:], True),
    "a flushed write is lost": (history(FIRST, flushes=((2, 3),)), OLD, True),
    "a flush by somebody who saw it answered counts": (
        history(FIRST, LATER, flushes=((4, 5),)),
        with_change(FIRST),
        True,
    ),
    "a write with FUA is lost": (history(FORCED), OLD, True),
    "a trim returned garbage": (history(TRIM), with_change(FIRST), False),
    "bytes beside an odd write changed": (
        history(ODD),
        with_change(ODD)[:699] + b"x" + with_change(ODD)[700:],
        False,
    ),
}


@pytest.mark.parametrize("case", POSSIBLE.values(), ids=POSSIBLE)
def test_accepts(case: tuple[History, bytes, bool], reference: Reference) -> None:
    asked, content, crashed = case
    asked.settle(reference, holding(content), crashed=crashed)
    assert reference.read(SIZE, 0) == content


@pytest.mark.parametrize("case", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_rejects(case: tuple[History, bytes, bool], reference: Reference) -> None:
    asked, content, crashed = case
    if asked.changes[0] is ODD:  # only changed ranges are settled; the whole disk is compared afterwards
        asked.changes.append(written(8, 0, NEVER, 0, 700))
    with pytest.raises(AssertionError, match="disk offset"):
        asked.settle(reference, holding(content), crashed=crashed)


@pytest.mark.parametrize(
    ("began", "ended", "content", "right"),
    [
        (4, 5, with_change(LATER, with_change(FIRST)), True),
        (4, 5, with_change(FIRST), False),
        (1, 4, with_change(FIRST), True),
        (2, 4, OLD, False),
        (0, 1, OLD, True),
        (0, 1, with_change(LATER), False),
    ],
    ids=[
        "after both",
        "misses one that was answered",
        "before the answer",
        "older than what it began after",
        "before both were answered",
        "of something that did not begin yet",
    ],
)
def test_looks(began: int, ended: int, content: bytes, right: bool, reference: Reference) -> None:
    asked = history(FIRST, LATER)
    asked.looks.append(Look(began, ended, 512, content[512:4000]))
    if right:
        asked.assert_looks(reference)
    else:
        with pytest.raises(AssertionError, match="while others wrote"):
            asked.assert_looks(reference)
