"""Promise 17: BAT entries that lead past the end, into other structures, or into each other."""

from pathlib import Path

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, MIB, PARTIALLY_PRESENT, TIB, UNMAPPED
from tests.support.parts import Bitmap, Block
from tests.support.patterns import pattern
from tests.support.reading import assert_cover, in_memory, whole

# the layout: log at 1 MiB, metadata 2, BAT 3, free 4 and 5, then blocks of 2 MiB: 0 at 6, 2 at 8, 3 at 10
END = 12 * MIB


def image_with(entry: int) -> ImageBuilder:
    """Three sound blocks, and block 1 whose entry is given."""
    image = ImageBuilder(
        8 * MIB, 2 * MIB, blocks={n: Block(pattern(n, 2 * MIB)) for n in (0, 2, 3)}, gap=2 * MIB
    )
    assert image.length() == END
    image.bat = {1: entry}
    return image


PLACES = {
    "nowhere": 0,
    "the log": MIB,
    "the metadata": 2 * MIB,
    "the BAT": 3 * MIB,
    "half past the end": END - MIB,
    "at the end": END,
    "far past the end": 900 * MIB,
    "below 256 TiB": 256 * TIB - 2 * MIB,
    "over 256 TiB": 256 * TIB - MIB,
    "the largest there is": (2**44 - 1) * MIB,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_block_outside_the_free_part_of_the_file_is_refused_alone(place: str) -> None:
    image = image_with(PLACES[place] | FULLY_PRESENT)
    if place == "half past the end":  # it must not also lie in block 3
        del image.blocks[3]
        image.file_length = END
    with in_memory(image) as disk:
        for length, offset in ((1, 2 * MIB), (512, 4 * MIB - 512), (2, 2 * MIB - 1), (8 * MIB, 0)):
            with pytest.raises(vhdx.CorruptImageError) as caught:
                disk.pread(length, offset)
            assert caught.value.structure == "BAT entry 1"
            assert caught.value.file_offset == 3 * MIB + 8
            with pytest.raises(vhdx.CorruptImageError):
                disk.preadinto(bytearray(length), offset)
        for number in {0, 2, 3} & set(image.blocks):
            assert disk.pread(2 * MIB, number * 2 * MIB) == pattern(number, 2 * MIB)


@pytest.mark.parametrize("at", [5, 6, 7, 8, 9, 10])
def test_blocks_that_claim_the_same_space_are_refused_both(at: int) -> None:
    image = image_with(at * MIB | FULLY_PRESENT)
    claimed = {n for n, start in {0: 6, 2: 8, 3: 10}.items() if start < at + 2 and at < start + 2}
    with in_memory(image) as disk:
        for number in range(4):
            if number == 1 or number in claimed:
                with pytest.raises(vhdx.CorruptImageError, match=f"BAT entry {number} at file offset"):
                    disk.pread(512, number * 2 * MIB + 512)
            else:
                assert disk.pread(2 * MIB, number * 2 * MIB) == pattern(number, 2 * MIB)


def test_many_claims_of_one_space_are_all_refused() -> None:
    image = ImageBuilder(16 * MIB, blocks={0: Block(pattern(0, MIB))}, file_length=30 * MIB)
    image.bat = dict.fromkeys(range(1, 15), 8 * MIB | FULLY_PRESENT)
    with in_memory(image) as disk:
        assert disk.pread(MIB, 0) == pattern(0, MIB)
        assert disk.pread(MIB, 15 * MIB) == bytes(MIB)
        for number in range(1, 15):
            with pytest.raises(vhdx.CorruptImageError, match="claimed by payload block"):
                disk.pread(1, number * MIB)


def test_kept_space_of_a_block_without_contents_is_no_claim() -> None:
    image = image_with(6 * MIB | UNMAPPED)
    with in_memory(image) as disk:
        assert whole(disk) == image.content()


def test_an_overlap_of_neighbouring_entries_is_found_inside_a_run() -> None:
    image = ImageBuilder(8 * MIB, blocks={n: Block(pattern(n, MIB)) for n in range(4)})
    image.bat = {6: image.plan().blocks[2] | FULLY_PRESENT}
    with in_memory(image) as disk:
        with pytest.raises(vhdx.CorruptImageError, match="BAT entry 2 at"):
            disk.pread(4 * MIB, 0)
        assert disk.pread(2 * MIB, 0) == pattern(0, MIB) + pattern(1, MIB)
        assert disk.pread(MIB, 3 * MIB) == pattern(3, MIB)


def child_with(folder: Path, **bitmap: int) -> Path:
    parent = ImageBuilder(4 * MIB)
    parent.write(folder / "parent.vhdx")
    child = parent.child()
    child.blocks = {n: Block(pattern(n, MIB), PARTIALLY_PRESENT, present=range(64)) for n in (0, 1)}
    child.blocks[2] = Block(pattern(2, MIB))
    child.write(folder / "child.vhdx")
    child.bat = {child.bitmap_index(0): bitmap["entry"]}
    return child.write(folder / "child.vhdx")


BITMAPS = {
    "absent": 0,
    "absent, with an offset": 4 * MIB,
    "a reserved state": 4 * MIB | 5,
    "in the header section": 6,
    "in the log": MIB | 6,
    "in the BAT": 3 * MIB | 6,
    "in block 0": 5 * MIB | 6,
    "past the end": 64 * MIB | 6,
    "over 256 TiB": 256 * TIB | 6,
}


@pytest.mark.parametrize("place", BITMAPS)
def test_a_bitmap_that_cannot_be_one_is_refused(place: str, tmp_path: Path) -> None:
    with vhdx.open(child_with(tmp_path, entry=BITMAPS[place])) as disk:
        with pytest.raises(vhdx.CorruptImageError) as caught:
            disk.pread(512, MIB)
        assert caught.value.structure == "BAT entry of the sector bitmap of chunk 0"
        assert caught.value.file_offset == 3 * MIB + 8 * 4096
        assert disk.pread(MIB, 2 * MIB) == pattern(2, MIB)
        assert disk.pread(MIB, 3 * MIB) == bytes(MIB)


@pytest.mark.parametrize(
    "bits", [b"\0" * MIB, b"\xff" * MIB, b"\x55" * MIB], ids=["zeros", "ones", "every other"]
)
def test_every_bitmap_is_a_bitmap(bits: bytes, tmp_path: Path) -> None:
    parent = ImageBuilder(4 * MIB, blocks={n: Block(pattern(n, MIB)) for n in range(4)})
    parent.write(tmp_path / "parent.vhdx")
    child = parent.child()
    child.blocks = {n: Block(pattern(n, MIB, 1), PARTIALLY_PRESENT, present=bits[:256]) for n in range(4)}
    child.bitmaps = {0: Bitmap(bits)}
    with vhdx.open(child.write(tmp_path / "child.vhdx")) as disk:
        assert whole(disk) == child.content(parent.content())
        assert_cover(list(disk.extents()), 0, 4 * MIB)
