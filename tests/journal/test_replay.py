"""Promises 3, 4 and 18 on whole images: what a dirty image reads as, and when it is refused."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, SECTOR, TIB
from tests.support.logs import Data, Entry, LogBuilder, Zero, difference, session_guid
from tests.support.naive import naive_active_sequence, naive_replayed
from tests.support.parts import Block, Header
from tests.support.patterns import pattern
from tests.support.reading import in_memory, whole


def images() -> tuple[ImageBuilder, ImageBuilder]:
    """The same file before and after two blocks came into the table, with an empty log."""
    blocks = {n: Block(pattern(n, MIB)) for n in (0, 3, 7)}
    after = ImageBuilder(8 * MIB, blocks=blocks)
    return ImageBuilder(8 * MIB, blocks=blocks, bat={3: 0, 7: 0}), after


def dirty(**log: Any) -> tuple[ImageBuilder, LogBuilder, ImageBuilder]:
    before, after = images()
    before.log = LogBuilder(**log)
    return before, before.log, after


def logged(log: LogBuilder, before: ImageBuilder, after: ImageBuilder, tail: int | None = None) -> None:
    log.add(*difference(before.build(), after.build(), 2 * MIB), tail=tail)


def test_promise_3_a_dirty_image_is_read_as_it_is_after_replay() -> None:
    before, log, after = dirty(position=100 * SECTOR, sequence_number=7)
    plain = images()[0]
    logged(log, plain, after)
    with in_memory(before) as disk:
        assert whole(disk) == after.content()
        assert disk.pread(MIB, 3 * MIB) == pattern(3, MIB)
    with in_memory(plain) as disk:
        assert disk.pread(MIB, 3 * MIB) == bytes(MIB)


def test_promise_3_a_log_without_a_guid_is_not_replayed() -> None:
    before, log, after = dirty()
    logged(log, images()[0], after)
    before.log_guid = UUID(int=0)
    with in_memory(before) as disk:
        assert disk.pread(MIB, 3 * MIB) == bytes(MIB)


@pytest.mark.parametrize("what", ["no entry", "another session", "torn", "head without its tail"])
def test_promise_3_a_log_guid_without_a_valid_sequence_is_corruption(what: str) -> None:
    before, log, after = dirty()
    before.log_guid = session_guid(1)
    if what == "another session":
        log.guid = session_guid(2)
    if what != "no entry":
        logged(log, images()[0], after, tail=99 * SECTOR if what == "head without its tail" else None)
    if what == "torn":
        log.put(SECTOR + 512, b"\xff" * 512)
    with pytest.raises(vhdx.CorruptImageError, match="no complete sequence") as caught:
        in_memory(before)
    assert (caught.value.structure, caught.value.file_offset) == ("log", MIB)


@pytest.mark.parametrize(
    ("version", "clean", "opens"), [(1, True, True), (1, False, False), (65535, False, False)]
)
def test_promise_3_an_unknown_version_matters_only_of_a_log_that_is_not_empty(
    version: int, clean: bool, opens: bool
) -> None:
    before, log, after = dirty()
    logged(log, images()[0], after)
    before.headers = {2: Header(log_version=version)}
    before.log_guid = UUID(int=0) if clean else None
    if opens:
        in_memory(before).close()
        return
    with pytest.raises(vhdx.UnsupportedImageError, match=f"version {version}"):
        in_memory(before)


def test_promise_4_entries_before_the_heads_tail_are_not_replayed() -> None:
    before, log, after = dirty()
    payload = after.plan().blocks[0]
    log.add(*(Data(payload + n * SECTOR, b"what stood here before" * 186 + b"1234") for n in range(9)))
    logged(log, images()[0], after)
    with in_memory(before) as disk:
        assert whole(disk) == after.content()


def test_promise_4_entries_are_replayed_in_order_and_the_last_one_wins() -> None:
    before, log, after = dirty()
    place = after.plan().bat_offset
    garbage = Data(place, (2**64 - 1).to_bytes(8, "little") * 512)
    tail = log.add(garbage, Zero(place, SECTOR), garbage)
    log.add(Zero(after.plan().bat_offset, MIB), tail=tail)
    log.add(*difference(bytes(len(after.build())), after.build(), place, place + SECTOR), tail=tail)
    with in_memory(before) as disk:
        assert whole(disk) == after.content()


@pytest.mark.parametrize("newest", ["zeros", "data"])
def test_promise_4_zeros_and_data_of_one_place_follow_their_order(newest: str) -> None:
    before, log, after = dirty()
    block = after.plan().blocks[0]
    items: list[Data | Zero] = [Data(block + SECTOR, b"\xee" * SECTOR), Zero(block, 3 * SECTOR)]
    log.add(*(items if newest == "zeros" else items[::-1]))
    middle = bytes(SECTOR) if newest == "zeros" else b"\xee" * SECTOR
    with in_memory(before) as disk:
        assert (
            disk.pread(5 * SECTOR, 0)
            == bytes(SECTOR) + middle + bytes(SECTOR) + pattern(0, MIB)[3 * SECTOR : 5 * SECTOR]
        )


def applied(path: Path) -> None:
    """Put the active sequence into effect in the file itself, the naive way; the log stays as it is."""
    data = bytearray(path.read_bytes())
    found = naive_active_sequence(bytes(data[MIB : 2 * MIB]), session_guid(1), MIB)
    assert found is not None
    for entry in naive_replayed(found):
        for target, length, sector in entry.writes:
            data[len(data) :] = bytes(max(0, target + length - len(data)))
            data[target : target + length] = bytes(length) if sector is None else sector
    path.write_bytes(data)


CHANGES = st.lists(
    st.lists(
        st.one_of(
            st.builds(
                lambda at, fill: Data(at * SECTOR, bytes([fill]) * SECTOR),
                st.integers(1024, 1050),
                st.integers(1, 255),
            ),
            st.builds(
                lambda at, n: Zero(at * SECTOR, n * SECTOR), st.integers(1024, 1050), st.integers(0, 9)
            ),
        ),
        max_size=6,
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60)
@given(CHANGES, st.integers(0, 4), st.integers(0, 255))
def test_promise_4_replaying_twice_equals_once(
    tmp_path_factory: pytest.TempPathFactory, entries: list[list[Data | Zero]], tail: int, start: int
) -> None:
    # one block of 1 MiB, 1024 sectors from the start of the file
    image = ImageBuilder(MIB, blocks={0: Block(pattern(0, MIB))}, log=LogBuilder(position=start * SECTOR))
    assert image.plan().blocks[0] == 1024 * SECTOR
    assert isinstance(image.log, LogBuilder)
    places: list[int] = []
    for items in entries:
        places.append(image.log.position)
        image.log.add(*items, tail=places[min(tail, len(places) - 1)])
    path = image.write(tmp_path_factory.mktemp("twice") / "image.vhdx")
    contents = []
    for _ in range(3):
        with vhdx.open(path) as disk:
            contents.append(whole(disk))
        applied(path)
    assert contents[0] == contents[1] == contents[2]
    assert contents[0] == path.read_bytes()[4 * MIB : 5 * MIB]


def test_promise_3_a_file_shorter_than_the_heads_flushed_offset_was_cut() -> None:
    before, log, after = dirty(flushed_file_offset=8 * MIB)
    logged(log, images()[0], after)
    assert before.length() == 7 * MIB
    with pytest.raises(vhdx.CorruptImageError, match="the file was cut: it has 7340032 bytes"):
        in_memory(before)
    before.file_length = 8 * MIB
    in_memory(before).close()


def test_of_the_flushed_offsets_only_that_of_the_head_counts() -> None:
    before, log, after = dirty(flushed_file_offset=100 * MIB)
    first = log.add()
    log.flushed_file_offset = 7 * MIB
    logged(log, images()[0], after, tail=first)
    with in_memory(before) as disk:
        assert whole(disk) == after.content()


def growing(last_file_offset: int) -> ImageBuilder:
    """The last block of this disk lies wholly behind the file's end, at 6 to 7 MiB."""
    before, log, after = dirty(last_file_offset=last_file_offset)
    logged(log, images()[0], after)
    before.file_length = 6 * MIB
    return before


