"""Promise 1: reads return exactly the bytes of the disk, for every state, alignment, size and border."""

from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.describe import DiskType
from tests.support.layout import (
    FULLY_PRESENT,
    GIB,
    KIB,
    MIB,
    NOT_PRESENT,
    PARTIALLY_PRESENT,
    TIB,
    UNDEFINED,
    UNMAPPED,
    ZERO,
)
from tests.support.naive import naive_content
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.presets import disk2vhd_like, qemu_like
from tests.support.reading import (
    around,
    assert_extents_are_true,
    assert_reads,
    in_memory,
    scattered,
    whole,
)

TYPES: tuple[DiskType, ...] = ("fixed", "dynamic", "differencing")
SECTOR_SIZES = (512, 4096)
STATES = (NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED, FULLY_PRESENT, PARTIALLY_PRESENT)


def each_beside_each(states: tuple[int, ...]) -> list[int]:
    """A short row of states in which every state stands before every one, itself included."""
    row = [states[0]]
    wanted = set(product(states, repeat=2))
    while wanted:
        following = [state for state in states if (row[-1], state) in wanted]
        step = following[0] if following else min(wanted)[0]
        wanted.discard((row[-1], step))
        row.append(step)
    return row


def block_in(state: int, number: int, sectors: int) -> Block:
    """A block whose space, where it has some, is full of bytes that tell whose they are."""
    present = {s for s in range(sectors) if (s * 7 + number) % 11 < 5 or s in (0, sectors - 1)}
    keeps = state in (UNDEFINED, UNMAPPED) and number % 2 == 0
    data = pattern(number, MIB, seed=1) if state in (FULLY_PRESENT, PARTIALLY_PRESENT) or keeps else b""
    return Block(data, state, present=present if state == PARTIALLY_PRESENT else None, anchored=keeps)


def all_states(disk_type: DiskType, sector_size: int) -> ImageBuilder:
    """Every state beside every state, in blocks of 1 MiB."""
    states = STATES if disk_type == "differencing" else STATES[:-1]
    row = each_beside_each(states)
    image = ImageBuilder(
        disk_size=len(row) * MIB + 3 * sector_size,
        logical_sector_size=sector_size,
        disk_type=disk_type,
        default_state=NOT_PRESENT,
        seed=1,
    )
    image.blocks = {n: block_in(state, n, image.sectors_per_block) for n, state in enumerate(row)}
    image.blocks[len(row)] = Block(pattern(len(row), MIB, seed=1))
    return image


def test_every_state_stands_beside_every_state() -> None:
    assert set(pairwise(each_beside_each(STATES))) == set(product(STATES, repeat=2))


@pytest.mark.parametrize(("disk_type", "sector_size"), [*product(TYPES, SECTOR_SIZES)])
def test_promise_1_every_state_type_and_sector_size(
    disk_type: DiskType, sector_size: int, tmp_path: Path
) -> None:
    image = all_states(disk_type, sector_size)
    parent = ImageBuilder(disk_size=image.disk_size, block_size=2 * MIB, logical_sector_size=sector_size)
    parent.blocks = {n: Block(pattern(n, 2 * MIB)) for n in range(0, parent.payload_blocks, 2)}
    parent.write(tmp_path / "parent.vhdx")
    image.parent_data_write_guid = parent.guid("data write")
    expected = image.content(parent.content())
    with vhdx.open(image.write(tmp_path / "image.vhdx")) as disk:
        assert disk.size == len(expected)
        assert whole(disk) == expected
        assert whole(disk, step=3 * MIB + 17) == expected
        assert_reads(disk, expected, around(range(0, disk.size + MIB, MIB), disk.size))
        assert_reads(disk, expected, scattered(disk.size, 5 * MIB))
        assert_extents_are_true(disk, expected)


