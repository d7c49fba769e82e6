"""Promise 1 for chains: random images of random shapes, layer over layer, against the builder's own words."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, MIB, NOT_PRESENT, PARTIALLY_PRESENT, UNDEFINED, UNMAPPED, ZERO
from tests.support.parts import Bitmap, Block
from tests.support.patterns import pattern
from tests.support.reading import around, assert_extents_are_true, assert_reads, scattered, whole

NO_DATA = (NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED)


@dataclass(frozen=True)
class Layer:
    """The shape of one file of a chain: sizes, and for each block its state and the bits of its sectors."""

    extra_sectors: int
    block_size: int
    states: tuple[int, ...]
    bits: bytes
    leftover_bits: bool


LAYERS = st.builds(
    Layer,
    extra_sectors=st.sampled_from([0, 1, 7, 255]),
    block_size=st.sampled_from([MIB, 2 * MIB]),
    states=st.lists(st.sampled_from([*NO_DATA, FULLY_PRESENT, PARTIALLY_PRESENT]), max_size=4).map(tuple),
    bits=st.binary(min_size=1, max_size=32),
    leftover_bits=st.booleans(),
)


def written(layers: list[Layer], sector_size: int, folder: Path) -> tuple[Path, bytes]:
    """A chain with the given layers, base first; the path of its leaf and what it must read as."""
    content = b""
    above: ImageBuilder | None = None
    for depth, layer in enumerate(layers):
        name = f"{depth}.vhdx"
        image = ImageBuilder(seed=depth) if above is None else above.child(f"{depth - 1}.vhdx")
        image.block_size, image.logical_sector_size = layer.block_size, sector_size
        blocks = layer.states or (NOT_PRESENT,)
        image.disk_size = (
            max(len(blocks) * layer.block_size - MIB // 2, 0) + layer.extra_sectors * sector_size
        )
        image.blocks = {n: block_of(layer, n, state, image) for n, state in enumerate(blocks)}
        if layer.leftover_bits and image.differencing:
            image.bitmaps = {0: Bitmap(b"\xff" * MIB, state=FULLY_PRESENT)}
        content = image.content(content)
        image.write(folder / name)
        above = image
    return folder / f"{len(layers) - 1}.vhdx", content


def block_of(layer: Layer, number: int, state: int, image: ImageBuilder) -> Block:
    if state == PARTIALLY_PRESENT and not image.differencing:
        state = FULLY_PRESENT
    if state in NO_DATA:
        return Block(state=state)
    present = layer.bits * (image.sectors_per_block // 8 // len(layer.bits))
    bits = present if state == PARTIALLY_PRESENT else None
    return Block(pattern(number, layer.block_size, image.seed), state, present=bits)


@settings(max_examples=40)
@given(st.lists(LAYERS, min_size=1, max_size=4), st.sampled_from([512, 4096]), st.integers(0, 2**32))
def test_promise_1_a_random_chain_reads_as_its_layers_say(
    layers: list[Layer], sector_size: int, seed: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        leaf, content = written(layers, sector_size, Path(folder))
        with vhdx.open(leaf) as disk:
            assert len(disk.chain) == len(layers)
            assert whole(disk) == content
            assert_reads(disk, content, scattered(disk.size, 3 * MIB, count=12, seed=seed))
            assert_reads(disk, content, around(range(0, disk.size + MIB, MIB), disk.size))
            assert_extents_are_true(disk, content)


def three_layers(folder: Path, *, top_block: Block, **sizes: int) -> tuple[Path, list[ImageBuilder]]:
    """A base full of data, an empty middle and a top with one block; sizes in MiB by name."""
    base = ImageBuilder(sizes.get("base", 4) * MIB, blocks={n: Block(pattern(n, MIB)) for n in range(4)})
    middle = base.child("base.vhdx")
    middle.disk_size = sizes.get("middle", 4) * MIB
    top = middle.child("middle.vhdx")
    top.disk_size, top.blocks = sizes.get("top", 4) * MIB, {1: top_block}
    for name, image in {"base": base, "middle": middle, "top": top}.items():
        image.write(folder / f"{name}.vhdx")
    return folder / "top.vhdx", [base, middle, top]


@pytest.mark.parametrize("state", [UNDEFINED, ZERO, UNMAPPED])
def test_promise_1_a_block_without_contents_hides_the_parent(state: int, tmp_path: Path) -> None:
    block = Block(pattern(9, MIB), state, present=b"\xff" * 256, anchored=state != ZERO)
    path, _ = three_layers(tmp_path, top_block=block)
    with vhdx.open(path) as disk:
        assert disk.pread(MIB, MIB) == bytes(MIB)
        assert disk.pread(2, 2 * MIB - 1)[:1] == b"\0"
        assert disk.pread(MIB, 0) == pattern(0, MIB)


def test_promise_1_bits_of_a_fully_present_block_are_not_looked_at(tmp_path: Path) -> None:
    path, _ = three_layers(tmp_path, top_block=Block(pattern(9, MIB), FULLY_PRESENT, present=b""))
    with vhdx.open(path) as disk:
        assert disk.pread(MIB, MIB) == pattern(9, MIB)


def test_promise_1_leftover_bits_of_an_absent_block_mean_nothing(tmp_path: Path) -> None:
    path, _ = three_layers(tmp_path, top_block=Block(state=NOT_PRESENT, present=b"\xff" * 256))
    with vhdx.open(path) as disk:
        assert disk.pread(MIB, MIB) == pattern(1, MIB)


@pytest.mark.parametrize(
    ("base", "middle", "top"), [(4, 2, 4), (2, 4, 4), (4, 4, 2), (1, 3, 8), (8, 2, 8), (4, 8, 16)]
)
def test_promise_1_what_lies_behind_the_end_of_a_shorter_parent_is_zeros(
    base: int, middle: int, top: int, tmp_path: Path
) -> None:
    sizes = {"base": base, "middle": middle, "top": top}
    path, images = three_layers(tmp_path, top_block=Block(state=NOT_PRESENT), **sizes)
    content = b""
    for image in images:
        content = image.content(content)
    with vhdx.open(path) as disk:
        assert disk.size == top * MIB
        assert whole(disk, 3 * MIB) == content
        assert_reads(disk, content, around(range(0, 9 * MIB, MIB), disk.size))
        assert_extents_are_true(disk, content)


def test_promise_1_a_partially_present_block_over_the_end_of_a_shorter_parent(tmp_path: Path) -> None:
    block = Block(pattern(1, MIB, 5), PARTIALLY_PRESENT, present=b"\x0f\xf0" * 128)
    path, images = three_layers(tmp_path, top_block=block, base=4, middle=4, top=4)
    images[1].disk_size = MIB + MIB // 2 + 512
    images[1].write(tmp_path / "middle.vhdx")
    content = images[2].content(images[1].content(images[0].content()))
    with vhdx.open(path) as disk:
        assert whole(disk) == content
        assert_reads(disk, content, around((MIB + MIB // 2 + 512,), disk.size))


def test_a_partially_present_block_without_a_bitmap_is_refused(tmp_path: Path) -> None:
    path, images = three_layers(tmp_path, top_block=Block(pattern(1, MIB), PARTIALLY_PRESENT))
    images[2].bitmaps = {0: Bitmap(state=NOT_PRESENT)}
    images[2].write(path)
    with vhdx.open(path) as disk:
        assert disk.pread(MIB, 0) == pattern(0, MIB)
        with pytest.raises(vhdx.CorruptImageError, match="no sector bitmap, but block 1") as caught:
            disk.pread(1, MIB)
        assert caught.value.file_offset == images[2].plan().bat_offset + 8 * images[2].bitmap_index(0)


def test_the_properties_of_a_chain_are_those_of_its_leaf(tmp_path: Path) -> None:
    path, images = three_layers(tmp_path, top_block=Block(), base=4, middle=4, top=8)
    images[2].physical_sector_size = 512
    images[2].write(path)
    with vhdx.open(path) as disk:
        assert (disk.size, disk.disk_type, disk.block_size) == (8 * MIB, "differencing", MIB)
        assert (disk.logical_sector_size, disk.physical_sector_size) == (512, 512)
        assert disk.disk_id == images[0].guid("disk id")
        assert disk.chain == tuple(str(tmp_path / f"{name}.vhdx") for name in ("top", "middle", "base"))
        assert disk.read_only
        assert len(set(disk.files())) == 3
