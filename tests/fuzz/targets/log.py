"""The log: a small ring, scanned and replayed, against the naive walk of the specification.

An input is a list of entries that a broken writer might have left, then bytes that something else wrote over
them. Checksums are made to fit where the input says so.
"""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from tests.fuzz.memory import Written
from tests.support.layout import KIB, LOG_ENTRY, MIB, SECTOR, seal
from tests.support.logs import Data, Entry, LogBuilder, Zero, session_guid
from tests.support.naive import NaiveEntry, naive_active_sequence, naive_replayed
from tests.support.patterns import pattern
from tests.support.sparse import Content, ContentStorage
from vhdx.format.header import FILE_OFFSET_LIMIT
from vhdx.journal.replay import GrowthError, replay, replayed_overlay
from vhdx.journal.ring import Ring
from vhdx.journal.scan import ActiveSequence, active_sequence
from vhdx.storage.overlay import Overlay

__all__ = ["corpus", "mutated", "run"]

SECTORS = 24
"""Of the ring: so few that entries meet its end, and each other."""
LOG_OFFSET = MIB
FILE_SIZE = 4 * MIB
_GUIDS = (session_guid(1), session_guid(2))
_OPERATION = 8
_TARGETS = (*range(3 * MIB, 3 * MIB + 4 * SECTOR, SECTOR), FILE_SIZE - SECTOR, FILE_SIZE, 5 * MIB)
_BAD_TARGETS = (
    0,
    64 * KIB,
    192 * KIB,
    LOG_OFFSET,
    LOG_OFFSET - SECTOR,
    LOG_OFFSET + SECTORS * SECTOR,
    3 * MIB + 1,
)
_FAR = (1 << 63, FILE_OFFSET_LIMIT - SECTOR, FILE_OFFSET_LIMIT, (1 << 64) - SECTOR, 1 << 40, 192 * KIB)


class Operation(NamedTuple):
    """Eight bytes: place an entry, or overwrite some bytes of the ring.

    `kind` chooses; `place` and `tail` are sectors; `number` becomes the sequence number; the rest says what
    the entry holds.
    """

    kind: int
    place: int
    number: int
    tail: int
    datas: int
    zeros: int
    target: int
    extra: int


def corpus() -> Iterator[bytes]:
    """One entry, a run, a run over the end of the ring, two sessions, two sectors of descriptors, damage."""
    yield _packed((0, 0, 1, 0, 0, 0, 0, 0))
    yield _packed(*((0, 255, 255, 0, 2, 1, n, 0) for n in range(4)))
    yield _packed(*((0, 20 if n == 0 else 255, 255, 20, 1, 0, n, 0) for n in range(4)))
    yield _packed((0, 0, 9, 0, 1, 0, 0, 0), (1, 0, 2, 2, 1, 1, 3, 0), (0, 255, 255, 4, 1, 1, 3, 0))
    yield _packed((0, 3, 1, 3, 1, 200, 0, 0), (0, 255, 255, 3, 0, 1, 5, 2))
    yield _packed((0, 3, 1, 3, 2, 0, 0, 0), (4, 4, 0, 1, 100, 5, 6, 7))


def _packed(*operations: tuple[int, ...]) -> bytes:
    return b"".join(bytes(operation) for operation in operations)


def mutated(data: bytes, chance: Random) -> bytes:
    """One more operation, or another value in one of those there are."""
    operations = [data[at : at + _OPERATION] for at in range(0, len(data) - _OPERATION + 1, _OPERATION)]
    if not operations or chance.random() < 0.4:
        kind = chance.choice((0, 0, 0, 1, 2, 4))
        place = chance.choice((255, 255, chance.randrange(SECTORS)))
        number = chance.choice((255, 255, chance.randrange(256)))
        tail = chance.randrange(SECTORS)
        rest = (
            chance.randrange(4),
            chance.choice((0, 0, 0, 0, 1, 2, 3, 130)),
            chance.randrange(256),
            chance.randrange(16),
        )
        operations.insert(chance.randint(0, len(operations)), bytes((kind, place, number, tail, *rest)))
    else:
        at = chance.randrange(len(operations))
        operation = bytearray(operations[at])
        operation[chance.randrange(_OPERATION)] = chance.choice((0, 1, 2, 4, 8, 255, chance.randrange(256)))
        operations[at] = bytes(operation)
    return b"".join(operations[-16:])


def run(data: bytes) -> None:
    """Scan the ring and replay what is found, in memory and on disk."""
    log = _ring_of(data)
    content = Content(FILE_SIZE)
    content.write(log, LOG_OFFSET)
    for at in range(3 * MIB, 3 * MIB + 8 * SECTOR, SECTOR):
        content.write(pattern(1, SECTOR, start=at), at)
    storage = ContentStorage(content)
    ring = Ring(LOG_OFFSET, len(log), storage.read)
    found = active_sequence(ring, _GUIDS[0].bytes_le)
    assert storage.reads <= 8 + 4 * SECTORS, f"{storage.reads} reads of {SECTORS} sectors"
    naive = naive_active_sequence(log, _GUIDS[0], LOG_OFFSET)
    wanted = naive_replayed(naive) if naive else []
    places, numbers = [entry.offset for entry in wanted], [entry.sequence_number for entry in wanted]
    assert (found is None) == (naive is None), (found, places, numbers)
    if found is not None:
        assert found.head.sequence_number == numbers[-1], (found, places, numbers)
        if _is_alone(log, found.head.sequence_number):
            assert list(found.positions) == places, (found, places, numbers)
            _replay(storage, ring, found, wanted)


