"""Arithmetic of blocks, chunks and slots, against naive twins that count one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.layout import GIB, MIB, TIB
from vhdx.geometry import Geometry, Span

SIZES = st.builds(
    lambda shift, sector, sectors, differencing: Geometry(
        sectors * sector, MIB << shift, sector, differencing
    ),
    st.integers(0, 8),
    st.sampled_from([512, 4096]),
    st.one_of(st.integers(1, 200_000), st.integers(1, 64 * TIB // 4096)),
    st.booleans(),
)


@pytest.mark.parametrize(
    ("disk_size", "block_size", "differencing", "entries"),
    [
        (10 * MIB, 32 * MIB, False, 1),
        (10 * GIB, 32 * MIB, False, 322),
        (4 * MIB, 2 * MIB, True, 2049),
        (8 * GIB, 2 * MIB, True, 4098),
        (512, MIB, False, 1),
        (512, MIB, True, 4097),
        (4 * GIB, MIB, False, 4096),
        (4 * GIB + 512, MIB, False, 4098),
        (64 * TIB, MIB, False, 67108864 + 16383),
        (64 * TIB, MIB, True, 67108864 + 16384),
    ],
)
def test_the_entries_of_a_table(disk_size: int, block_size: int, differencing: bool, entries: int) -> None:
    assert Geometry(disk_size, block_size, 512, differencing).bat_entry_count == entries


@pytest.mark.parametrize(
    ("block_size", "sector_size", "ratio"),
    [
        (1, 512, 4096),
        (2, 512, 2048),
        (32, 512, 128),
        (256, 512, 16),
        (1, 4096, 32768),
        (32, 4096, 1024),
        (256, 4096, 128),
    ],
)
def test_the_chunk_ratio(block_size: int, sector_size: int, ratio: int) -> None:
    geometry = Geometry(TIB, block_size * MIB, sector_size, differencing=True)
    assert geometry.chunk_ratio == ratio
    assert geometry.sectors_per_block == block_size * MIB // sector_size
    assert geometry.chunk_ratio * geometry.sectors_per_block == 8 * MIB, "bits of a bitmap block"


def slots(geometry: Geometry, blocks: int) -> list[tuple[str, int]]:
    """The table slot by slot: `ratio` payload entries, then one of a bitmap, and so on."""
    row: list[tuple[str, int]] = []
    for block in range(blocks):
        row.append(("payload", block))
        if (block + 1) % geometry.chunk_ratio == 0:
            row.append(("bitmap", block // geometry.chunk_ratio))
    return row


@pytest.mark.parametrize("differencing", [False, True])
@pytest.mark.parametrize(
    ("block_size", "sector_size"), [(256 * MIB, 512), (256 * MIB, 4096), (64 * MIB, 512)]
)
@pytest.mark.parametrize("blocks", [1, 15, 16, 17, 63, 64, 65, 128, 300])
def test_where_entries_stand(block_size: int, sector_size: int, blocks: int, differencing: bool) -> None:
    geometry = Geometry(blocks * block_size, block_size, sector_size, differencing)
    row = slots(geometry, 3 * geometry.chunk_ratio + blocks)
    for index, (kind, number) in enumerate(row):
        where = geometry.payload_index(number) if kind == "payload" else geometry.bitmap_index(number)
        assert where == index
    bitmaps = [index for index, (kind, _) in enumerate(row) if kind == "bitmap"]
    for index in range(bitmaps[-1]):
        assert geometry.first_bitmap_index_from(index) == min(at for at in bitmaps if at >= index)
    last = max(i for i, slot in enumerate(row) if slot == ("payload", blocks - 1))
    if differencing:
        last = next(i for i, (kind, _) in enumerate(row) if kind == "bitmap" and i >= last)
    assert geometry.bat_entry_count == last + 1


@given(SIZES, st.data())
def test_what_follows_from_the_sizes(geometry: Geometry, data: st.DataObject) -> None:
    block = data.draw(st.integers(0, geometry.block_count - 1))
    length = geometry.block_length(block)
    assert 0 < length <= geometry.block_size
    assert (length == geometry.block_size) == ((block + 1) * geometry.block_size <= geometry.disk_size)
    assert (geometry.block_count - 1) * geometry.block_size < geometry.disk_size
    assert geometry.block_count * geometry.block_size >= geometry.disk_size
    chunk = geometry.chunk_of(block)
    assert 0 <= chunk < geometry.chunk_count
    sector_of_chunk = block * geometry.block_size // geometry.logical_sector_size - chunk * 8 * MIB
    assert geometry.first_bit(block) == sector_of_chunk
    assert geometry.first_bit(block) + geometry.sectors_per_block <= 8 * MIB
    assert geometry.payload_index(block) < geometry.bat_entry_count
    assert geometry.bitmap_index(chunk) > geometry.payload_index(block)
    assert (
        geometry.bitmap_index(geometry.chunk_count - 1) < geometry.bat_entry_count
    ) == geometry.differencing


def naive_spans(geometry: Geometry, offset: int, length: int) -> list[Span]:
    """The range, byte by byte, in steps of 512."""
    spans: list[Span] = []
    for at in range(offset, offset + length, 512):
        block, inside = divmod(at, geometry.block_size)
        if spans and spans[-1].block == block:
            spans[-1] = spans[-1]._replace(length=spans[-1].length + 512)
        else:
            spans.append(Span(block, inside, 512))
    return spans


@given(st.integers(0, 3), st.integers(0, 20_000), st.integers(0, 12_000))
def test_spans_are_the_sectors_of_the_range(shift: int, first: int, count: int) -> None:
    geometry = Geometry(64 * MIB, MIB << shift, 512, differencing=False)
    assert list(geometry.spans(first * 512, count * 512)) == naive_spans(geometry, first * 512, count * 512)


@given(SIZES, st.data())
def test_spans_cover_any_range_of_bytes(geometry: Geometry, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, geometry.disk_size))
    length = data.draw(st.integers(0, min(geometry.disk_size - offset, 20 * geometry.block_size)))
    position = offset
    spans = list(geometry.spans(offset, length))
    for span in spans:
        assert span.block * geometry.block_size + span.offset_in_block == position
        assert 0 < span.length <= geometry.block_size - span.offset_in_block
        position += span.length
    assert position == offset + length
    assert [span.block for span in spans] == list(geometry.blocks_touched(offset, length))


def test_a_geometry_is_a_value() -> None:
    one, same = Geometry(MIB, MIB, 512, differencing=False), Geometry(MIB, MIB, 512, differencing=False)
    assert one == same
    with pytest.raises(AttributeError):
        one.disk_size = 5  # type: ignore[misc]


@given(st.booleans(), st.integers(1, 200), st.integers(0, 230), st.integers(1, 60))
def test_the_blocks_that_depend_on_slots(differencing: bool, blocks: int, index: int, count: int) -> None:
    """With 256 MiB blocks 16 of them share a bitmap; what depends on a slot is told slot by slot."""
    geometry = Geometry(blocks * 256 * MIB, 256 * MIB, 512, differencing=differencing)
    depend = set()
    for slot in range(index, index + count):
        chunk, within = divmod(slot, 17)
        whole_chunk = range(chunk * 16, chunk * 16 + 16) if differencing else ()
        depend |= set(whole_chunk if within == 16 else [chunk * 16 + within])
    depend &= set(range(blocks))
    found = geometry.blocks_of_slots(index, count)
    assert depend == set(found) or (differencing and depend <= set(found))
    if not any(slot % 17 == 16 for slot in range(index, index + count)):
        assert depend == set(found)


def test_names_of_slots() -> None:
    geometry = Geometry(64 * 256 * MIB, 256 * MIB, 512, differencing=True)
    assert [geometry.slot_name(index) for index in (0, 15, 16, 17)] == [
        "payload block 0",
        "payload block 15",
        "the sector bitmap of chunk 0",
        "payload block 16",
    ]
    assert [index for index in range(40) if geometry.is_bitmap_index(index)] == [16, 33]