@pytest.mark.parametrize("sector_size", SECTOR_SIZES)
def test_promise_1_every_alignment_inside_a_partially_present_block(sector_size: int, tmp_path: Path) -> None:
    image = ImageBuilder(disk_size=2 * MIB, logical_sector_size=sector_size).child()
    image.blocks = {0: block_in(PARTIALLY_PRESENT, 0, image.sectors_per_block)}
    parent = ImageBuilder(disk_size=2 * MIB, logical_sector_size=sector_size, blocks={0: Block(b"p" * MIB)})
    parent.write(tmp_path / "parent.vhdx")
    expected = image.content(parent.content())
    with vhdx.open(image.write(tmp_path / "image.vhdx")) as disk:
        ranges = [
            (n, at) for at in range(0, 5 * sector_size, 61) for n in (1, 63, sector_size, 3 * sector_size)
        ]
        assert_reads(disk, expected, ranges)


@pytest.mark.parametrize("state", [5])
def test_unmapped_of_version_0_95_reads_as_zeros(state: int, tmp_path: Path) -> None:
    parent = ImageBuilder(disk_size=2 * MIB, blocks={0: Block(b"p" * MIB), 1: Block(b"q" * MIB)})
    parent.write(tmp_path / "parent.vhdx")
    child = parent.child()
    for image in (parent, child):
        image.blocks = {0: Block(b"old" * 100, state, anchored=True)}
    with in_memory(parent) as disk:
        assert disk.pread(2 * MIB, 0) == bytes(2 * MIB)
    with vhdx.open(child.write(tmp_path / "child.vhdx")) as disk:
        assert disk.pread(2 * MIB, 0) == bytes(MIB) + b"q" * MIB


@pytest.mark.parametrize(("disk_type", "state"), [("dynamic", 4), ("fixed", 4), ("differencing", 4)])
def test_a_state_without_meaning_is_refused_where_it_is_read(
    disk_type: DiskType, state: int, tmp_path: Path
) -> None:
    parent = ImageBuilder()
    parent.write(tmp_path / "parent.vhdx")
    image = ImageBuilder(4 * MIB, disk_type=disk_type, default_state=ZERO)
    image.parent_data_write_guid = parent.guid("data write")
    image.blocks = {1: Block(pattern(1, MIB)), 2: Block(b"?" * MIB, state, file_offset=8 * MIB)}
    with vhdx.open(image.write(tmp_path / "image.vhdx")) as disk:
        assert disk.pread(2 * MIB, 0) == bytes(MIB) + pattern(1, MIB)
        for length, offset in ((1, 2 * MIB), (2, 2 * MIB - 1), (1, 3 * MIB - 1), (4 * MIB, 0)):
            with pytest.raises(vhdx.CorruptImageError, match="block 2 is in state") as caught:
                disk.pread(length, offset)
            assert caught.value.structure == "BAT entry 2"
            assert caught.value.file_offset == image.plan().bat_offset + 16
        assert disk.pread(MIB, 3 * MIB) == bytes(MIB)


BLOCK_SIZES = [MIB << shift for shift in range(9)]


