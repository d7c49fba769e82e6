"""The storage that lies, the survey and the expectation, each against examples that one can see through."""

import random
from typing import Any

import pytest

from tests.support.build import ImageBuilder
from tests.support.expectation import Changed, Expectation, LostError, Settled
from tests.support.layout import FULLY_PRESENT, MIB, ZERO
from tests.support.logs import LogBuilder
from tests.support.lying import Crash, Record, crashes
from tests.support.parts import Block, Header, RegionTable
from tests.support.soundness import Surveyor, UnsoundError
from tests.support.sparse import PAGE, SECTOR, Content, content_of

from .scenarios.scenario import dynamic

A, B, C = (bytes([letter]) * SECTOR for letter in b"abc")


def states(record: Record, samples: int = 50, seed: int = 0) -> list[Crash]:
    return [item for item in crashes(record, random.Random(seed), samples) if isinstance(item, Crash)]


def content(data: bytes) -> Content:
    made = Content()
    made.write(data, 0)
    return made


def read(crash: Crash, name: str = "file") -> bytes:
    found = crash.files[name]
    return found.read(found.size, 0)


def test_without_a_flush_every_subset_may_be_kept() -> None:
    record = Record()
    file = record.storage("file", content(A * 3))
    file.write_at(B, 0)
    file.write_at(B, 2 * SECTOR)
    assert {read(state) for state in states(record)} == {A * 3, B + A + A, A + A + B, B + A + B}


def test_what_was_flushed_is_kept() -> None:
    record = Record()
    file = record.storage("file", content(A))
    file.write_at(B, 0)
    file.flush()
    file.write_at(C, 0)
    found = states(record)
    assert [read(state) for state in found if state.position >= 2] == [C]
    assert {read(state) for state in found} == {A, B, C}


def test_a_write_may_be_torn_at_512_bytes_and_nowhere_else() -> None:
    record = Record()
    record.storage("file", content(A * 3)).write_at(B * 3, 0)
    found = {read(state) for state in states(record)}
    assert found == {one + two + three for one in (A, B) for two in (A, B) for three in (A, B)}


def test_a_sector_carries_what_was_written_to_it_before() -> None:
    record = Record()
    file = record.storage("file", content(A))
    file.write_at(b"1", 0)
    file.write_at(b"2", 1)
    assert {read(state)[:3] for state in states(record)} == {b"aaa", b"1aa", b"12a"}


def test_a_resize_happens_or_not_and_a_write_behind_the_end_makes_the_file_grow() -> None:
    record = Record()
    file = record.storage("file", content(A))
    file.resize(4 * SECTOR)
    file.write_at(B, SECTOR)
    assert {read(state) for state in states(record)} == {
        A,
        A + bytes(3 * SECTOR),
        A + B + bytes(2 * SECTOR),
        A + B,
    }


@pytest.mark.parametrize("clear", ["zero", "punch"])
def test_a_cleared_range_is_cleared_sector_by_sector(clear: str) -> None:
    record = Record()
    file = record.storage("file", content(A * 3))
    getattr(file, clear)(100, SECTOR)
    first, second = A[:100] + bytes(412), bytes(100) + A[100:]
    assert {read(state) for state in states(record)} == {
        one + two + A for one in (A, first) for two in (A, second)
    }


def test_several_files_and_their_names_have_one_order() -> None:
    record = Record()
    old, new = record.storage("old", content(A)), record.storage("new", content(B))
    new.write_at(C, 0)
    new.flush()
    record.rename("new", "old")
    old.write_at(B, 0)
    found = states(record)
    names = {(read(state, "old"), "new" in state.files) for state in found}
    assert names == {(A, True), (C, False), (B, True)}
    record.flush_folder()
    assert {read(state, "old") for state in states(record) if state.position >= 4} == {C}


def test_equal_contents_have_equal_digests() -> None:
    one, other = content(A * 20), Content(20 * SECTOR)
    for at in reversed(range(0, 20 * SECTOR, 100)):
        other.write((A * 20)[at : at + 100], at)
    assert one.digest == other.digest
    other.zero(5, 1)
    assert one.digest != other.digest
    other.write(b"a", 5)
    assert one.digest == other.digest
    other.resize(20 * SECTOR + 1)
    assert one.digest != other.digest


def _shared_space() -> ImageBuilder:
    image = dynamic()
    places = image.plan().blocks
    image.bat = {image.bat_index(7): places[0] | FULLY_PRESENT}
    return image


def _anchored_twice() -> ImageBuilder:
    image = dynamic()
    image.bat = {7: image.plan().blocks[1] | 3}
    return image


UNSOUND: dict[str, Any] = {
    "claimed twice": _shared_space,
    "is claimed twice": _anchored_twice,
    "reserved bits of a BAT": lambda: dynamic(bat={5: 8}),
    "illegal": lambda: dynamic(bat={5: 4}),
    "BAT entry 5 (0x500002): illegal": lambda: dynamic(bat={5: 5 * MIB | ZERO}),
    "passes the end of the file": lambda: dynamic(bat={5: 500 * MIB | FULLY_PRESENT}),
    "no header is valid": lambda: dynamic(headers={1: Header(checksum=0), 2: Header(checksum=0)}),
    "reserved bytes of a header": lambda: dynamic(headers={2: Header(reserved=b"x")}),
    "no region table": lambda: dynamic(
        region_tables={1: RegionTable(checksum=0), 2: RegionTable(checksum=0)}
    ),
    "no active sequence": lambda: dynamic(log_guid=LogBuilder().guid),
    "another kind of disk": lambda: dynamic(bat={5: 9 * MIB | 7}),
}


@pytest.mark.parametrize("said", UNSOUND)
def test_the_survey_sees(said: str) -> None:
    with pytest.raises(UnsoundError) as caught:
        Surveyor().survey(content_of(UNSOUND[said]()))
    assert said in str(caught.value)


def test_the_survey_warns_of_one_damaged_copy() -> None:
    image = dynamic(headers={1: Header(checksum=0)}, region_tables={2: RegionTable(checksum=0)})
    survey = Surveyor().survey(content_of(image))
    assert survey.warnings == {"one header is damaged", "one region table is damaged"}


def test_the_survey_reads_what_the_builder_wrote() -> None:
    image = dynamic()
    image.blocks[7] = Block(b"seven" * 100)
    survey = Surveyor().survey(content_of(image))
    assert survey.read(image.disk_size, 0) == image.content()


def test_a_sector_may_hold_what_was_flushed_or_anything_later_and_nothing_else() -> None:
    expectation = Expectation(PAGE, {0: A}, [0])

    def holds(sector: bytes) -> bool:
        try:
            expectation.check(lambda length, offset: sector.ljust(length, b"\0"))
        except LostError:
            return False
        return True

    assert [holds(one) for one in (A, B, C)] == [True, False, False]
    expectation.follow(Changed({0: B}))
    expectation.follow(Changed({0: C}))
    assert all(holds(one) for one in (A, B, C))
    assert not holds(A[:256] + B[256:])
    expectation.follow(Settled())
    assert [holds(one) for one in (A, B, C)] == [False, False, True]
