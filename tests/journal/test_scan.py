"""Finding the active sequence, against a naive twin that does it word by word as the reference says."""

import random
from dataclasses import dataclass
from uuid import UUID

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.support.layout import MIB, SECTOR
from tests.support.logs import Data, Entry, LogBuilder, Zero, session_guid
from tests.support.naive import naive_active_sequence, naive_replayed
from tests.support.patterns import pattern
from vhdx.journal.replay import changes
from vhdx.journal.ring import Ring
from vhdx.journal.scan import ActiveSequence, active_sequence

LOG_OFFSET = MIB
GUID = session_guid(1)
Changes = list[tuple[int, int, bytes | None]]


def ring_of(log: bytes) -> Ring:
    """A ring whose file holds nothing but the log."""
    return Ring(LOG_OFFSET, len(log), lambda length, at: log[at - LOG_OFFSET :][:length])


def scanned(log: bytes, guid: UUID = GUID) -> tuple[ActiveSequence | None, Changes]:
    """What the library finds, and the changes in the order in which they are made."""
    ring = ring_of(log)
    sequence = active_sequence(ring, guid.bytes_le)
    if sequence is None:
        return None, []
    made = [(c.file_offset, c.length, c.sector) for c in changes(ring, sequence)]
    assert list(changes(ring, sequence)) == list(changes(ring, sequence, newest_first=True))[::-1]
    return sequence, made


def assert_as_the_twin(log: bytes, guid: UUID = GUID) -> list[int] | None:
    """Library and twin find the same; the ring offsets of the entries to be replayed."""
    sequence, made = scanned(log, guid)
    found = naive_active_sequence(log, guid, LOG_OFFSET)
    if found is None:
        assert sequence is None
        return None
    wanted = naive_replayed(found)
    assert sequence is not None
    assert list(sequence.positions) == [entry.offset for entry in wanted]
    assert sequence.first_sequence_number == wanted[0].sequence_number
    head = sequence.head
    assert (head.sequence_number, head.tail) == (wanted[-1].sequence_number, wanted[-1].tail)
    assert head.flushed_file_offset == wanted[-1].flushed_file_offset
    assert head.last_file_offset == wanted[-1].last_file_offset
    assert made == [write for entry in wanted for write in entry.writes]
    return list(sequence.positions)


@dataclass(frozen=True)
class Step:
    """One thing that happens to a ring: an entry is written, the writer jumps, or something is damaged."""

    what: str
    number: int
    other: int = 0


STEPS = st.lists(
    st.one_of(
        st.builds(Step, st.sampled_from(["entry"] * 6), st.integers(0, 4), st.integers(0, 6)),
        st.builds(Step, st.sampled_from(["many"]), st.integers(120, 300), st.integers(0, 3)),
        st.builds(
            Step,
            st.sampled_from(["session", "jump", "gap", "lie", "flip", "tear", "erase"]),
            st.integers(0, 2**20),
        ),
    ),
    min_size=1,
    max_size=18,
)
LIES: tuple[dict[str, int | bytes], ...] = (
    {"entry_length": 2 * SECTOR},
    {"entry_length": 0},
    {"entry_length": 100},
    {"entry_length": 2**32 - SECTOR},
    {"tail": 512},
    {"tail": 2**32 - SECTOR},
    {"sequence_number": 0},
    {"descriptor_count": 1},
    {"descriptor_count": 2**32 - 1},
    {"signature": b"egol"},
    {"checksum": 77},
    {"padding": bytes(SECTOR)},
)


class Writer:
    """Writes a ring step by step, with the entries of the session so far to point tails at."""

    def __init__(self, sectors: int, start: int) -> None:
        self.ring = LogBuilder(length=sectors * SECTOR, guid=GUID, position=start % sectors * SECTOR)
        self.ring.sequence_number = 2**32 - 3
        self.entries: list[int] = []
        self.sessions = 1

    def take(self, step: Step) -> None:
        ring, number = self.ring, step.number
        if step.what == "entry":
            self.add([self.descriptor(number * 10 + n) for n in range(number)], step.other)
        elif step.what == "many":
            self.add([Zero(4 * MIB + n * 2 * SECTOR, SECTOR) for n in range(number)], step.other)
        elif step.what == "session":
            self.sessions += 1
            ring.guid = GUID if number % 2 else session_guid(self.sessions)
            ring.sequence_number = number % 7 + 1
            self.entries = []
        elif step.what == "jump":
            ring.position = number * SECTOR % ring.length
        elif step.what == "gap":
            ring.sequence_number += number % 3
        elif step.what == "lie":
            usual = {"sequence_number": ring.sequence_number, "tail": ring.position, "log_guid": ring.guid}
            ring.place(Entry(**{**usual, **LIES[number % len(LIES)]}))  # type: ignore[arg-type]
        else:
            self.damage(step)

    def add(self, descriptors: list[Data | Zero], tail: int) -> None:
        places = [self.ring.position, *reversed(self.entries[-4:]), SECTOR]
        self.ring.flushed_file_offset += MIB
        self.entries.append(self.ring.add(*descriptors, tail=places[min(tail, len(places) - 1)]))

    def descriptor(self, number: int) -> Data | Zero:
        target = 4 * MIB + number % 5 * SECTOR
        return Zero(target, number % 3 * SECTOR) if number % 3 else Data(target, pattern(number, SECTOR))

    def damage(self, step: Step) -> None:
        log = self.ring.contents()
        at = step.number % len(log)
        if step.what == "flip":
            self.ring.put(at, bytes([log[at] ^ 0xFF]))
        elif step.what == "tear":  # a sector of which only the first 512 bytes were written
            self.ring.put(at - at % SECTOR + 512, bytes(SECTOR - 512))
        else:
            self.ring.put(at - at % SECTOR, bytes(SECTOR))