def test_the_file_is_read_as_long_as_the_head_says() -> None:
    with in_memory(growing(7 * MIB)) as disk:
        assert disk.pread(MIB, 7 * MIB) == bytes(MIB)
        assert disk.pread(MIB, 3 * MIB) == pattern(3, MIB)
    with in_memory(growing(6 * MIB)) as disk, pytest.raises(vhdx.CorruptImageError, match="behind the end"):
        disk.pread(MIB, 7 * MIB)


def test_a_last_file_offset_that_is_no_mebibyte_is_rounded_up() -> None:
    # QEMU logs the length of the file as it is; format reference 6.6
    with in_memory(growing(6 * MIB + 512)) as disk:
        assert disk.pread(MIB, 7 * MIB) == bytes(MIB)


def test_a_logged_sector_behind_the_end_makes_the_file_longer() -> None:
    before, log, after = dirty()
    logged(log, images()[0], after)
    log.add(Data(7 * MIB - SECTOR, b"\x77" * SECTOR), tail=0)
    before.file_length = 6 * MIB + 100
    with in_memory(before) as disk:
        assert disk.pread(MIB, 7 * MIB) == pattern(7, 100).ljust(MIB - SECTOR, b"\0") + b"\x77" * SECTOR


@pytest.mark.parametrize("last", [256 * TIB + MIB, 2**63, 2**64 - MIB])
def test_promise_18_a_log_does_not_make_the_file_grow_past_256_tib(last: int) -> None:
    with pytest.raises(vhdx.CorruptImageError, match="256 TiB"):
        in_memory(growing(last))


