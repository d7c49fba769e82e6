"""Tables of any state are read, reported, never refused: hand-built, damaged and hostile ones."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhdx.partitions.read import read_table
from vhdx.partitions.table import PartitionTable

from .tables import DISK, LINUX, gpt_disk, gpt_entries, gpt_header, mbr_record, protective

SIZE = 1 << 20
SECTORS = SIZE // 512


def table_of(disk: bytes | bytearray, unit: int = 512) -> PartitionTable:
    def read(length: int, offset: int) -> bytes:
        assert offset >= 0
        assert offset + length <= len(disk), "read past the end of the disk"
        return bytes(disk[offset : offset + length])

    return read_table(read, len(disk), unit)


def places(table: PartitionTable) -> list[tuple[int, int, int]]:
    unit = table.sector_size
    return [(p.number, p.offset // unit, p.length // unit) for p in table.partitions]


def mbr_disk(records: dict[int, bytes], size: int = SIZE, unit: int = 512) -> bytearray:
    disk = bytearray(size)
    for sector, record in records.items():
        disk[sector * unit : sector * unit + 512] = record
    return disk


@pytest.mark.parametrize("unit", [512, 4096])
def test_gpt(unit: int) -> None:
    table = table_of(gpt_disk(SIZE, [(40, 59), (60, 60)], unit), unit)
    assert (table.kind, table.findings, table.sector_size) == ("gpt", (), unit)
    assert table.disk_id == str(DISK)
    assert places(table) == [(1, 40, 20), (2, 60, 1)]
    first = table.partitions[0]
    assert (first.type, first.type_name, first.name) == (str(LINUX), "Linux", "part 1")
    assert first.unique_id == "00000000-0000-0000-0000-000000000001"


@pytest.mark.parametrize("unit", [512, 4096])
def test_mbr_with_logical_partitions(unit: int) -> None:
    disk = mbr_disk(
        {
            0: mbr_record({0: (0x83, 8, 4), 2: (0x05, 20, 60)}),
            20: mbr_record({0: (0x83, 2, 6), 1: (0x05, 20, 12)}),
            40: mbr_record({0: (0x82, 1, 11), 1: (0x05, 40, 12)}),
            60: mbr_record({0: (0xC3, 1, 11)}),
        },
        unit=unit,
    )
    table = table_of(disk, unit)
    assert (table.kind, table.findings, table.disk_id) == ("mbr", (), "1234abcd")
    assert places(table) == [(1, 8, 4), (3, 20, 60), (5, 22, 6), (6, 41, 11), (7, 61, 11)]
    assert [p.type_name for p in table.partitions] == [
        "Linux",
        "Extended (CHS)",
        "Linux",
        "Linux swap or Solaris",
        None,
    ]
    assert table.partitions[2].unique_id == "1234abcd-05"


@pytest.mark.parametrize(
    ("next_sector", "finding"),
    [
        (0, "comes back to sector 20"),
        (59, "is no record of a logical partition"),
        (60, "out of the extended partition"),
        (0xFFFFFFFF, "out of the extended partition"),
    ],
)
def test_chains_that_lead_astray(next_sector: int, finding: str) -> None:
    disk = mbr_disk(
        {
            0: mbr_record({0: (0x0F, 20, 60)}),
            20: mbr_record({0: (0x83, 2, 6), 1: (0x05, next_sector, 12)}),
        }
    )
    table = table_of(disk)
    assert places(table) == [(1, 20, 60), (5, 22, 6)]
    assert finding in table.findings[0]


def test_a_chain_without_end() -> None:
    records = {n: mbr_record({1: (0x05, n, 1)}) for n in range(1, 600)}
    records[0] = mbr_record({0: (0x05, 1, 1000)})
    assert "more than 256 records" in table_of(mbr_disk(records)).findings[0]


@pytest.mark.parametrize("unit", [512, 4096])
@pytest.mark.parametrize(
    ("spot", "finding"),
    [
        (0, "the primary GPT is damaged (its header has no signature): the backup is used"),
        (30, "the primary GPT is damaged (the checksum of its header is wrong): the backup is used"),
    ],
)
def test_a_damaged_primary(unit: int, spot: int, finding: str) -> None:
    disk = gpt_disk(SIZE, [(40, 59)], unit)
    disk[unit + spot] ^= 0xFF
    table = table_of(disk, unit)
    assert (places(table), table.findings) == ([(1, 40, 20)], (finding,))
    assert table.gpt is not None
    assert table.gpt.header.own_sector == 1


def test_damaged_entries() -> None:
    disk = gpt_disk(SIZE, [(40, 59)])
    disk[1024 + 32] ^= 1
    table = table_of(disk)
    assert places(table) == [(1, 40, 20)]
    assert "the checksum of its entries is wrong" in table.findings[0]


def test_a_damaged_backup() -> None:
    disk = gpt_disk(SIZE, [(40, 59)])
    disk[-500] ^= 1
    table = table_of(disk)
    assert places(table) == [(1, 40, 20)]
    expected = f"the backup GPT in sector {SECTORS - 1} is damaged: the checksum of its header is wrong"
    assert table.findings == (expected,)


def test_both_copies_damaged() -> None:
    disk = gpt_disk(SIZE, [(40, 59)])
    disk[600] ^= 1
    disk[-500] ^= 1
    table = table_of(disk)
    assert (table.kind, table.partitions) == ("gpt", ())
    assert table.findings == ("the MBR announces a GPT, but neither of its copies is sound",)


def test_a_backup_that_is_not_at_the_end() -> None:
    disk = gpt_disk(SIZE, [(40, 59)]) + bytes(SIZE)
    table = table_of(disk)
    assert table.findings == ("the backup GPT does not stand at the end of the disk",)
    assert table.gpt is not None
    assert table.gpt.backup_sector == SECTORS - 1


def test_a_disk_that_was_cut() -> None:
    table = table_of(gpt_disk(SIZE, [(40, SECTORS - 40)])[: SIZE // 2])
    assert places(table) == [(1, 40, SECTORS - 79)]
    assert table.findings == (
        f"the backup GPT in sector {SECTORS // 2 - 1} is damaged: its header has no signature",
        "partition 1 reaches behind the end of the disk",
    )


def test_copies_that_differ() -> None:
    disk = gpt_disk(SIZE, [(40, 59)])
    disk[-33 * 512 :] = gpt_disk(SIZE, [(70, 79)])[-33 * 512 :]
    table = table_of(disk)
    assert places(table) == [(1, 40, 20)]
    assert table.findings == ("the two copies of the GPT differ: the primary is used",)


def test_a_hybrid_is_recognised() -> None:
    disk = gpt_disk(SIZE, [(40, 59)])
    disk[:512] = mbr_record({0: (0xEE, 1, 39), 1: (0x0C, 40, 20)})
    table = table_of(disk)
    assert (table.kind, places(table)) == ("hybrid", [(1, 40, 20)])
    assert "hybrid table" in table.findings[0]


def test_a_gpt_for_the_other_sector_size() -> None:
    table = table_of(gpt_disk(SIZE, [(40, 59)], 4096), 512)
    assert (table.sector_size, places(table)) == (4096, [(1, 40, 20)])
    assert "made for sectors of 4096 bytes, the disk has 512" in table.findings[0]


def test_a_gpt_without_protective_mbr() -> None:
    disk = gpt_disk(SIZE, [(40, 59)])
    disk[:512] = bytes(512)
    table = table_of(disk)
    assert (table.kind, places(table)) == ("gpt", [(1, 40, 20)])
    assert "protective MBR is missing" in table.findings[0]


def test_a_stale_gpt_behind_an_mbr() -> None:
    disk = gpt_disk(SIZE, [(40, 59)])
    disk[:512] = mbr_record({0: (0x83, 100, 20)})
    table = table_of(disk)
    assert (table.kind, places(table)) == ("mbr", [(1, 100, 20)])
    assert "a GPT that the MBR does not announce" in table.findings[0]


def test_overlap_is_said_of_neighbours_and_of_what_lies_inside() -> None:
    table = table_of(gpt_disk(SIZE, [(40, 99), (50, 59), (90, 120), (121, 130)]))
    assert table.findings == ("partitions 1 and 2 overlap", "partitions 1 and 3 overlap")


def test_an_entry_that_ends_before_it_begins() -> None:
    table = table_of(gpt_disk(SIZE, [(99, 40), (50, 59)]))
    assert places(table) == [(2, 50, 10)]
    assert table.findings == ("partition 1 ends before it begins: it is left out",)


@pytest.mark.parametrize("size", [512, 1024, 1536, 4096, 8192])
def test_tiny_and_empty_disks(size: int) -> None:
    assert table_of(bytes(size)) == PartitionTable("none", 512, None, (), ())


def test_file_systems_without_partitions() -> None:
    boot = bytearray(mbr_record({0: (0x83, 1, 1)}))
    boot[3:11] = b"NTFS    "
    assert table_of(mbr_disk({0: bytes(boot)})).kind == "none"
    noise = bytearray(mbr_record({0: (0x83, 1, 1)}))
    noise[446] = 0x20  # no boot flag: code
    assert table_of(mbr_disk({0: bytes(noise)})).kind == "none"


@pytest.mark.parametrize(
    "fields",
    [
        {"count": 0xFFFFFFFF},
        {"size": 0xFFFFFFFF},
        {"size": 0x80000000},
        {"count": 0xFFFFFFFF, "size": 0x80000000},
        {"count": 0},
        {"size": 0},
        {"size": 192},
        {"count": 8193},
    ],
)
def test_claims_are_bounded(fields: dict[str, int]) -> None:
    disk = bytearray(SIZE)
    entries = gpt_entries([(40, 50)])
    disk[:512] = protective(SECTORS)
    disk[512:1024] = gpt_header(
        entries, 1, SECTORS - 1, (34, SECTORS - 34), entries_sector=2, unit=512, **fields
    )
    disk[1024 : 1024 + len(entries)] = entries
    assert table_of(disk).partitions == ()


@pytest.mark.parametrize("sector", [0, 1, SECTORS - 31, 1 << 63, (1 << 64) - 1])
def test_entries_outside_the_disk(sector: int) -> None:
    disk = gpt_disk(SIZE, [(40, 59)])
    header = bytearray(disk[512:1024])
    struct.pack_into("<Q", header, 72, sector)
    disk[512:1024] = resealed(header)
    assert "its entries stand outside the disk" in table_of(disk).findings[0]


@pytest.mark.parametrize("sector", [0, 1, SECTORS, 1 << 63])
def test_a_backup_said_to_be_nowhere_is_looked_for_at_the_end(sector: int) -> None:
    disk = gpt_disk(SIZE, [(40, 59)])
    header = bytearray(disk[512:1024])
    struct.pack_into("<Q", header, 32, sector)
    disk[512:1024] = resealed(header)
    assert table_of(disk).findings == ()


def resealed(header: bytearray) -> bytes:
    header[16:20] = bytes(4)
    header[16:20] = struct.pack("<I", zlib.crc32(header[:92]))
    return bytes(header)


@given(st.data())
def test_any_bytes_are_read(data: st.DataObject) -> None:
    """Noise over sound tables: an answer, whatever it is, and no read outside the disk."""
    unit = data.draw(st.sampled_from([512, 4096]))
    kind = data.draw(st.sampled_from(["gpt", "mbr"]))
    disk = gpt_disk(SIZE, [(40, 59)], unit)
    if kind == "mbr":
        disk[:512] = mbr_record({0: (0x05, 20, 60), 1: (0x83, 100, 20)})
        disk[20 * unit : 20 * unit + 512] = mbr_record({0: (0x83, 2, 6), 1: (0x05, 20, 12)})
    for spot in data.draw(st.lists(st.integers(0, 21 * unit + 511), max_size=12)):
        disk[spot] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        disk[unit : 2 * unit] = resealed(bytearray(disk[unit : 2 * unit]))
    table = table_of(disk, unit)
    assert all(partition.length > 0 for partition in table.partitions)
