"""Images that are not written to: refused with a reason, and not one byte of them is changed."""

from collections.abc import Callable
from pathlib import Path

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.damage import overwrite
from tests.support.layout import GIB, MIB, PARTIALLY_PRESENT, UNMAPPED
from tests.support.logs import Data, LogBuilder
from tests.support.parts import Block, Header
from tests.support.patterns import pattern
from tests.support.reading import footprint
from vhdx.ops.repair import repair

SIZE = 8 * MIB


def image() -> ImageBuilder:
    return ImageBuilder(disk_size=SIZE, blocks={n: Block(pattern(n, MIB)) for n in (1, 3)})


def at(file_offset: int, *, block: int = 3, built: ImageBuilder | None = None) -> ImageBuilder:
    """An image one block of which is somewhere else than it should be."""
    built = built or image()
    length = built.length()
    built.blocks[block] = Block(file_offset=file_offset)
    built.file_length = length
    return built


def shared_by_two() -> ImageBuilder:
    return at(image().plan().blocks[1])


def half_over_another() -> ImageBuilder:
    built = ImageBuilder(disk_size=SIZE, block_size=2 * MIB)
    built.blocks = {0: Block(pattern(0, 2 * MIB)), 1: Block(pattern(1, 2 * MIB))}
    return at(built.plan().blocks[0] + MIB, block=1, built=built)


def in_the_log() -> ImageBuilder:
    return at(image().plan().log_offset)


def in_the_table() -> ImageBuilder:
    return at(image().plan().bat_offset)


def in_the_header_section() -> ImageBuilder:
    return at(0)


def behind_the_end() -> ImageBuilder:
    return at(image().length())


def far_behind_the_end() -> ImageBuilder:
    return at(GIB)


def cut_in_a_block_that_is_not_the_last() -> ImageBuilder:
    """Block 3 of 8: only the last block of a disk may be short in the file."""
    built = image()
    built.file_length = built.plan().blocks[3] + MIB // 2
    return built