BEYOND: list[Data | Zero] = [
    Zero(256 * TIB, SECTOR),
    Zero(2**63, SECTOR),
    Zero(8 * MIB, 256 * TIB),
    Data(256 * TIB, b"x" * SECTOR),
]


@pytest.mark.parametrize("change", BEYOND, ids=lambda item: f"{type(item).__name__} at {item.file_offset:#x}")
def test_promise_18_a_valid_head_that_reaches_past_256_tib_is_refused_and_not_passed_over(
    change: Data | Zero,
) -> None:
    # The entry keeps every rule of the format; to pass it over would be to read an older state in silence.
    before, log, after = dirty()
    first = log.add()
    log.add(*difference(images()[0].build(), after.build(), 2 * MIB), change, tail=first)
    with pytest.raises(vhdx.VhdxError, match="256 TiB"):
        in_memory(before)


@pytest.mark.parametrize("target", [0, 64 * 1024, 128 * 1024, 188 * 1024, MIB, 2 * MIB - SECTOR])
def test_promise_18_a_log_over_identifier_headers_or_itself_is_refused(target: int) -> None:
    before, log, _ = dirty()
    log.add(Data(target, b"\xff" * SECTOR))
    with pytest.raises(vhdx.CorruptImageError, match="no complete sequence"):
        in_memory(before)


def test_the_log_may_change_region_tables_and_metadata() -> None:
    after = ImageBuilder(
        12 * MIB, blocks={0: Block(pattern(0, MIB)), 11: Block(pattern(11, MIB))}, gap=4 * MIB
    )
    before = ImageBuilder(
        8 * MIB, log=LogBuilder(), file_length=after.length(), placement=("log", "metadata", "bat")
    )
    after.placement = ("log", "bat", "metadata")
    before.blocks = {0: Block(pattern(0, MIB), file_offset=after.plan().blocks[0])}
    before.patches = [(after.plan().blocks[11], pattern(11, MIB))]
    assert isinstance(before.log, LogBuilder)
    plain = ImageBuilder(8 * MIB, file_length=after.length(), blocks=before.blocks, patches=before.patches)
    before.log.add(
        *difference(plain.build(), after.build(), 192 * 1024, MIB),
        *difference(plain.build(), after.build(), 2 * MIB),
    )
    with in_memory(before) as disk:
        assert disk.size == 12 * MIB
        assert whole(disk) == after.content()


def test_an_entry_of_the_head_is_complete_or_it_is_not_the_head() -> None:
    before, log, after = dirty()
    logged(log, images()[0], after)
    broken = Entry((Zero(after.plan().bat_offset, SECTOR),), log.sequence_number, 0, log.guid, checksum=1)
    log.place(broken)
    with in_memory(before) as disk:
        assert whole(disk) == after.content()
