"""Promise 8: what a durable structure points at changes only through the log, headers only in two slots."""

from tests.support.layout import (
    HEADER,
    HEADER_OFFSETS,
    HEADER_SECTION,
    KIB,
    METADATA_ENTRY,
    METADATA_GUID,
    METADATA_TABLE,
    TABLE_SIZE,
)
from tests.support.lying import Operation
from tests.support.soundness import Surveyor
from tests.support.sparse import PAGE

from .scene import Scene, header_of, in_log

SAME = ("log_length", "log_offset", "version")


def watch(scene: Scene, operation: Operation) -> None:
    """The file identifier never, headers by the two-slot protocol, all else as a durable log entry says."""
    if operation.kind == "resize":
        _watch_resize(scene, operation)
        return
    assert operation.start >= 64 * KIB, "the file identifier changes"
    header = header_of(operation)
    if header is not None:
        _watch_header(scene, operation, header)
    elif operation.start < HEADER_SECTION:
        assert scene.is_replay(operation), "the header section changes without the log"
    elif not in_log(scene, operation) and _touches_a_structure(scene, operation):
        free = scene.request.what == "items" and not _touches_an_item(scene, operation)
        assert free or scene.is_replay(operation), "a structure changes without the log"


def _touches_a_structure(scene: Scene, operation: Operation) -> bool:
    return any(start < operation.end and operation.start < end for start, end in scene.survey.structures)


def _touches_an_item(scene: Scene, operation: Operation) -> bool:
    """Whether a range touches a page of the table or of an item that a durable entry names."""
    start, length = scene.survey.regions[METADATA_GUID]
    table = scene.survey.replayed.read(TABLE_SIZE, start)
    owned = [(0, TABLE_SIZE)]
    for index in range(METADATA_TABLE.number(table, "entry_count")):
        row = table[32 + 32 * index : 64 + 32 * index]
        at, size = METADATA_ENTRY.number(row, "offset"), METADATA_ENTRY.number(row, "length")
        owned.append((at // PAGE * PAGE, -(-(at + size) // PAGE) * PAGE))
    inside = start <= operation.start and operation.end <= start + length
    return not inside or any(
        start + first < operation.end and operation.start < start + last for first, last in owned
    )


def _watch_header(scene: Scene, operation: Operation, header: bytes) -> None:
    assert not any(header_of(waiting) for waiting in scene.waiting), "the other header is not yet durable"
    slot = [*HEADER_OFFSETS.values()].index(operation.start)
    assert slot != scene.survey.slot, "the header in force is overwritten"
    before = scene.survey.header
    numbers = [HEADER.number(one, "sequence_number") for one in (before, header)]
    assert numbers[1] == numbers[0] + 1, f"the sequence number goes from {numbers[0]} to {numbers[1]}"
    assert all(HEADER.raw(header, name) == HEADER.raw(before, name) for name in SAME), "the log moves"
    after = scene.durable.copy()
    after.put_page(operation.start // PAGE, header)
    found = Surveyor().survey(after)
    assert found.header == header, "the new header is not the one in force"


def _watch_resize(scene: Scene, operation: Operation) -> None:
    """What is cut off belongs to nobody, and no log asks for it."""
    if operation.end < operation.start:
        lengths = [entry.flushed_file_offset for entry in scene.survey.log.entries]
        assert operation.end >= max(lengths, default=0), "the file is cut shorter than its log says"
        assert not scene.waiting, "the file is cut before what comes before it is durable"
        after = scene.durable.copy()
        after.resize(operation.end)
        Surveyor().survey(after)
