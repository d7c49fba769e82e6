"""Space that a session leaves alone: what may be lost blocks, looked for only where space is wanted."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.sparse import Content, ContentStorage
from tests.support.unreadable import UnreadableHost
from vhdx.image.unowned import Look
from vhdx.ops.resize import resize
from vhdx.storage.base import ReadableStorage
from vhdx.write.kept_space import KeptSpace

CLAIMED, ZEROS, FILLED = range(3)
FILES = st.lists(st.sampled_from([CLAIMED, ZEROS, ZEROS, FILLED]), min_size=1, max_size=24)


def storage_of(file: list[int]) -> tuple[ReadableStorage, list[int]]:
    """A file of so many MiB, some of which hold anything, and the MiB that are read of it."""
    content, read = Content(), list[int]()
    content.resize(len(file) * MIB)
    for mib, what in enumerate(file):
        if what == FILLED:
            content.write(b"x", mib * MIB + MIB - 1)

    class Watched(ContentStorage):
        def read_into(self, buffer: memoryview, file_offset: int) -> None:
            read.append(file_offset // MIB)
            super().read_into(buffer, file_offset)

        def data_ranges(self, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
            yield file_offset, length  # no holes: zeros have to be read

    return Watched(content), read


def kept_by(file: list[int], block: int) -> set[int]:
    """Slowly: of each run that nobody claims all from what is filled to what is filled, a block around."""
    kept = set[int]()
    run: list[int] = []
    for mib, what in enumerate([*file, CLAIMED]):
        if what != CLAIMED:
            run.append(mib)
            continue
        if filled := [each for each in run if file[each] == FILLED]:
            kept |= {each for each in run if filled[0] - block < each < filled[-1] + block}
        run = []
    return kept


@given(FILES, st.sampled_from([1, 2, 4]), st.lists(st.tuples(st.integers(0, 23), st.integers(1, 24))))
def test_what_is_kept_does_not_depend_on_the_order_of_questions(
    file: list[int], block: int, questions: list[tuple[int, int]]
) -> None:
    storage, read = storage_of(file)
    look = Look(storage, len(file) * MIB)
    kept = KeptSpace(look, bytes(what == CLAIMED for what in file), block * MIB)
    expected = kept_by(file, block)
    for first, count in [*questions, (0, len(file))]:
        found = {mib for at, length in kept.within(first * MIB, count * MIB) for mib in mibs(at, length)}
        asked = set(range(first, first + count))
        assert found & asked == expected & asked
        assert found <= expected
    assert {mib for run in kept.found() for mib in mibs(*run)} == expected
    assert not any(file[mib] == CLAIMED for mib in read)
    assert all(read.count(mib) <= 2 for mib in read)  # its beginning, then the rest of it


def mibs(file_offset: int, length: int) -> range:
    return range(file_offset // MIB, (file_offset + length) // MIB)


def test_only_the_borders_of_what_is_lost_are_read() -> None:
    file = [CLAIMED] + [ZEROS] * 3 + [FILLED] * 500 + [ZEROS] * 3 + [CLAIMED]
    storage, read = storage_of(file)
    kept = KeptSpace(Look(storage, len(file) * MIB), bytes(what == CLAIMED for what in file), MIB)
    assert not [*kept.within(MIB, 2 * MIB)]
    assert set(read) <= {1, 2}
    assert [*kept.within(0, len(file) * MIB)] == [(4 * MIB, 500 * MIB)]
    assert set(read) == {1, 2, 3, 4, 503, 504, 505, 506}


@pytest.mark.parametrize("rest", [0, 512])
def test_less_than_a_mib_at_the_end_is_free(rest: int) -> None:
    content = Content()
    content.write(b"x" * 512, 2 * MIB)
    content.resize(2 * MIB + (rest or MIB))
    look = Look(ContentStorage(content), 2 * MIB + (rest or MIB))
    alone = KeptSpace(look, b"\1\1\0", MIB)
    assert [*alone.within(0, 3 * MIB)] == ([] if rest else [(2 * MIB, MIB)])
    behind = KeptSpace(look, b"\1\0\0", MIB)
    assert not [*behind.within(MIB, MIB)]
    assert [*behind.within(0, 3 * MIB)] == [(2 * MIB, MIB)]


def an_image(gap: int) -> ImageBuilder:
    blocks = {number: Block(bytes([number + 1]) * 4096) for number in range(4)}
    return ImageBuilder(400 * MIB, MIB, blocks=blocks, gap=gap * MIB)


def test_a_block_costs_no_look_at_what_it_does_not_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """300 MiB of zeros that are no holes are free: a session that takes two of them reads two."""
    builder = an_image(300)
    path = builder.write(tmp_path / "image.vhdx")
    gap = min(builder.plan().blocks.values()) - 300 * MIB
    with path.open("r+b") as file:
        file.seek(gap)
        for _ in range(300):
            file.write(bytes(MIB))
    host = UnreadableHost(monkeypatch, path, [])
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(b"new", 100 * MIB)
        disk.pwrite(b"new", 101 * MIB)
    read = {offset // MIB for offset, *_ in host.reads if gap <= offset < gap + 300 * MIB}
    assert read == {gap // MIB, gap // MIB + 1}
    assert vhdx.check(path).is_clean


def test_looks_are_told_to_who_watches_a_change_of_size(tmp_path: Path) -> None:
    builder = an_image(300)
    builder.tail = b"".join(bytes(MIB) for _ in range(40))
    path = builder.write(tmp_path / "image.vhdx")
    path.write_bytes(path.read_bytes())
    told: list[tuple[int, int | None]] = []
    resize(path, "300M", progress=lambda done, more: told.append((done, more)))
    assert told[-1][0] == told[-1][1]
    assert told[-1][0] >= 40 * MIB
