"""Tables for other sectors: partitions stay at their bytes, or the table stays; another reader agrees."""

import struct
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhdx.partitions.read import read_table
from vhdx.partitions.resector import Rewritten, rewritten
from vhdx.partitions.table import PartitionTable

from .tables import gpt_disk, mbr_record, protective, sound_copy

SIZE = 1 << 20
Disk = bytearray
OTHER = {512: 4096, 4096: 512}


def table_of(disk: Disk, unit: int) -> PartitionTable:
    return read_table(lambda length, offset: bytes(disk[offset : offset + length]), len(disk), unit)


def converted(disk: Disk, unit: int, new: int) -> tuple[Disk, Rewritten]:
    """The disk for new sectors, rounded up, and what was said."""
    size = -(-len(disk) // new) * new

    def read(length: int, offset: int) -> bytes:
        return bytes(disk[offset : offset + length]).ljust(length, b"\0")

    found = rewritten(read, table_of(disk, unit), size, new)
    result = Disk(disk).ljust(size, b"\0")
    for offset, data in found.patches:
        assert offset + len(data) <= size
        result[offset : offset + len(data)] = data
    return result, found


def byte_places(table: PartitionTable) -> list[tuple[int, int, int, str]]:
    return [(p.number, p.offset, p.length, p.unique_id) for p in table.partitions]


def filled(disk: Disk, places: list[tuple[int, int]]) -> None:
    for number, (start, end) in enumerate(places, 1):
        disk[start:end] = bytes([number]) * (end - start)


@given(
    unit=st.sampled_from([512, 4096]),
    odd=st.integers(0, 7),
    borders=st.sets(st.integers(7, 60), min_size=2, max_size=7),
    count=st.sampled_from([8, 128]),
)
def test_a_gpt_is_rewritten(unit: int, odd: int, borders: set[int], count: int) -> None:
    new, size = OTHER[unit], 80 * 4096 + (odd * 512 if unit == 512 else 0)
    cuts = sorted(borders)
    places = [(first * 4096, last * 4096) for first, last in pairwise(cuts)]
    disk = gpt_disk(size, [(first // unit, last // unit - 1) for first, last in places], unit, count)
    filled(disk, places)
    result, found = converted(disk, unit, new)
    assert found.remarks == (f"the partition table was rewritten for sectors of {new} bytes",)
    before, after = table_of(disk, unit), table_of(result, new)
    assert byte_places(after) == byte_places(before)
    assert (after.kind, after.sector_size, after.findings) == ("gpt", new, ())
    for start, end in places:
        assert result[start:end] == disk[start:end]
    sectors = len(result) // new
    primary, backup = sound_copy(result, 1, new), sound_copy(result, sectors - 1, new)
    assert primary is not None
    assert backup is not None
    assert primary.places == backup.places
    assert [(first * new, (last + 1) * new) for _, first, last in primary.places] == places
    assert sound_copy(result, 1, unit) is None
    assert sound_copy(result, len(disk) // unit - 1, unit) is None
    assert result[454:462] == protective(sectors)[454:462]
    back, again = converted(result, new, unit)
    assert again.remarks == (f"the partition table was rewritten for sectors of {unit} bytes",)
    assert byte_places(table_of(back, unit)) == byte_places(before)


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        ([(2048, 4095), (5001, 5007)], "partition 2 begins at byte 2560512, which is no multiple of 4096"),
        ([(2048, 4094)], "partition 1 ends at byte 2096640, which is no multiple of 4096"),
        ([(40, 47)], "there is no room for it, 24576 bytes, before the first partition"),
        ([(2048, 8192 - 34)], "partition 1 ends at byte 4177408"),
        ([(2056, 2047)], "partition 1 ends before it begins"),
    ],
)
def test_where_a_gpt_stays(places: list[tuple[int, int]], reason: str) -> None:
    disk = gpt_disk(4 << 20, places)
    result, found = converted(disk, 512, 4096)
    assert found.patches == ()
    assert result == disk
    assert reason in found.remarks[0]
    assert found.remarks[0].startswith("the partition table stays as it is, for sectors of 512 bytes, and ")


@pytest.mark.parametrize(("behind", "fits"), [(20480, True), (20480 - 4096, False)])
def test_room_for_the_backup(behind: int, fits: bool) -> None:
    disk = gpt_disk(4 << 20, [(2048, ((4 << 20) - behind) // 512 - 1)], count=120)
    result, found = converted(disk, 512, 4096)
    assert bool(found.patches) == fits
    if not fits:
        assert result == disk
        assert "there is no room for its backup, 20480 bytes, behind the last" in found.remarks[0]


def test_entries_at_an_unusual_place() -> None:
    from .test_read import resealed  # noqa: PLC0415

    disk = gpt_disk(4 << 20, [(2048, 4095)])
    header = bytearray(disk[512:1024])
    struct.pack_into("<Q", header, 72, 64)
    disk[64 * 512 : 64 * 512 + 16384] = disk[1024 : 1024 + 16384]
    disk[512:1024] = resealed(header)
    result, found = converted(disk, 512, 4096)
    assert (result, "right behind its header" in found.remarks[0]) == (disk, True)


def test_a_damaged_copy_is_as_good_as_new_afterwards() -> None:
    for spot in (600, -500):
        disk = gpt_disk(4 << 20, [(2048, 4095)])
        disk[spot] ^= 1
        result, _ = converted(disk, 512, 4096)
        assert table_of(result, 4096).findings == ()


def test_hybrid_and_lost_tables_stay() -> None:
    hybrid = gpt_disk(SIZE, [(40, 47)])
    hybrid[:512] = mbr_record({0: (0xEE, 1, 39), 1: (0x0C, 40, 8)})
    lost = gpt_disk(SIZE, [(40, 47)])
    lost[600] ^= 1
    lost[-500] ^= 1
    for disk, reason in ((hybrid, "a hybrid one"), (lost, "neither of its copies is sound")):
        result, found = converted(disk, 512, 4096)
        assert (result, reason in found.remarks[0]) == (disk, True)


def mbr_disk(unit: int, **changes: Any) -> Disk:
    """Primary and logical partitions, all borders at multiples of 4096."""
    scale = 4096 // unit
    disk = Disk(SIZE)
    records = {
        0: {0: (0x83, 8 * scale, 4 * scale), 2: (0x05, 20 * scale, 60 * scale)},
        20: {0: (0x83, 2 * scale, 6 * scale), 1: (0x05, 20 * scale, 12 * scale)},
        40: {0: (0x82, scale, 11 * scale), 1: (0x05, 40 * scale, 12 * scale)},
        60: {0: (0x83, scale, 11 * scale)},
    }
    for place, entries in records.items():
        disk[place * 4096 : place * 4096 + 512] = mbr_record({**entries, **changes.get(f"at{place}", {})})
        disk[place * 4096 + 512 : place * 4096 + 600] = b"z" * 88
    return disk


@pytest.mark.parametrize("unit", [512, 4096])
def test_an_mbr_with_logical_partitions(unit: int) -> None:
    disk, new = mbr_disk(unit), OTHER[unit]
    before = table_of(disk, unit)
    assert len(before.partitions) == 5
    result, found = converted(disk, unit, new)
    assert found.remarks == (f"the partition table was rewritten for sectors of {new} bytes",)
    after = table_of(result, new)
    assert (byte_places(after), after.findings) == (byte_places(before), ())
    records = {at for place in (0, 20, 40, 60) for at in range(place * 4096, place * 4096 + 512)}
    assert {at for at in range(SIZE) if disk[at] != result[at]} <= records
    back, _ = converted(result, new, unit)
    assert byte_places(table_of(back, unit)) == byte_places(before)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"at0": {1: (0x07, 63, 65)}}, "partition 2 begins at byte 32256"),
        ({"at0": {1: (0x07, 64, 63)}}, "partition 2 ends at byte 65024"),
        ({"at20": {0: (0x83, 17, 47)}}, "a logical partition begins at byte 8704"),
        ({"at20": {1: (0x05, 161, 80)}}, "sector 321 is no record of a logical partition"),
        ({"at20": {1: (0x05, 0, 80)}}, "comes back to sector 160"),
    ],
)
def test_where_an_mbr_stays(changes: dict[str, Any], reason: str) -> None:
    disk = mbr_disk(512, **changes)
    result, found = converted(disk, 512, 4096)
    assert (result, found.patches) == (disk, ())
    assert reason in found.remarks[0]


def test_what_an_mbr_cannot_tell_in_small_sectors() -> None:
    disk = Disk(SIZE)
    disk[:512] = mbr_record({0: (0x83, 256, 1 << 29)})
    result, found = converted(disk, 4096, 512)
    assert (result, "behind what an MBR can tell" in found.remarks[0]) == (disk, True)


def test_a_record_that_does_not_stand_on_a_sector() -> None:
    disk = Disk(SIZE)
    disk[:512] = mbr_record({0: (0x05, 160, 480)})
    disk[160 * 512 : 161 * 512] = mbr_record({0: (0x83, 8, 8), 1: (0x05, 8 + 1, 8)})
    disk[169 * 512 : 170 * 512] = mbr_record({0: (0x83, 7, 8)})
    result, found = converted(disk, 512, 4096)
    assert result == disk
    assert "begins at byte" in found.remarks[0] or "stands at byte" in found.remarks[0]


def test_chs_fields_are_those_of_the_new_sectors() -> None:
    disk, _ = converted(mbr_disk(512), 512, 4096)
    assert disk[447:450] + disk[451:454] == bytes((0, 9, 0, 0, 12, 0))
    link = 40 * 4096  # its partition counts from the record, the next record from the extended partition
    assert disk[link + 447 : link + 450] + disk[link + 451 : link + 454] == bytes((0, 42, 0, 0, 52, 0))
    assert disk[link + 463 : link + 466] + disk[link + 467 : link + 470] == bytes((0, 61, 0, 1, 9, 0))


def boot_sector(name: bytes, unit: int) -> bytes:
    boot = bytearray(4096)
    boot[0], boot[13], boot[16], boot[510:512] = 0xEB, 8, 2, b"\x55\xaa"
    boot[11:13] = struct.pack("<H", unit)
    boot[3 : 3 + len(name)] = name
    boot[108] = unit.bit_length() - 1
    return bytes(boot)


def ext(shift: int) -> bytes:
    block = bytearray(4096)
    block[1080:1082], block[1048] = b"\x53\xef", shift
    return bytes(block)


def fat32(unit: int) -> bytes:
    return boot_sector(b"mkfs.fat", unit)[:82] + b"FAT32" + boot_sector(b"", unit)[87:]


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (boot_sector(b"NTFS    ", 512), "NTFS with sectors of 512 bytes"),
        (boot_sector(b"NTFS    ", 4096), None),
        (boot_sector(b"-FVE-FS-", 512), "BitLocker with sectors of 512 bytes"),
        (boot_sector(b"EXFAT   ", 512), "exFAT with sectors of 512 bytes"),
        (boot_sector(b"ReFS\0\0\0\0", 512)[:32] + b"\0\2\0\0" + bytes(4060), "ReFS with sectors of 512"),
        (fat32(512), "FAT with sectors of 512 bytes"),
        (fat32(4096), None),
        (ext(0), "ext2/3/4 with blocks of 1024 bytes"),
        (ext(2), None),
        (b"XFSB" + bytes(98) + b"\2\0" + bytes(3992), "XFS with blocks of 512 bytes"),
        (b"XFSB" + bytes(98) + b"\x10\0" + bytes(3992), None),
        (bytes(4096), None),
    ],
)
@pytest.mark.parametrize("whole", [False, True])
def test_file_systems_that_are_made_for_other_sectors(start: bytes, said: str | None, whole: bool) -> None:
    disk = Disk(4 << 20) if whole else gpt_disk(4 << 20, [(2048, 4095)])
    where = 0 if whole else 1 << 20
    disk[where : where + 4096] = start
    _, found = converted(disk, 512, 4096)
    spoken = [remark for remark in found.remarks if " holds " in remark]
    if said is None:
        assert spoken == []
    else:
        name = "the disk" if whole else "partition 1"
        assert spoken[0].startswith(f"{name} holds {said}")
        assert spoken[0].endswith("which systems may refuse on sectors of 4096")


def test_boot_code_is_worth_a_word() -> None:
    disk = mbr_disk(512)
    disk[:3] = b"\xeb\x63\x90"
    _, found = converted(disk, 512, 4096)
    assert found.remarks[1] == "the boot code in the first sector may count in sectors of 512 bytes"


@given(st.data())
def test_noise_is_refused_or_rewritten(data: st.DataObject) -> None:
    unit = data.draw(st.sampled_from([512, 4096]))
    disk = gpt_disk(SIZE, [(40, 47), (48, 55)], unit) if data.draw(st.booleans()) else mbr_disk(unit)
    for spot in data.draw(st.lists(st.integers(0, 3 * unit) | st.integers(80 * 1024, 81 * 1024), max_size=9)):
        disk[spot] = data.draw(st.integers(0, 255))
    result, found = converted(disk, unit, OTHER[unit])
    if found.patches:
        before, after = table_of(disk, unit), table_of(result, OTHER[unit])
        if before.sector_size == unit:
            assert byte_places(after) == byte_places(before)
