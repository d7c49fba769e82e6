"""Extents: one exact table, and that each range tells the same as the whole."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, MIB, PARTIALLY_PRESENT, UNDEFINED, UNMAPPED, ZERO
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.reading import assert_cover, in_memory, scattered
from tests.support.vhd import FIXED, VhdBuilder
from vhdx import BlockState, Extent, ExtentKind
from vhdx.disk.base import VirtualDisk
from vhdx.disk.open import open_any
from vhdx.disk.slice import SliceDisk

DATA, ZEROS, NOTHING = ExtentKind.DATA, ExtentKind.ZERO, ExtentKind.UNALLOCATED


@pytest.fixture(name="pair", scope="module")
def _pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A child of 10 MiB over a parent of 8 MiB; both begin their blocks at 4 MiB of their files."""
    folder = tmp_path_factory.mktemp("pair")
    parent = ImageBuilder(8 * MIB, 2 * MIB, gap=0)
    parent.blocks = {0: Block(state=ZERO), 1: Block(pattern(1, 2 * MIB)), 3: Block(pattern(3, 2 * MIB))}
    parent.write(folder / "parent.vhdx")
    child = parent.child()
    child.disk_size, child.block_size = 10 * MIB, MIB
    child.blocks = {
        2: Block(pattern(2, MIB, 1), PARTIALLY_PRESENT, present=range(1, 3)),
        3: Block(pattern(3, MIB, 1)),
        4: Block(pattern(4, MIB, 1)),
        5: Block(state=UNMAPPED, anchored=True),
        6: Block(state=UNDEFINED),
        9: Block(state=ZERO, file_offset=77 * MIB),
    }
    return child.write(folder / "child.vhdx")


# the child's file: 4 MiB bitmap, 5 MiB block 2, then 3, 4, 5; the parent's: 4 MiB block 1, 6 MiB block 3
PAIR = [
    Extent(0, 2 * MIB, ZEROS, BlockState.ZERO, 2, None),
    Extent(2 * MIB, 512, DATA, BlockState.FULLY_PRESENT, 2, 4 * MIB),
    Extent(2 * MIB + 512, 1024, DATA, BlockState.PARTIALLY_PRESENT, 1, 5 * MIB + 512),
    Extent(2 * MIB + 1536, MIB - 1536, DATA, BlockState.FULLY_PRESENT, 2, 4 * MIB + 1536),
    Extent(3 * MIB, 2 * MIB, DATA, BlockState.FULLY_PRESENT, 1, 6 * MIB),
    Extent(5 * MIB, MIB, ZEROS, BlockState.UNMAPPED, 1, 8 * MIB),
    Extent(6 * MIB, MIB, ZEROS, BlockState.UNDEFINED, 1, None),
    Extent(7 * MIB, MIB, DATA, BlockState.FULLY_PRESENT, 2, 7 * MIB),
    Extent(8 * MIB, MIB, NOTHING, BlockState.NOT_PRESENT, 0, None),
    Extent(9 * MIB, MIB, ZEROS, BlockState.ZERO, 1, None),
]


def test_the_extents_of_a_known_chain(pair: Path) -> None:
    with vhdx.open(pair) as disk:
        assert list(disk.extents()) == PAIR


def _of_a_vhd(folder: Path) -> VirtualDisk:
    return open_any(str(VhdBuilder(MIB, FIXED).write(folder / "disk.vhd")))


def _of_a_raw_file(folder: Path) -> VirtualDisk:
    path = folder / "disk.raw"
    path.write_bytes(bytes(MIB))
    return open_any(str(path))


def _of_an_image(folder: Path) -> vhdx.Disk:
    return vhdx.open(ImageBuilder(MIB).write(folder / "disk.vhdx"))


def _of_a_slice(folder: Path) -> VirtualDisk:
    return SliceDisk(_of_an_image(folder), 0, MIB)


@pytest.mark.parametrize("make", [_of_a_vhd, _of_a_raw_file, _of_an_image, _of_a_slice])
@pytest.mark.parametrize(("offset", "length"), [(MIB, 1), (-1, 1), (0, MIB + 1), (MIB + 1, None)])
def test_a_range_outside_is_refused_when_it_is_asked_for(
    make: Callable[[Path], VirtualDisk], offset: int, length: int | None, tmp_path: Path
) -> None:
    """Not only when the first answer is taken, which may be elsewhere and much later."""
    disk = make(tmp_path)
    with contextlib.closing(disk):
        for ask in (disk.extents, disk.data_ranges):
            with pytest.raises(ValueError, match="not inside"):
                ask(offset=offset, length=length)


def clipped(extents: list[Extent], start: int, end: int) -> list[Extent]:
    """The parts of extents inside a range, the plain way."""
    parts = []
    for e in extents:
        first, last = max(e.offset, start), min(e.offset + e.length, end)
        if first < last:
            place = None if e.file_offset is None else e.file_offset + first - e.offset
            parts.append(Extent(first, last - first, e.kind, e.state, e.depth, place))
    return parts


def test_the_extents_of_a_range_are_that_part_of_all(pair: Path) -> None:
    with vhdx.open(pair) as disk:
        for length, offset in scattered(disk.size, 4 * MIB, count=300):
            part = list(disk.extents(offset=offset, length=length))
            assert_cover(part, offset, offset + length)
            assert part == clipped(PAIR, offset, offset + length)
        assert list(disk.extents(offset=5 * MIB + 3)) == clipped(PAIR, 5 * MIB + 3, disk.size)


def test_offset_and_length_are_keywords_only(pair: Path) -> None:
    with vhdx.open(pair) as disk, pytest.raises(TypeError):
        disk.extents(0, 512)  # type: ignore[call-arg]


def test_present_blocks_are_one_extent_only_if_they_are_neighbours_in_the_file() -> None:
    image = ImageBuilder(4 * MIB)
    places = {0: 8 * MIB, 1: 9 * MIB, 2: 6 * MIB, 3: 10 * MIB}
    image.blocks = {n: Block(pattern(n, MIB), file_offset=at) for n, at in places.items()}
    with in_memory(image) as disk:
        found = [(e.offset, e.length, e.file_offset) for e in disk.extents()]
        assert found == [
            (0, 2 * MIB, 8 * MIB),
            (2 * MIB, MIB, 6 * MIB),
            (3 * MIB, MIB, 10 * MIB),
        ]


def test_kept_space_outside_the_file_is_not_told() -> None:
    image = ImageBuilder(
        2 * MIB, blocks={0: Block(state=UNMAPPED, file_offset=800 * MIB)}, file_length=5 * MIB
    )
    with in_memory(image) as disk:
        assert next(disk.extents()).file_offset is None


def test_a_broken_entry_does_not_hide_the_extents_before_it() -> None:
    image = ImageBuilder(
        4 * MIB, blocks={1: Block(pattern(1, MIB)), 3: Block(state=FULLY_PRESENT, file_offset=0)}
    )
    with in_memory(image) as disk:
        found = disk.extents()
        assert next(found).length == MIB
        assert next(found) == Extent(MIB, MIB, DATA, BlockState.FULLY_PRESENT, 1, image.plan().blocks[1])
        with pytest.raises(vhdx.CorruptImageError, match="BAT entry 3 at file offset"):
            list(found)
        assert len(list(disk.extents(length=3 * MIB))) == 3