@settings(max_examples=400)
@given(STEPS, st.integers(4, 40), st.integers(0, 39))
def test_promise_4_any_ring_is_scanned_as_the_twin_does(steps: list[Step], sectors: int, start: int) -> None:
    writer = Writer(sectors, start)
    for step in steps:
        if step.what == "many" and sectors < 12:
            continue
        writer.take(step)
    found = assert_as_the_twin(writer.ring.contents())
    event(
        "nothing"
        if found is None
        else f"{min(len(found), 4)} entries, {'wrapped' if found != sorted(found) else 'in a row'}"
    )
    assert_as_the_twin(writer.ring.contents(), writer.ring.guid)


def filled(
    sectors: int, start: int, lengths: list[int], tails: list[int | None]
) -> tuple[LogBuilder, list[int]]:
    """A ring with entries of the given numbers of data sectors; tails are indexes of entries."""
    ring = LogBuilder(length=sectors * SECTOR, guid=GUID, position=start * SECTOR)
    places: list[int] = []
    for length, tail in zip(lengths, tails, strict=True):
        data = [Data(4 * MIB + n * SECTOR, pattern(n, SECTOR)) for n in range(length)]
        places.append(ring.add(*data, tail=None if tail is None else places[tail]))
    return ring, places


@pytest.mark.parametrize("start", range(16))
def test_a_sequence_that_wraps_at_any_place(start: int) -> None:
    ring, places = filled(16, start, [1, 2, 0, 3], [None, 0, 0, 0])
    assert assert_as_the_twin(ring.contents()) == places


@pytest.mark.parametrize("start", [0, 1, 15])
@pytest.mark.parametrize("tail", [0, 7, 15])
def test_a_ring_that_is_full_to_the_last_sector(start: int, tail: int) -> None:
    ring, places = filled(16, start, [0] * 16, [None] + [0] * 14 + [tail - 15 if tail < 0 else min(tail, 14)])
    assert assert_as_the_twin(ring.contents()) == places[min(tail, 14) :]


def test_one_entry_that_fills_the_ring() -> None:
    ring, places = filled(4, 3, [3], [None])
    assert assert_as_the_twin(ring.contents()) == places


def test_promise_4_only_what_lies_from_the_heads_tail_on_is_replayed() -> None:
    ring, places = filled(32, 5, [1, 2, 3, 1], [None, 0, None, 2])
    assert assert_as_the_twin(ring.contents()) == places[2:]


def test_of_two_complete_sequences_the_one_with_the_newer_head_is_active() -> None:
    for first, second in ((10, 50), (50, 10)):
        ring = LogBuilder(length=32 * SECTOR, guid=GUID, sequence_number=first)
        older = ring.add(Zero(4 * MIB, SECTOR))
        ring.position, ring.sequence_number = 8 * SECTOR, second
        newer = ring.add(Zero(5 * MIB, SECTOR))
        assert assert_as_the_twin(ring.contents()) == [newer if second > first else older]


def test_an_incomplete_newer_sequence_gives_way_to_a_complete_older_one() -> None:
    ring = LogBuilder(length=32 * SECTOR, guid=GUID, sequence_number=10)
    older = ring.add(Zero(4 * MIB, SECTOR))
    ring.position, ring.sequence_number = 8 * SECTOR, 50
    ring.add(Zero(5 * MIB, SECTOR), tail=20 * SECTOR)
    assert assert_as_the_twin(ring.contents()) == [older]


def test_entries_of_older_sessions_are_passed_over() -> None:
    ring, _ = filled(32, 0, [1, 1, 1, 1], [None, 0, 0, 0])
    ring.guid, ring.position, ring.sequence_number = session_guid(2), 0, 900
    new = ring.add(Zero(4 * MIB, SECTOR))
    assert assert_as_the_twin(ring.contents(), session_guid(2)) == [new]
    assert assert_as_the_twin(ring.contents(), session_guid(3)) is None