@pytest.mark.parametrize(("block_size", "sector_size"), [*product(BLOCK_SIZES, SECTOR_SIZES)])
def test_promise_1_every_block_size(block_size: int, sector_size: int, tmp_path: Path) -> None:
    image = ImageBuilder(4 * block_size + 5 * sector_size, block_size, sector_size, disk_type="differencing")
    parent = ImageBuilder(image.disk_size, 2 * MIB, sector_size)
    image.parent_data_write_guid = parent.guid("data write")
    edges = (0, 64 * KIB, block_size // 2, block_size - 64 * KIB)
    for number in (0, 1, 3, 4):
        data = {at: pattern(number, 64 * KIB, start=at) for at in edges}
        present = {s for at in edges for s in range(at // sector_size, at // sector_size + 5, 2)}
        state = PARTIALLY_PRESENT if number % 2 else FULLY_PRESENT
        image.blocks[number] = Block(data, state, present=present if number % 2 else None)
    paths = [parent.write(tmp_path / "parent.vhdx"), image.write(tmp_path / "image.vhdx")]
    with vhdx.open(paths[1]) as disk:
        borders = [number * block_size + at for number in range(5) for at in (*edges, 5 * sector_size)]
        for length, offset in around(borders, disk.size):
            assert disk.pread(length, offset) == naive_content(paths[1], offset, length, paths[:1])


@pytest.mark.parametrize("disk_type", TYPES)
def test_promise_1_across_chunk_borders(disk_type: DiskType, tmp_path: Path) -> None:
    image = ImageBuilder(9 * GIB, 256 * MIB, disk_type=disk_type, default_state=NOT_PRESENT)
    parent = ImageBuilder(9 * GIB, 128 * MIB, blocks={n: Block(b"p" * 512) for n in (30, 31, 32, 64, 70)})
    image.parent_data_write_guid = parent.guid("data write")
    half = image.sectors_per_block // 2
    for number in (0, 14, 15, 16, 17, 31, 32, 35):
        data = {0: pattern(number, 8 * KIB), 256 * MIB - 8 * KIB: pattern(number, 8 * KIB, start=1)}
        image.blocks[number] = Block(data)
        if disk_type == "differencing" and number % 3:
            present = {0, 3, half, 2 * half - 1, 2 * half - 5}
            image.blocks[number] = Block(data, PARTIALLY_PRESENT, present=present)
    image.bat = {} if disk_type == "differencing" else {16: 0x1234_5678_9ABC_DEF6}  # junk in a bitmap slot
    below = [parent.write(tmp_path / "parent.vhdx")]
    path = image.write(tmp_path / "image.vhdx")
    with vhdx.open(path) as disk:
        for length, offset in around(range(0, 9 * GIB + 1, 256 * MIB), disk.size):
            assert disk.pread(length, offset) == naive_content(path, offset, length, below), offset


LENGTHS = {
    "one sector": (512, 512),
    "less than a block": (MIB - 512, 512),
    "one block and a sector": (MIB + 512, 512),
    "one block and a large sector": (MIB + 4096, 4096),
    "a sector less than three blocks": (3 * MIB - 4096, 4096),
    "whole blocks": (3 * MIB, 512),
}


@pytest.mark.parametrize("cut", ["whole last block", "file ends with the disk", "unaligned tail"])
@pytest.mark.parametrize("length", LENGTHS)
def test_promise_1_odd_disk_sizes_and_short_last_blocks(length: str, cut: str) -> None:
    disk_size, sector_size = LENGTHS[length]
    image = ImageBuilder(disk_size, logical_sector_size=sector_size, disk_type="fixed")
    image.blocks = {n: Block(pattern(n, MIB)) for n in range(image.payload_blocks)}
    if cut == "file ends with the disk":
        image.file_length = image.plan().blocks_offset + disk_size
    elif cut == "unaligned tail":
        image.tail = b"seventeen bytes.."
    with in_memory(image) as disk:
        assert disk.size == disk_size
        assert whole(disk) == image.content()
        assert_reads(disk, image.content(), around((0, MIB, disk_size), disk_size))
        with pytest.raises(ValueError, match="not inside the disk"):
            disk.pread(1, disk_size)


def test_a_last_block_shorter_than_the_disk_is_refused() -> None:
    image = ImageBuilder(3 * MIB + 512, disk_type="fixed")
    image.file_length = image.plan().blocks_offset + 3 * MIB + 511
    with in_memory(image) as disk:
        assert disk.pread(3 * MIB, 0) == bytes(3 * MIB)
        with pytest.raises(vhdx.CorruptImageError, match="behind the end of the file"):
            disk.pread(1, 3 * MIB)


PRESETS: dict[str, ImageBuilder] = {
    "qemu": qemu_like(disk_size=20 * MIB, blocks={1: Block(pattern(1, 8 * MIB))}),
    "qemu, fixed": qemu_like(disk_size=9 * MIB, disk_type="fixed", default_state=FULLY_PRESENT),
    "disk2vhd": disk2vhd_like(disk_size=5 * MIB, blocks={2: Block(pattern(2, 2 * MIB))}),
    "junk behind the last entry": ImageBuilder(
        blocks={0: Block(pattern(0, MIB))}, bat={10: 2, 11: 2**64 - 1}
    ),
    "zero with an offset": ImageBuilder(blocks={0: Block(state=ZERO, file_offset=900 * MIB)}),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_promise_1_what_other_software_writes(preset: str) -> None:
    image = PRESETS[preset]
    image.file_length = image.plan().blocks_offset + 32 * MIB
    with in_memory(image) as disk:
        assert whole(disk) == image.content()


def in_a_row_from(start: int, stop: int, at: int) -> Any:
    """A fill: blocks from start up to stop are present, back to back from a file offset on."""

    def fill(blocks: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
        words = (blocks - np.uint64(start)) * np.uint64(MIB) + np.uint64(at | FULLY_PRESENT)
        inside = (blocks >= np.uint64(start)) & (blocks < np.uint64(stop))
        return np.where(inside, words, np.uint64(0))

    return fill


def test_promise_1_a_disk_of_64_tib(tmp_path: Path) -> None:
    last = 64 * TIB // MIB - 1
    image = ImageBuilder(64 * TIB, blocks={n: Block(pattern(n, MIB)) for n in (5, 4096, last)})
    with vhdx.open(image.write(tmp_path / "image.vhdx")) as disk:
        assert disk.size == 64 * TIB
        for number in (5, 4096, last):
            assert disk.pread(MIB, number * MIB) == pattern(number, MIB)
        assert disk.pread(2 * MIB, 4 * MIB) == bytes(MIB) + pattern(5, MIB)
        found = [(e.offset, e.length) for e in disk.extents() if e.kind is vhdx.ExtentKind.DATA]
        assert found == [(5 * MIB, MIB), (4096 * MIB, MIB), (last * MIB, MIB)]


def test_extents_of_a_large_table_merge_over_its_windows(tmp_path: Path) -> None:
    image = ImageBuilder(512 * GIB, fill=in_a_row_from(100, 300_000, 64 * MIB), file_length=300 * GIB)
    with vhdx.open(image.write(tmp_path / "image.vhdx")) as disk:
        assert [(e.offset, e.length, e.file_offset) for e in disk.extents()] == [
            (0, 100 * MIB, None),
            (100 * MIB, 299_900 * MIB, 64 * MIB),
            (300_000 * MIB, 512 * GIB - 300_000 * MIB, None),
        ]


BAD_RANGES = [
    (1, -1),
    (-1, 0),
    (1, 10 * MIB),
    (2, 10 * MIB - 1),
    (10 * MIB + 1, 0),
    (0, 10 * MIB + 1),
    (1, 1 << 70),
]


@pytest.mark.parametrize(("length", "offset"), BAD_RANGES)
def test_a_range_outside_the_disk_is_refused(length: int, offset: int) -> None:
    with in_memory(ImageBuilder()) as disk:
        with pytest.raises(ValueError, match="not inside the disk of 10485760 bytes"):
            disk.pread(length, offset)
        with pytest.raises(ValueError, match="not inside the disk"):
            disk.extents(offset=offset, length=length)
        if 0 <= length <= 20 * MIB:
            with pytest.raises(ValueError, match="not inside the disk"):
                disk.preadinto(bytearray(length), offset)


@pytest.mark.parametrize("offset", [0, 5, 10 * MIB])
def test_an_empty_range_is_empty(offset: int) -> None:
    with in_memory(ImageBuilder()) as disk:
        assert disk.pread(0, offset) == b""
        disk.preadinto(bytearray(), offset)
        assert list(disk.extents(offset=offset, length=0)) == []


def test_preadinto_takes_any_writable_buffer() -> None:
    with in_memory(ImageBuilder(blocks={0: Block(pattern(0, MIB))})) as disk:
        numbers = np.zeros((4, 8), dtype=np.uint64)
        disk.preadinto(numbers.data, 24)
        assert numbers.tobytes() == pattern(0, 256, start=24)
        half = memoryview(bytearray(b"\xff" * 64))[16:48]
        disk.preadinto(half, 0)
        assert bytes(half.obj) == b"\xff" * 16 + pattern(0, 32) + b"\xff" * 16


@pytest.mark.parametrize(
    "buffer", [b"read-only", np.zeros((4, 4), np.uint8)[:, ::2], "text"], ids=["bytes", "strided", "str"]
)
def test_preadinto_refuses_other_buffers(buffer: Any) -> None:
    with in_memory(ImageBuilder()) as disk, pytest.raises((TypeError, BufferError)):
        disk.preadinto(buffer, 0)
