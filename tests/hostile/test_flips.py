"""Promise 17: every byte of every field flipped, and many reserved ones, with old checksums and resealed."""

import pytest

from tests.hostile.images import clean, dirty, family
from tests.support import layout
from tests.support.judge import Answer, Change, Victim, judge
from tests.support.layout import HEADER_OFFSETS, KIB, REGION_TABLE_OFFSETS, SECTOR, TABLE_SIZE
from tests.support.structures import LOCATOR, METADATA_TABLE, bat_entry, item, locate

ONE_BIT = [1 << bit for bit in range(8)]
FIELDS_OF_A_HEADER = 80
RESERVED_STEP = 7
"""Of reserved bytes every so manieth: all are treated alike, and a header has thousands."""
USED_OF_A_REGION_TABLE = layout.REGION_TABLE.size + 2 * layout.REGION_ENTRY.size
ITEMS = {
    "file_parameters": 8,
    "virtual_disk_size": 8,
    "virtual_disk_id": 16,
    "logical_sector_size": 4,
    "physical_sector_size": 4,
}


@pytest.fixture(name="victim", scope="module")
def _victim(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    victim = Victim(clean().write(tmp_path_factory.mktemp("clean") / "image.vhdx"))
    assert judge(victim.path) is Answer.READ
    return victim


@pytest.fixture(name="dirty_victim", scope="module")
def _dirty_victim(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    victim = Victim(dirty().write(tmp_path_factory.mktemp("dirty") / "image.vhdx"))
    assert judge(victim.path) is Answer.READ
    return victim


@pytest.fixture(name="child", scope="module")
def _child(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    path, parent = family(tmp_path_factory.mktemp("family"))
    victim = Victim(path, [parent])
    assert judge(path, [parent]) is Answer.READ
    return victim


def only(answers: dict[Answer, list[str]], answer: Answer) -> bool:
    """Whether all changes got this answer."""
    return not any(names for other, names in answers.items() if other is not answer)


def test_the_identifier(victim: Victim) -> None:
    assert only(victim.judged(victim.flips(range(8))), Answer.REFUSED)
    assert only(victim.judged(victim.flips([*range(8, 520), *range(520, 64 * KIB, 997)])), Answer.READ)


@pytest.mark.parametrize("copy", [1, 2])
def test_a_header_without_its_checksum_leaves_the_other(victim: Victim, copy: int) -> None:
    start = HEADER_OFFSETS[copy]
    fields, reserved = (
        range(start, start + FIELDS_OF_A_HEADER),
        range(start + FIELDS_OF_A_HEADER, start + SECTOR),
    )
    assert only(victim.judged(victim.flips([*fields, *reserved[::RESERVED_STEP]])), Answer.READ)
    assert only(victim.judged(victim.flips(range(start + SECTOR, start + 64 * KIB, 997))), Answer.READ)


@pytest.mark.parametrize("copy", [1, 2])
def test_a_resealed_header(victim: Victim, copy: int) -> None:
    start = HEADER_OFFSETS[copy]
    sealed = range(start, start + SECTOR)
    for mask in (0xFF, *ONE_BIT):
        victim.judged(victim.flips([*sealed[:4], *sealed[8:FIELDS_OF_A_HEADER]], mask, sealed))
    reserved = sealed[FIELDS_OF_A_HEADER::RESERVED_STEP]
    assert only(victim.judged(victim.flips(reserved, sealed=sealed)), Answer.READ)


@pytest.mark.parametrize("field", ["version", "log_length", "log_offset"])
def test_a_field_of_the_current_header_that_matters_is_refused(victim: Victim, field: str) -> None:
    sealed = range(HEADER_OFFSETS[2], HEADER_OFFSETS[2] + SECTOR)
    where = layout.HEADER.field(field)
    for mask in (0xFF, 1):
        flips = victim.flips(sealed[where.offset : where.offset + where.size], mask, sealed)
        assert only(victim.judged(flips), Answer.REFUSED)


def table_offsets(start: int, used: int) -> list[int]:
    return [*range(start, start + used), *range(start + used, start + TABLE_SIZE, 61)]


@pytest.mark.parametrize("copy", [1, 2])
def test_a_region_table_without_its_checksum_leaves_the_other(victim: Victim, copy: int) -> None:
    offsets = table_offsets(REGION_TABLE_OFFSETS[copy], USED_OF_A_REGION_TABLE)
    assert only(victim.judged(victim.flips(offsets)), Answer.READ)


def test_a_resealed_region_table(victim: Victim) -> None:
    start = REGION_TABLE_OFFSETS[1]
    sealed = range(start, start + TABLE_SIZE)
    used = [*sealed[:4], *sealed[8:USED_OF_A_REGION_TABLE]]
    for mask in (0xFF, *ONE_BIT):
        victim.judged(victim.flips(used, mask, sealed))
    assert only(victim.judged(victim.flips(sealed[USED_OF_A_REGION_TABLE::61], sealed=sealed)), Answer.READ)


def test_a_resealed_second_region_table_is_not_even_looked_at(victim: Victim) -> None:
    start = REGION_TABLE_OFFSETS[2]
    sealed = range(start, start + TABLE_SIZE)
    flips = victim.flips(sealed[8:USED_OF_A_REGION_TABLE], sealed=sealed)
    assert only(victim.judged(flips), Answer.READ)


@pytest.mark.parametrize("mask", [0xFF, *ONE_BIT])
def test_the_metadata_table_and_its_items(victim: Victim, mask: int) -> None:
    table = locate(victim.path, METADATA_TABLE)
    used = layout.METADATA_TABLE.size + (len(ITEMS) + 1) * layout.METADATA_ENTRY.size
    answers = victim.judged(victim.flips(range(table, table + used), mask))
    assert answers[Answer.REFUSED]
    for name, length in ITEMS.items():
        start = locate(victim.path, item(name))
        victim.judged(victim.flips(range(start, start + length), mask))


def test_what_lies_between_the_items_is_not_looked_at(victim: Victim) -> None:
    table = locate(victim.path, METADATA_TABLE)
    behind = layout.METADATA_TABLE.size + len(ITEMS) * layout.METADATA_ENTRY.size
    flips = victim.flips(
        [*range(table + behind, table + 64 * KIB, 61), *range(table + 65 * KIB, table + 90 * KIB, 61)]
    )
    assert only(victim.judged(flips), Answer.READ)


@pytest.mark.parametrize("mask", [0xFF, *ONE_BIT])
def test_bat_entries(victim: Victim, mask: int) -> None:
    start = locate(victim.path, bat_entry(0))
    answers = victim.judged(victim.flips(range(start, start + 32), mask))
    assert not answers[Answer.REFUSED], "a broken entry concerns its block alone"


def test_what_stands_behind_the_last_bat_entry_is_not_looked_at(victim: Victim) -> None:
    start = locate(victim.path, bat_entry(4))
    assert only(victim.judged(victim.flips(range(start, start + SECTOR, RESERVED_STEP))), Answer.READ)


@pytest.mark.parametrize(
    "word", [bytes(8), b"\xff" * 8, b"\6" + bytes(7), b"\6\0\0\xff\xff\xff\xff\x0f", b"\7" * 8]
)
def test_whole_bat_entries(victim: Victim, word: bytes) -> None:
    start = locate(victim.path, bat_entry(0))
    victim.judged(Change(f"entry {n}", [(start + 8 * n, word)]) for n in range(5))


# the log of `dirty`: three entries from sector 3 on, of 2, 2 and 3 sectors; the first is before the tail
ENTRIES = {"before the tail": (3, 2, 1), "tail": (5, 2, 1), "head": (7, 3, 3)}


def entry_range(victim: Victim, name: str) -> range:
    first, sectors, _ = ENTRIES[name]
    start = layout.MIB + first * SECTOR
    assert victim.original[start : start + 4] == b"loge"
    return range(start, start + sectors * SECTOR)


def entry_offsets(victim: Victim, name: str) -> list[int]:
    """Every byte of header, descriptors and the ends of data sectors, and a part of what is between them."""
    entry = entry_range(victim, name)
    used = layout.LOG_ENTRY.size + ENTRIES[name][2] * layout.DATA_DESCRIPTOR.size
    offsets = [*entry[:used], *entry[used:SECTOR:61]]
    for sector in range(SECTOR, len(entry), SECTOR):
        offsets += [*entry[sector : sector + 16], *entry[sector + 16 : sector + SECTOR - 8 : 61]]
        offsets += entry[sector + SECTOR - 8 : sector + SECTOR]
    return offsets


# A torn head ends the sequence before it, a torn tail leaves the entry before it as a sequence of its own.
TORN = {"before the tail": Answer.READ, "tail": Answer.PARTLY, "head": Answer.READ}


@pytest.mark.parametrize("name", ENTRIES)
def test_promise_3_a_log_entry_without_its_checksum(dirty_victim: Victim, name: str) -> None:
    for mask in (0xFF, 1):
        answers = dirty_victim.judged(dirty_victim.flips(entry_offsets(dirty_victim, name), mask))
        assert only(answers, TORN[name])


def beyond_the_twin(entry: range) -> set[int]:
    """Bytes of an entry that are not flipped behind a right checksum.

    The entry's length, without which the checksum cannot be made to fit, and its reserved field, which only
    the naive reader minds.
    """
    return {*entry[8:12], *entry[28:32]}


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("mask", [0xFF, 1, 128])
def test_promise_3_a_resealed_log_entry(dirty_victim: Victim, name: str, mask: int) -> None:
    entry = entry_range(dirty_victim, name)
    beyond = beyond_the_twin(entry)
    offsets = [at for at in entry_offsets(dirty_victim, name) if at not in beyond]
    dirty_victim.judged(dirty_victim.flips(offsets, mask, entry))


def test_a_resealed_header_of_a_dirty_image(dirty_victim: Victim) -> None:
    start = HEADER_OFFSETS[2]
    sealed = range(start, start + SECTOR)
    for mask in (0xFF, *ONE_BIT):
        dirty_victim.judged(dirty_victim.flips(sealed[8:FIELDS_OF_A_HEADER], mask, sealed))


def test_promise_3_what_is_replayed_counts_not_what_stands_in_the_file(dirty_victim: Victim) -> None:
    start = locate(dirty_victim.path, bat_entry(0))
    assert only(dirty_victim.judged(dirty_victim.flips(range(start, start + SECTOR, 7))), Answer.READ)


@pytest.mark.parametrize("mask", [0xFF, 1, 64])
def test_the_parent_locator(child: Victim, mask: int) -> None:
    start = locate(child.path, LOCATOR)
    length = layout.LOCATOR.size + 5 * layout.LOCATOR_ENTRY.size
    answers = child.judged(child.flips(range(start, start + length), mask))
    assert answers[Answer.REFUSED]
    child.judged(child.flips(range(start + length, start + 800, 7), mask))


@pytest.mark.parametrize("mask", [0xFF, *ONE_BIT])
def test_the_table_and_the_bitmap_of_a_child(child: Victim, mask: int) -> None:
    for index, length in ((0, 32), (4096, 8)):
        start = locate(child.path, bat_entry(index))
        child.judged(child.flips(range(start, start + length), mask))
    bitmap = layout.BAT_ENTRY.number(
        child.original[locate(child.path, bat_entry(4096)) :][:8], "file_offset_mb"
    )
    start = bitmap * layout.MIB
    for part in (range(start, start + 16), range(start + 768, start + 770)):
        assert only(child.judged(child.flips(part, mask)), Answer.READ)
