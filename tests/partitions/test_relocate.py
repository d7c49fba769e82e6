"""A GPT moves with the end of its disk; at every instant an independent reader finds a sound copy."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhdx.partitions.read import read_table
from vhdx.partitions.relocate import Step, free_behind, minimum_size, relocated
from vhdx.partitions.table import PartitionTable

from .tables import gpt_disk, gpt_entries, gpt_header, mbr_record, protective, sound_copy

Disk = bytearray


def table_of(disk: Disk, unit: int) -> PartitionTable:
    return read_table(lambda length, offset: bytes(disk[offset : offset + length]), len(disk), unit)


def steps_for(disk: Disk, unit: int, size: int) -> tuple[Step, ...]:
    table = table_of(disk, unit)
    assert table.gpt is not None
    return relocated(table.gpt, bytes(disk[:512]), size)


def torn_states(disk: Disk, steps: tuple[Step, ...], seed: int) -> list[Disk]:
    """The disk after every step and in the middle of each, single sectors of 512 bytes old or new."""
    rng = random.Random(seed)
    states = [Disk(disk)]
    for step in steps:
        before = states[-1]
        pieces = range(0, len(step.data), 512)
        for kept in (pieces[:1], pieces[1:], rng.sample(pieces, len(pieces) // 2)):
            torn = Disk(before)
            for start in kept:
                torn[step.disk_offset + start : step.disk_offset + start + 512] = step.data[
                    start : start + 512
                ]
            states.append(torn)
        whole = Disk(before)
        whole[step.disk_offset : step.disk_offset + len(step.data)] = step.data
        states.append(whole)
    return states


@given(
    unit=st.sampled_from([512, 4096]),
    old=st.integers(100, 260),
    new=st.integers(60, 300),
    count=st.sampled_from([1, 4, 128, 130]),
    last=st.integers(46, 60),
    broken=st.sampled_from(["neither", "primary header", "primary entries", "backup"]),
    seed=st.integers(0, 99),
)
def test_there_is_a_sound_copy_at_every_instant(
    *, unit: int, old: int, new: int, count: int, last: int, broken: str, seed: int
) -> None:
    places = ((40, 44), (45, last))[: min(2, count)]
    disk = gpt_disk(old * unit, places, unit, count)
    expected = sound_copy(disk, 1, unit)
    assert expected is not None
    spots = {"neither": 600_000_000, "primary header": unit + 60, "primary entries": 2 * unit + 40}
    spot = spots.get(broken, len(disk) - unit + 60)
    if broken != "neither":
        disk[spot] ^= 1
    table = table_of(disk, unit)
    if minimum_size(table) > new * unit:
        with pytest.raises(ValueError, match=f"need {minimum_size(table)} bytes"):
            steps_for(disk, unit, new * unit)
        return
    grown = Disk(disk).ljust(max(old, new) * unit, b"\0")
    assert table.gpt is not None
    steps = relocated(table.gpt, bytes(disk[:512]), new * unit)
    for state in torn_states(grown, steps, seed):
        ends = {old - 1, new - 1}
        copies = [sound_copy(state, sector, unit) for sector in (1, *ends) if sector < len(state) // unit]
        assert expected.places in [copy.places for copy in copies if copy is not None]
    done = state[: new * unit]
    primary, backup = sound_copy(done, 1, unit), sound_copy(done, new - 1, unit)
    assert primary is not None
    assert backup is not None
    assert primary.places == backup.places == expected.places
    assert (primary.other_sector, backup.other_sector) == (new - 1, 1)
    assert primary.last_usable == backup.last_usable == new - 2 - -(-count * 128 // unit)
    assert done[454:462] == protective(new)[454:462]
    again = table_of(done, unit)
    assert again.findings == ()
    assert free_behind(again, len(done)) == len(done) - minimum_size(again) or count < 2


def test_the_steps_have_their_order() -> None:
    steps = steps_for(gpt_disk(1 << 20, [(40, 50)]), 512, 2 << 20)
    assert [step.what for step in steps] == [
        "backup entries",
        "backup header",
        "primary header",
        "protective MBR",
    ]
    assert all(step.flush_after for step in steps)


def test_a_damaged_primary_comes_first() -> None:
    disk = gpt_disk(1 << 20, [(40, 50)])
    disk[512 + 30] ^= 1
    names = [step.what for step in steps_for(disk, 512, (1 << 20) + 512)]
    assert names[:2] == ["primary entries", "primary header"]
    assert len(names) == 6


@pytest.mark.parametrize("entries_sector", range(2, 10))
def test_a_primary_is_not_restored_over_the_entries_of_its_backup(entries_sector: int) -> None:
    """Which stand wherever the backup's header says. Found by fuzzing."""
    disk, entries = Disk(1 << 20), gpt_entries([(40, 50)], 16)
    last = len(disk) // 512 - 1
    header = gpt_header(entries, last, 1, (20, last - 5), entries_sector=entries_sector, unit=512)
    disk[:512] = protective(last + 1)
    disk[entries_sector * 512 : entries_sector * 512 + len(entries)] = entries
    disk[last * 512 :] = header
    for size in (1 << 20, 2 << 20):
        grown = Disk(disk).ljust(size, b"\0")
        for state in torn_states(grown, steps_for(disk, 512, size), seed=entries_sector):
            copies = [sound_copy(state, sector, 512) for sector in (1, last, size // 512 - 1)]
            assert any(copies)


def test_the_minimum_is_what_gdisk_needs() -> None:
    table = table_of(gpt_disk(1 << 20, [(40, 99), (60, 70)]), 512)
    assert minimum_size(table) == (100 + 33) * 512
    assert free_behind(table, 1 << 20) == (2048 - 133) * 512
    assert minimum_size(table_of(gpt_disk(1 << 20, []), 512)) == (34 + 33) * 512


def test_the_minimum_of_an_mbr_is_its_last_partition() -> None:
    disk = Disk(1 << 20)
    disk[:512] = mbr_record({1: (0x83, 100, 60), 3: (0x83, 20, 5)})
    table = table_of(disk, 512)
    assert (minimum_size(table), free_behind(table, 1 << 20)) == (160 * 512, (2048 - 160) * 512)


def test_an_mbr_that_is_not_plain_stays() -> None:
    disk = gpt_disk(1 << 20, [(40, 50)])
    for record in (
        mbr_record({0: (0xEE, 1, 39), 1: (0x83, 40, 11)}),
        mbr_record({0: (0xEE, 1, 0xFFFFFFFF)}),
        bytes(512),
    ):
        disk[:512] = record
        assert [step.what for step in steps_for(disk, 512, 2 << 20)][-1] == "primary header"


def test_entries_where_partitions_may_be_are_not_written() -> None:
    disk = gpt_disk(1 << 20, [(40, 50)])
    header = bytearray(disk[512:1024])
    struct.pack_into("<Q", header, 40, 10)  # the first usable sector
    disk[512:1024] = _resealed(header)
    with pytest.raises(ValueError, match="stand where partitions may be"):
        steps_for(disk, 512, 2 << 20)


@pytest.mark.parametrize("first", [0, 1, 33])
def test_a_partition_over_the_table_is_not_written_to(first: int) -> None:
    with pytest.raises(ValueError, match="begins where the GPT itself may stand"):
        steps_for(gpt_disk(1 << 20, [(40, 50), (first, 39)]), 512, 2 << 20)


def _resealed(header: bytearray) -> bytes:
    import zlib  # noqa: PLC0415

    header[16:20] = bytes(4)
    header[16:20] = struct.pack("<I", zlib.crc32(header[:92]))
    return bytes(header)


@pytest.mark.parametrize("size", [1000, (1 << 20) + 512])
def test_sizes_that_are_no_sectors(size: int) -> None:
    disk = gpt_disk(1 << 20, [], 4096)
    with pytest.raises(ValueError, match="whole number of sectors"):
        steps_for(disk, 4096, size)