def cut_in_the_last_block_before_the_end_of_the_disk() -> ImageBuilder:
    built = ImageBuilder(disk_size=SIZE - MIB // 4, blocks={7: Block(pattern(7, MIB))})
    built.file_length = built.plan().blocks[7] + MIB // 2
    return built


def shared_in_a_large_table() -> ImageBuilder:
    """More entries than the tables that are looked at whole when they are read."""
    built = ImageBuilder(disk_size=200 * GIB, blocks={n: Block(pattern(n, 4096)) for n in (1, 150_000)})
    return at(built.plan().blocks[1], block=150_000, built=built)


def behind_the_end_in_a_large_table() -> ImageBuilder:
    built = ImageBuilder(disk_size=200 * GIB, blocks={n: Block(pattern(n, 4096)) for n in (1, 150_000)})
    return at(built.length(), block=150_000, built=built)


CONTRADICTIONS: list[Callable[[], ImageBuilder]] = [
    shared_by_two,
    half_over_another,
    in_the_log,
    in_the_table,
    in_the_header_section,
    behind_the_end,
    far_behind_the_end,
    cut_in_a_block_that_is_not_the_last,
    cut_in_the_last_block_before_the_end_of_the_disk,
    shared_in_a_large_table,
    behind_the_end_in_a_large_table,
]
CHANGES: dict[str, Callable[[vhdx.Disk], object]] = {
    "write to an absent block": lambda disk: disk.pwrite(b"x" * 512, 5 * MIB),
    "write to a sound block": lambda disk: disk.pwrite(b"x" * 512, MIB + 512),
    "zero a block": lambda disk: disk.zero(length=2 * MIB, offset=4 * MIB),
    "trim what is there": lambda disk: disk.trim(length=disk.size, offset=0),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("make", CONTRADICTIONS)
def test_an_image_that_contradicts_itself_is_not_modified(
    make: Callable[[], ImageBuilder], name: str, tmp_path: Path
) -> None:
    path = make().write(tmp_path / "a.vhdx")
    before = footprint(tmp_path)
    with vhdx.open(path, "r+") as disk:
        for _ in range(2):
            with pytest.raises(vhdx.CorruptImageError) as caught:
                CHANGES[name](disk)
            assert "BAT" in str(caught.value)
            assert str(path) in str(caught.value)
        disk.flush()
    assert footprint(tmp_path) == before


def test_where_a_large_table_contradicts_itself_is_said(tmp_path: Path) -> None:
    """Which of many entries it is is not looked for: the place is that where these begin in the table."""
    built = behind_the_end_in_a_large_table()
    slot = built.bat_index(131_072)
    with vhdx.open(built.write(tmp_path / "a.vhdx"), "r+") as disk:
        with pytest.raises(vhdx.CorruptImageError, match=f"from entry {slot} on") as caught:
            disk.pwrite(b"x", 0)
        assert caught.value.file_offset == built.plan().bat_offset + slot * 8


def test_a_dirty_image_that_contradicts_itself_after_replay_is_not_modified(tmp_path: Path) -> None:
    """What counts is the table as it will be: the file itself may look sound."""
    built, bad = image(), shared_by_two()
    table = built.plan().bat_offset
    log = LogBuilder(flushed_file_offset=built.length(), last_file_offset=built.length())
    log.add()
    log.add(Data(table, bad.build()[table : table + 4096]))
    built.log = log
    path = built.write(tmp_path / "a.vhdx")
    before = footprint(tmp_path)
    with vhdx.open(path, "r+") as disk, pytest.raises(vhdx.CorruptImageError):
        disk.pwrite(b"x", 5 * MIB)
    assert footprint(tmp_path) == before
    assert not repair(path).done
    assert footprint(tmp_path) == before


def test_what_may_overlap_because_it_is_never_read(tmp_path: Path) -> None:
    """Space that absent blocks keep is never given to another block, and is nobody's reason to refuse."""
    built = image()
    built.blocks[5] = Block(state=UNMAPPED, file_offset=built.plan().blocks[1])
    path = built.write(tmp_path / "a.vhdx")
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(5, 5000), 5 * MIB)
        disk.flush()
        assert disk.pread(MIB, MIB) == pattern(1, MIB)
        assert disk.pread(5000, 5 * MIB) == pattern(5, 5000)


@pytest.mark.parametrize("state", [0, 3])
def test_a_lost_sector_bitmap_is_not_made_anew(state: int, tmp_path: Path) -> None:
    """An empty one would say of the blocks that need the lost one that all they hold is the parent's."""
    parent = image()
    parent.write(tmp_path / "parent.vhdx")
    child = parent.child()
    child.blocks = {1: Block(pattern(7, MIB), PARTIALLY_PRESENT, present=b"\xff" * 256)}
    path = child.write(tmp_path / "child.vhdx")
    slot = child.plan().bat_offset + child.bitmap_index(0) * 8
    overwrite(path, slot, (child.plan().bitmaps[0] | state).to_bytes(8, "little"))
    with vhdx.open(path, "r+") as disk, pytest.raises(vhdx.CorruptImageError, match="no sector bitmap"):
        disk.pwrite(b"x" * 512, 5 * MIB)
    with vhdx.open(path) as disk, pytest.raises(vhdx.CorruptImageError, match="no sector bitmap"):
        disk.pread(MIB, MIB)


def test_an_image_without_a_log(tmp_path: Path) -> None:
    headers = {copy: Header(log_length=0, log_offset=0) for copy in (1, 2)}
    path = ImageBuilder(headers=headers, blocks={1: Block(pattern(1, MIB))}).write(tmp_path / "a.vhdx")
    before = footprint(tmp_path)
    with pytest.raises(vhdx.UnsupportedImageError, match="no log"):
        vhdx.open(path, "r+")
    assert footprint(tmp_path) == before
    with vhdx.open(path) as disk:
        assert disk.pread(MIB, MIB) == pattern(1, MIB)


def test_a_header_whose_number_cannot_grow(tmp_path: Path) -> None:
    path = ImageBuilder(sequence_numbers=(2**64 - 2, 2**64 - 1)).write(tmp_path / "a.vhdx")
    before = footprint(tmp_path)
    with pytest.raises(vhdx.UnsupportedImageError, match="sequence number"):
        vhdx.open(path, "r+")
    assert footprint(tmp_path) == before


def test_a_failed_opening_leaves_no_lock(tmp_path: Path) -> None:
    path = ImageBuilder(sequence_numbers=(2**64 - 2, 2**64 - 1)).write(tmp_path / "a.vhdx")
    for _ in range(3):
        with pytest.raises(vhdx.UnsupportedImageError):
            vhdx.open(path, "r+")
    with vhdx.open(path) as disk:
        assert disk.size
