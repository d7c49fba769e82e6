"""The last partition made longer: at every instant the old table or the new one; sgdisk and sfdisk agree."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vhdx
from tests.cli.running import USAGE, run, succeed
from tests.interop.programs import run as program
from tests.ops.test_resize import content_of, image_of
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.support.tools import needs
from tests.write.checking import is_clean
from vhdx.disk.chain import VhdxDisk
from vhdx.partitions.grow import grown
from vhdx.partitions.read import read_table
from vhdx.partitions.table import PartitionTable

from .tables import gpt_disk, mbr_record, sound_copy
from .test_relocate import torn_states

PLACES = [(2048, 6143), (8192, 20479)]
SIZE = 16 * MIB
ROOM = "vm.vhdx"


def table_of(disk: bytearray, unit: int = 512) -> PartitionTable:
    return read_table(lambda length, offset: bytes(disk[offset : offset + length]), len(disk), unit)


# A GPT, pure ----------------------------------------------------------------------------------


@given(
    unit=st.sampled_from([512, 4096]),
    sectors=st.integers(110, 260),
    last=st.integers(46, 60),
    count=st.sampled_from([4, 128, 130]),
    turned=st.booleans(),
    seed=st.integers(0, 99),
)
def test_at_every_instant_one_of_both_tables_is_sound(
    *, unit: int, sectors: int, last: int, count: int, turned: bool, seed: int
) -> None:
    """Also where the last partition is not the last of the table."""
    places = [(45, last), (40, 44)] if turned else [(40, 44), (45, last)]
    disk = gpt_disk(sectors * unit, places, unit, count)
    number = 1 if turned else 2
    growth = grown(table_of(disk, unit), number, bytes(disk[:512]), len(disk))
    end = growth.partition.end // unit - 1
    new = [(45, end) if place[0] == 45 else place for place in places]
    states = torn_states(disk, growth.steps, seed)
    for state in states:
        copies = [sound_copy(state, sector, unit) for sector in (1, sectors - 1)]
        found = [[place[1:] for place in copy.places] for copy in copies if copy is not None]
        assert found
        assert all(each in (places, new) for each in found)
        listed = {each.number: each.end // unit - 1 for each in table_of(state, unit).partitions}
        assert listed[number] in (last, end)
    first, other = sound_copy(states[-1], 1, unit), sound_copy(states[-1], sectors - 1, unit)
    assert first is not None
    assert other is not None
    assert [place[1:] for place in first.places] == [place[1:] for place in other.places] == new
    assert first.last_usable - 4096 // unit < end <= first.last_usable or end == last
    assert table_of(states[-1], unit).findings == ()


def test_a_damaged_copy_is_no_ground_to_stand_on() -> None:
    for spot in (512 + 60, SIZE - 512 + 60):
        disk = gpt_disk(SIZE, PLACES)
        disk[spot] ^= 1
        with pytest.raises(ValueError, match="both copies of the GPT have to be sound"):
            grown(table_of(disk), 2, bytes(disk[:512]), SIZE)


def test_no_space_no_steps() -> None:
    disk = gpt_disk(SIZE, [(2048, SIZE // 512 - 34)])
    assert grown(table_of(disk), 1, bytes(disk[:512]), SIZE).steps == ()


# An MBR, pure ---------------------------------------------------------------------------------


def test_of_an_mbr_only_one_length_changes() -> None:
    disk = bytearray(mbr_record({0: (0x0C, 2048, 2048), 2: (0x83, 8192, 4096)}).ljust(SIZE, b"\0"))
    disk[:440] = pattern(1, 440)
    disk[446 + 33] = 7  # a CHS address that nobody believes
    growth = grown(table_of(disk), 3, bytes(disk[:512]), SIZE)
    (step,) = growth.steps
    assert (step.disk_offset, len(step.data)) == (0, 512)
    assert growth.partition.end == SIZE
    changed = [index for index in range(512) if step.data[index] != disk[index]]
    assert set(changed) <= {*range(446 + 37, 446 + 40), *range(446 + 44, 446 + 48)}


def test_an_mbr_reaches_no_further_than_32_bits() -> None:
    record = mbr_record({0: (0x83, 2048, 2048)})
    disk = bytearray(record.ljust(MIB, b"\0"))
    growth = grown(table_of(disk), 1, record, 8 << 40)
    assert growth.partition.end <= 0xFFFFFFFF * 512 < growth.partition.end + 4096
    assert (
        int.from_bytes(growth.steps[0].data[446 + 12 : 446 + 16], "little") == growth.partition.length // 512
    )


HYBRID = mbr_record({0: (0xEE, 1, 2047), 1: (0x83, 2048, 4096)})
EXTENDED = mbr_record({0: (0x83, 2048, 2048), 1: (0x05, 8192, 8192)}).ljust(8192 * 512, b"\0")
LOGICAL = mbr_record({0: (0x83, 2048, 4096)}, 0)


@pytest.mark.parametrize(
    ("disk", "number", "said"),
    [
        (gpt_disk(SIZE, PLACES), 1, "it is not the last one, partition 2 ends behind it"),
        (gpt_disk(SIZE, PLACES), 3, "there is no partition 3; the disk has 1, 2"),
        (gpt_disk(SIZE, [(2048, 9000), (8192, 20479)]), 2, "partition 1 overlaps it"),
        (gpt_disk(SIZE, [(2048, 9000), (2048, 9000)]), 2, "partition 1 overlaps it"),
        (HYBRID + gpt_disk(SIZE, PLACES)[512:], 2, "the table is a hybrid one"),
        ((EXTENDED + LOGICAL).ljust(SIZE, b"\0"), 5, "it is a logical one"),
        ((EXTENDED + LOGICAL).ljust(SIZE, b"\0"), 2, "it is an extended one"),
        (mbr_record({0: (0x42, 2048, 2048)}).ljust(SIZE, b"\0"), 1, "dynamic disk of Windows"),
        (bytes(SIZE), 1, "there is no partition 1; the disk has none"),
    ],
)
def test_what_cannot_grow_is_refused_before_anything_changes(
    disk: bytes | bytearray, number: int, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "disk.vhdx"
    vhdx.create(path, SIZE)
    with vhdx.open(path, "r+") as opened:
        opened.pwrite(disk, 0)
    before = path.read_bytes()
    assert said in run("resize", path, "+8M", "--grow-partition", str(number)).sentence
    assert path.read_bytes() == before


def test_a_table_of_other_sectors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhdx"
    vhdx.create(path, SIZE)
    with vhdx.open(path, "r+") as opened:
        opened.pwrite(gpt_disk(SIZE, [(256, 767)], 4096), 0)
    assert "counts in sectors of 4096 bytes" in run("resize", path, "--grow-partition", "1").sentence


# Whole images ---------------------------------------------------------------------------------


@needs("sgdisk", "sfdisk")
@pytest.mark.parametrize("word", [None, "+20M", "-2M", "+4096"])
def test_other_programs_find_the_table_sound(tmp_path: Path, word: str | None) -> None:
    path, raw = image_of(gpt_disk(SIZE, PLACES), tmp_path), tmp_path / "back.raw"
    done = vhdx.resize(path, word, grow_partition=2)
    assert done.grown_partition == 2
    assert (
        done.partitions[1].length
        == done.virtual_size_after // 4096 * 4096 - 4096 * 5 - done.partitions[1].offset
    )
    assert done.free_size < 4096
    assert is_clean(path)
    vhdx.convert(path, raw)
    assert "No problems found" in program("sgdisk", "--verify", raw)
    assert "No errors detected" in program("sfdisk", "--verify", raw)
    again = vhdx.resize(path, grow_partition=2)
    assert (again.grown_partition, again.grow_commands) == (None, ())


def test_a_disk_that_somebody_else_grew(tmp_path: Path) -> None:
    """The backup of the GPT is in the middle of the disk: it moves first."""
    path = image_of(gpt_disk(SIZE, PLACES) + bytes(8 * MIB), tmp_path)
    done = vhdx.resize(path, grow_partition=2)
    assert done.table_moved
    content = content_of(path)
    copy = sound_copy(content, len(content) // 512 - 1, 512)
    assert copy is not None
    assert copy.places[1][2] >= len(content) // 512 - 34 - 8


@needs("mkfs.ext4", "resize2fs", "e2fsck", "sgdisk", "sfdisk")
@pytest.mark.parametrize("kind", ["gpt", "mbr"])
def test_the_file_system_takes_the_space(tmp_path: Path, kind: str) -> None:
    part, raw = tmp_path / "part.raw", tmp_path / "whole.raw"
    part.write_bytes(b"")
    with part.open("r+b") as file:
        file.truncate(12 * MIB)
    program("mkfs.ext4", "-q", part)
    places = [(2048, 13 * 2048 - 1)]
    record = mbr_record({0: (0x83, 2048, 12 * 2048)}).ljust(SIZE, b"\0")
    disk = gpt_disk(SIZE, places) if kind == "gpt" else bytearray(record)
    disk[MIB : 13 * MIB] = part.read_bytes()
    path = image_of(disk, tmp_path)
    said = succeed("resize", path, "+20M", "--grow-partition", "1")
    assert "partition 1: 3" in said
    assert "Linux, grown" in said
    assert said.endswith("in a Linux guest: resize2fs /dev/sdX1\n")
    vhdx.convert(path, raw)
    assert program("sgdisk" if kind == "gpt" else "sfdisk", "--verify", raw)
    vhdx.convert(path, part, partition=1, overwrite=True)
    assert part.stat().st_size > 34 * MIB
    program("resize2fs", "-f", part)
    program("e2fsck", "-fn", part)


def test_interrupted_and_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the steps: what is durable then is the old table or the new one; the next run completes it."""
    write = VhdxDisk.pwrite
    for wanted in range(4):
        path = image_of(gpt_disk(SIZE, PLACES), tmp_path)
        left = [wanted]

        def counted(disk: VhdxDisk, data: bytes, offset: int, left: list[int] = left) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            write(disk, data, offset)

        with monkeypatch.context() as patched:
            patched.setattr(VhdxDisk, "pwrite", counted)
            with pytest.raises(KeyboardInterrupt):
                vhdx.resize(path, grow_partition=2)
        with vhdx.open(path) as disk:
            assert disk.partitions()[1].end in (10 * MIB, SIZE - 5 * 4096)
        vhdx.resize(path, grow_partition=2)
        content = content_of(path)
        copies = [sound_copy(content, sector, 512) for sector in (1, len(content) // 512 - 1)]
        assert copies[0] is not None
        assert copies[1] is not None
        assert copies[0].places == copies[1].places
        assert copies[0].places[1][2] == SIZE // 512 - 41


def test_children_beside_it_refuse(tmp_path: Path) -> None:
    path = image_of(gpt_disk(SIZE, PLACES), tmp_path)
    vhdx.create(tmp_path / "child.avhdx", parent=path)
    assert "--force" in run("resize", path, "--grow-partition", "2").sentence


@pytest.mark.parametrize("words", [[], ["--to-minimum", "--grow-partition", "1"], ["--grow-partition", "0"]])
def test_words_that_do_not_go_together(tmp_path: Path, words: list[str]) -> None:
    vhdx.create(tmp_path / ROOM, "1M")
    assert run("resize", tmp_path / ROOM, *words).code == USAGE


def test_one_step_is_one_durable_write() -> None:
    disk = gpt_disk(SIZE, PLACES)
    steps = grown(table_of(disk), 2, bytes(disk[:512]), SIZE).steps
    assert [step.what for step in steps] == [
        "primary entries",
        "primary header",
        "backup entries",
        "backup header",
    ]
    assert all(step.flush_after for step in steps)
