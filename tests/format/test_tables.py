"""Region table, metadata table and BAT entries."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import layout
from tests.support.layout import MIB
from vhdx.extents import BlockState
from vhdx.format import bat, checksum, guids, metadata, region
from vhdx.format.metadata import MetadataEntry
from vhdx.format.region import RegionEntry

U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
REGIONS = st.lists(st.builds(RegionEntry, st.uuids(), U64, U32, U32), max_size=20)
ITEMS = st.lists(st.builds(MetadataEntry, st.uuids(), U32, U32, U32), max_size=20)


def test_the_region_table_of_the_reference() -> None:
    entries = [
        RegionEntry(guids.BAT_REGION, 3 * MIB, MIB, 1),
        RegionEntry(guids.METADATA_REGION, 2 * MIB, MIB, 1),
    ]
    table = region.pack(entries)
    assert checksum.stored_checksum(table) == 0xC66B8CAE
    assert table[4:8].hex() == "ae8c6bc6"
    assert (len(table), region.damage(table), region.unpack(table)) == (65536, None, tuple(entries))


@given(REGIONS)
def test_region_tables_come_back_as_they_were(entries: list[RegionEntry]) -> None:
    packed = region.pack(entries)
    assert region.damage(packed) is None
    assert region.unpack(packed) == tuple(entries)
    rows = [layout.pack_region_entry(e.guid, e.file_offset, e.length, e.required) for e in entries]
    assert packed == layout.pack_region_table(rows)
    for index, row in enumerate(rows):
        assert packed[region.entry_offset(index) :].startswith(row)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (b"", "the file ends after 0 of its 65536 bytes"),
        (layout.pack_region_table([])[:-1], "the file ends after 65535"),
        (layout.pack_region_table([], signature=b"iger"), "signature"),
        (layout.pack_region_table([], checksum=5), "checksum is 0x00000005"),
        (layout.pack_region_table([], entry_count=2048), "entry count is 2048, at most 2047"),
    ],
)
def test_damage_of_a_region_table_is_told(table: bytes, words: str) -> None:
    assert words in str(region.damage(table))


def test_2047_regions_fill_a_table() -> None:
    entries = [RegionEntry(UUID(int=n), n << 20, MIB, 0) for n in range(2047)]
    assert region.unpack(region.pack(entries)) == tuple(entries)


@pytest.mark.parametrize(
    ("required", "is_required"), [(0, False), (1, True), (2, False), (3, True), (2**32 - 1, True)]
)
def test_bit_0_says_required(required: int, is_required: bool) -> None:
    entry = RegionEntry(guids.BAT_REGION, MIB, 2 * MIB, required)
    assert (entry.is_required, entry.end) == (is_required, 3 * MIB)


@given(ITEMS)
def test_metadata_tables_come_back_as_they_were(entries: list[MetadataEntry]) -> None:
    packed = metadata.pack_table(entries)
    assert metadata.table_signature(packed) == b"metadata"
    assert metadata.table_count(packed) == len(entries)
    assert metadata.unpack_table(packed) == tuple(entries)
    rows = [layout.pack_metadata_entry(e.item_id, e.offset, e.length, e.flags) for e in entries]
    assert packed == layout.pack_metadata_table(rows)
    for index, row in enumerate(rows):
        assert packed[metadata.entry_offset(index) :].startswith(row)


@pytest.mark.parametrize("flags", range(8))
def test_the_flags_of_an_item(flags: int) -> None:
    entry = MetadataEntry(guids.FILE_PARAMETERS, 100, 8, flags)
    assert (entry.is_user, entry.is_virtual_disk, entry.is_required) == (
        bool(flags & 1),
        bool(flags & 2),
        bool(flags & 4),
    )
    assert entry.end == 108


@given(U32, U32)
def test_file_parameters_come_back_as_they_were(block_size: int, flags: int) -> None:
    packed = metadata.pack_file_parameters(block_size, flags)
    assert packed == layout.FILE_PARAMETERS.pack({"block_size": block_size, "flags": flags})
    assert metadata.unpack_file_parameters(packed) == (block_size, flags)


@pytest.mark.parametrize(
    "name", ["file_parameters", "virtual_disk_size", "virtual_disk_id", "parent_locator"]
)
def test_known_items_go_by_their_guid(name: str) -> None:
    assert metadata.KNOWN_ITEMS[layout.ITEM_GUIDS[name]].name == name.replace("_", " ")


BYTES_ON_DISK = {
    "6677c22d23f600429d64115e9bfd4a08": guids.BAT_REGION,
    "06a27c8b90479a4bb8fe575f050f886e": guids.METADATA_REGION,
    "3767a1ca36fa434db3b633f0aa44e76b": guids.FILE_PARAMETERS,
    "2442a52f1bcd7648b2115dbed83bf4b8": guids.VIRTUAL_DISK_SIZE,
    "ab12cabee6b2234593efc309e000c746": guids.VIRTUAL_DISK_ID,
    "1dbf41816fa90947ba47f233a8faab5f": guids.LOGICAL_SECTOR_SIZE,
    "c748a3cd5d4471449cc9e9885251c556": guids.PHYSICAL_SECTOR_SIZE,
    "2d5fd3a80bb34d45abf7d3d84834ab0c": guids.PARENT_LOCATOR,
    "b7ef4ab09ed1814ab78925b8e9445913": guids.VHDX_PARENT_LOCATOR,
}


@pytest.mark.parametrize("on_disk", BYTES_ON_DISK)
def test_guids_as_they_stand_on_disk(on_disk: str) -> None:
    assert BYTES_ON_DISK[on_disk].bytes_le.hex() == on_disk


@given(st.integers(0, 7), st.integers(0, 2**44 - 1), st.integers(0, 2**17 - 1))
def test_the_parts_of_a_bat_entry(state: int, mebibytes: int, reserved: int) -> None:
    entry = layout.pack_bat_entry(state, mebibytes * MIB, reserved)
    assert bat.state_of(entry) is BlockState(state)
    assert bat.file_offset_of(entry) == mebibytes * MIB
    assert bat.pack(state, mebibytes * MIB) == entry & ~0xFFFF8
    assert entry & 0xFFFF8 == reserved << 3