@pytest.mark.parametrize("data", [0, 1, 2])
@pytest.mark.parametrize("count", [0, 1, 125, 126, 127, 128, 253, 254, 255, 256, 382, 383, 1000])
def test_any_number_of_descriptors_and_of_their_sectors(count: int, data: int) -> None:
    ring = LogBuilder(length=MIB, guid=GUID, position=MIB - 2 * SECTOR)
    items: list[Data | Zero] = [Zero(16 * MIB + n * SECTOR, 0) for n in range(count)]
    for n in range(min(data, count)):
        items[-1 - n * (count - 1)] = Data(4 * MIB + n * SECTOR, pattern(n, SECTOR))
    ring.add(*items)
    assert assert_as_the_twin(ring.contents()) == [MIB - 2 * SECTOR]


def test_the_leading_and_trailing_bytes_come_from_the_descriptor() -> None:
    sector = random.Random(5).randbytes(SECTOR)
    ring = LogBuilder(length=8 * SECTOR, guid=GUID, sequence_number=0x1234_5678_9ABC_DEF0)
    ring.add(Data(4 * MIB, sector))
    _, made = scanned(ring.contents())
    assert made == [(4 * MIB, SECTOR, sector)]


BROKEN: dict[str, Entry] = {
    "descriptor of another sequence number": Entry((Zero(4 * MIB, SECTOR, sequence_number=8),)),
    "unaligned length of zeros": Entry((Zero(4 * MIB, 100),)),
    "unaligned target": Entry((Zero(4 * MIB + 512, SECTOR),)),
    "unaligned target of data": Entry((Data(4 * MIB + 512, bytes(SECTOR)),)),
    "reserved field of a zero descriptor": Entry((Zero(4 * MIB, SECTOR, reserved=1),)),
    "unknown descriptor": Entry((Zero(4 * MIB, SECTOR, signature=b"oops"),)),
    "data sector without signature": Entry((Data(4 * MIB, bytes(SECTOR), data_signature=b"oops"),)),
    "torn data sector, new end": Entry((Data(4 * MIB, bytes(SECTOR), sequence_low=8),)),
    "torn data sector, new start": Entry((Data(4 * MIB, bytes(SECTOR), sequence_high=8),)),
    "promise 18: the identifier": Entry((Data(0, bytes(SECTOR)),)),
    "promise 18: header 1": Entry((Data(64 * 1024, bytes(SECTOR)),)),
    "promise 18: header 2": Entry((Zero(128 * 1024, SECTOR),)),
    "promise 18: the sector before the region table": Entry((Data(188 * 1024, bytes(SECTOR)),)),
    "promise 18: zeros from the headers on": Entry((Zero(128 * 1024, MIB // 2),)),
    "promise 18: the log": Entry((Data(LOG_OFFSET, bytes(SECTOR)),)),
    "promise 18: the end of the log": Entry((Data(LOG_OFFSET + 31 * SECTOR, bytes(SECTOR)),)),
    "promise 18: zeros into the log": Entry((Zero(LOG_OFFSET - SECTOR, 2 * SECTOR),)),
    "promise 18: zeros over the log": Entry((Zero(192 * 1024, 4 * MIB),)),
    "overflow of 64 bits": Entry((Zero(2**64 - SECTOR, 2 * SECTOR),)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_promise_18_an_entry_that_breaks_a_rule_ends_the_sequence_before_it(name: str) -> None:
    ring = LogBuilder(length=32 * SECTOR, guid=GUID)
    first = ring.add(Zero(4 * MIB, SECTOR))
    broken = BROKEN[name]
    broken.sequence_number, broken.log_guid, broken.tail = ring.sequence_number, GUID, first
    at = ring.place(broken)
    sequence, made = scanned(ring.contents())
    assert sequence is not None
    assert sequence.positions == (first,)
    assert made == [(4 * MIB, SECTOR, None)]
    assert naive_active_sequence(ring.contents(), GUID, LOG_OFFSET) is not None
    ring.position, ring.sequence_number = at, broken.sequence_number
    ring.add(Zero(5 * MIB, SECTOR), tail=first)
    assert assert_as_the_twin(ring.contents()) == [first, at], "the same entry without the fault is taken"


ALLOWED = [
    Data(192 * 1024, bytes(SECTOR)),
    Zero(192 * 1024, MIB - 192 * 1024),
    Data(LOG_OFFSET + 32 * SECTOR, bytes(SECTOR)),
]


@pytest.mark.parametrize("target", ALLOWED, ids=lambda item: hex(item.file_offset))
def test_promise_18_the_neighbours_of_the_forbidden_places_are_allowed(target: Data | Zero) -> None:
    ring = LogBuilder(length=32 * SECTOR, guid=GUID)
    at = ring.add(target)
    assert assert_as_the_twin(ring.contents()) == [at]


def test_a_reserved_field_in_the_header_of_an_entry_is_not_minded() -> None:
    ring = LogBuilder(length=32 * SECTOR, guid=GUID)
    at = ring.place(Entry((Zero(4 * MIB, SECTOR),), 7, 0, GUID, reserved=1))
    sequence, _ = scanned(ring.contents())
    assert sequence is not None
    assert sequence.positions == (at,)