def _is_alone(log: bytes, sequence_number: int) -> bool:
    """Whether no other entry claims to be the newest: of two, either may be taken."""
    numbers = [
        LOG_ENTRY.number(log[at : at + LOG_ENTRY.size], "sequence_number")
        for at in range(0, len(log), SECTOR)
        if log[at : at + 4] == b"loge"
    ]
    return numbers.count(sequence_number) == 1


def _replay(storage: ContentStorage, ring: Ring, found: ActiveSequence, wanted: list[NaiveEntry]) -> None:
    end = max(
        [-(-wanted[-1].last_file_offset // MIB) * MIB, *(t + n for e in wanted for t, n, _ in e.writes)]
    )
    try:
        overlay = replayed_overlay(storage, ring, found)
    except GrowthError:
        assert end > FILE_OFFSET_LIMIT
        return
    assert end <= FILE_OFFSET_LIMIT, f"the file would have {end} bytes"
    expected = _expected(storage.content, wanted)
    assert overlay.size() == max(end, FILE_SIZE) >= expected.size
    expected.resize(overlay.size())
    _compare(overlay, expected)
    written = Written(storage.content)
    for _ in range(2):
        replay(written, ring, found)
        assert written.content.size == expected.size
        assert written.content.digest == expected.digest, "the replay on disk is another"


def _compare(overlay: Overlay, expected: Content) -> None:
    for page in {*expected.pages, expected.size // SECTOR - 1}:
        start = max(0, page * SECTOR - 100)
        length = min(SECTOR + 200, expected.size - start)
        assert overlay.read(length, start) == expected.read(length, start), f"the page at {page * SECTOR:#x}"


def _expected(before: Content, wanted: list[NaiveEntry]) -> Content:
    after = before.copy()
    for entry in wanted:
        for target, length, data in entry.writes:
            if data is None:
                after.resize(max(after.size, target + length))
                for page in [page for page in after.pages if target <= page * SECTOR < target + length]:
                    after.put_page(page, bytes(SECTOR))
            else:
                after.write(data, target)
    return after


def _ring_of(data: bytes) -> bytes:
    log = LogBuilder(length=SECTORS * SECTOR)
    patches = []
    for at in range(0, min(len(data), 40 * _OPERATION) - _OPERATION + 1, _OPERATION):
        operation = Operation(*data[at : at + _OPERATION])
        if operation.kind & 4:
            patches.append(operation)
        else:
            _place(log, operation)
    contents = bytearray(log.contents())
    for patch in patches:
        _overwrite(contents, patch)
    return bytes(contents)


def _place(log: LogBuilder, operation: Operation) -> None:
    """An entry where the last one ended (255) or at a sector; numbered on (255) or anew."""
    if operation.place != 255:
        log.position = operation.place % SECTORS * SECTOR
    if operation.number != 255:
        log.sequence_number = operation.number | (1 << 32) - 4 if operation.extra & 8 else operation.number
    descriptors: list[Data | Zero] = [
        Data(_target(operation, n), pattern(operation.number, SECTOR, start=n * SECTOR))
        for n in range(operation.datas % 8)
    ]
    descriptors += [
        Zero(_target(operation, n + 3), _zero_length(operation, n)) for n in range(operation.zeros)
    ]
    entry = Entry(
        descriptors=descriptors,
        sequence_number=log.sequence_number % (1 << 64),
        tail=log.position if operation.tail == 255 else operation.tail % (SECTORS + 2) * SECTOR,
        log_guid=_GUIDS[operation.kind & 1],
        last_file_offset=_FAR[operation.datas % len(_FAR)]
        if operation.extra & 4
        else operation.extra * 300 * KIB,
        padding=bytes(SECTOR) if operation.kind & 2 else b"",
    )
    if 64 + 32 * len(descriptors) + SECTOR * (operation.datas % 8 + 2) <= log.length:
        log.place(entry)
        log.sequence_number %= 1 << 64


def _target(operation: Operation, index: int) -> int:
    places: tuple[int, ...] = _TARGETS
    if operation.extra & 1:
        places += (*_BAD_TARGETS, *_FAR)
    return places[(operation.target + index) % len(places)]


def _zero_length(operation: Operation, index: int) -> int:
    if operation.extra & 2:
        return (0, MIB, 3 * SECTOR, 1 << 63, 100, 1 << 46)[(index + operation.tail) % 6]
    return SECTOR


def _overwrite(contents: bytearray, patch: Operation) -> None:
    """Two bytes of a sector, near its start or its end; the checksum of an entry fits again, or not."""
    at = patch.place % SECTORS * SECTOR
    inner = patch.tail if patch.number & 1 else SECTOR - 1 - patch.tail
    contents[at + inner] = patch.datas
    if patch.number & 2:
        contents[at + patch.zeros] = patch.target
    if patch.number & 4 and patch.extra < SECTORS:
        start = patch.extra * SECTOR
        length = LOG_ENTRY.number(bytes(contents[start : start + LOG_ENTRY.size]), "entry_length")
        linear = bytes(contents[start:] + contents[:start])[: max(SECTOR, min(length, len(contents)))]
        contents[start : start + 8] = seal(linear)[:8]
