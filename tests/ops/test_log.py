"""The log as it stands, and what its replay would change, against replays made by hand."""

import random
from pathlib import Path

import numpy as np
import pytest

from tests.hostile.images import clean, dirty
from tests.support.build import ImageBuilder
from tests.support.damage import damage, overwrite
from tests.support.layout import KIB, MIB, PARTIALLY_PRESENT, REGION_TABLE_OFFSETS, SECTOR, ZERO_GUID
from tests.support.logs import Data, Entry, LogBuilder, Zero, difference, session_guid
from tests.support.naive import naive_active_sequence, naive_replayed
from tests.support.parts import Block, Header
from tests.support.patterns import pattern
from tests.support.structures import HEADER, locate, structures
from vhdx.errors import CorruptImageError, UnsupportedImageError, VhdxError
from vhdx.ops.log import LogEntry, open_log, open_log_changes
from vhdx.ops.replay_changes import Change


def entries(path: Path) -> list[LogEntry]:
    with open_log(path) as report:
        return list(report.entries)


def states(path: Path) -> list[tuple[int, str]]:
    return [(entry.position, entry.state) for entry in entries(path)]


def changes(path: Path) -> list[Change]:
    with open_log_changes(path) as report:
        return list(report.changes)


def test_every_state(tmp_path: Path) -> None:
    log = LogBuilder(length=MIB, guid=session_guid(7), position=64 * SECTOR)
    log.add(Data(2 * MIB, bytes(SECTOR)))
    log.guid, log.sequence_number, log.position = session_guid(8), 50, 0
    log.add()
    tail = log.add(Data(3 * MIB, bytes(SECTOR)), Zero(3 * MIB + SECTOR, 2 * SECTOR))
    log.add(tail=tail)
    log.position, log.sequence_number = 32 * SECTOR, 99
    log.add(tail=0)  # its tail is none of its run
    log.position = 40 * SECTOR
    log.place(Entry((Data(3 * MIB, bytes(SECTOR), sequence_low=5),), 60, log_guid=log.guid))
    path = ImageBuilder(log=log).write(tmp_path / "a.vhdx")
    found = entries(path)
    assert [(entry.position // SECTOR, entry.state) for entry in found] == [
        (0, "applied"),
        (1, "active"),
        (3, "active"),
        (32, "orphan"),
        (40, "damaged"),
        (64, "stale"),
    ]
    assert found[4].fault == "torn: sector 1 is no data sector with its sequence number"
    assert found[5].log_guid == session_guid(7)
    assert found[0].file_offset == MIB
    with open_log(path) as report:
        assert (report.state, report.active_entries, report.obstacle) == ("dirty", 2, None)
        assert (report.first_sequence_number, report.last_sequence_number) == (51, 52)
        second = [*report.entries][1]
        assert [(each.kind, each.file_offset, each.length) for each in second.descriptors] == [
            ("data", 3 * MIB, SECTOR),
            ("zero", 3 * MIB + SECTOR, 2 * SECTOR),
        ]


def test_whose_places_descriptors_name(tmp_path: Path) -> None:
    image = ImageBuilder(3 * MIB).child()
    image.blocks = {0: Block(state=PARTIALLY_PRESENT, present={0})}
    plan = image.plan()
    log = LogBuilder()
    places: tuple[int, ...] = (192 * KIB, 256 * KIB, plan.metadata_offset, plan.metadata_offset + 64 * KIB)
    places += (plan.bat_offset + 2 * SECTOR, plan.bitmaps[0], plan.blocks[0], 300 * MIB)
    log.add(*(Data(place, bytes(SECTOR)) for place in places))
    image.log = log
    path = image.write(tmp_path / "a.vhdx")
    with open_log(path) as report:
        (entry,) = report.entries
        assert [each.structure for each in entry.descriptors] == [
            "region table 1",
            "region table 2",
            "metadata table",
            "metadata items",
            "BAT entries 1024 to 1535",
            "sector bitmap of chunk 0",
            "payload block 0",
            "free space",
        ]


def test_a_clean_log_shows_what_was_left(tmp_path: Path) -> None:
    image = dirty()
    image.log_guid = ZERO_GUID
    path = image.write(tmp_path / "a.vhdx")
    with open_log(path) as report:
        assert (report.state, report.active_entries) == ("clean", 0)
    assert [state for _, state in states(path)] == ["stale"] * 3
    assert changes(path) == []


def test_the_states_are_those_of_a_naive_scan(tmp_path: Path) -> None:
    path = dirty().write(tmp_path / "a.vhdx")
    log = path.read_bytes()[MIB : 2 * MIB]
    sequence = naive_active_sequence(log, session_guid(1), MIB)
    assert sequence is not None
    replayed = [entry.offset for entry in naive_replayed(sequence)]
    assert [position for position, state in states(path) if state == "active"] == replayed


def test_what_replay_changes(tmp_path: Path) -> None:
    path = dirty().write(tmp_path / "a.vhdx")
    found = {change.structure: change for change in changes(path)}
    plan = clean().plan()
    assert found["BAT entry 0 (payload block 0)"][3:] == ("FULLY_PRESENT at 6 MiB", "FULLY_PRESENT at 4 MiB")
    assert found["BAT entry 2 (payload block 2)"] == Change(
        "BAT entry 2 (payload block 2)", plan.bat_offset + 16, 8, "NOT_PRESENT", "FULLY_PRESENT at 5 MiB"
    )


def _after_replay(path: Path) -> bytes:
    """The file after a replay made of nothing but the naive scan."""
    data = bytearray(path.read_bytes())
    guid = session_guid(1)
    sequence = naive_active_sequence(bytes(data[MIB : 2 * MIB]), guid, MIB)
    assert sequence is not None
    for entry in naive_replayed(sequence):
        for target, size, written in entry.writes:
            data.extend(bytes(max(0, target + size - len(data))))
            data[target : target + size] = bytes(size) if written is None else written
    data.extend(bytes(max(0, -(-sequence[-1].last_file_offset // MIB) * MIB - len(data))))
    return bytes(data)


def _random_dirty(seed: int) -> ImageBuilder:
    """Sectors and runs of zeros all over the structures, over each other, and past the end of the file."""
    chance = random.Random(seed)
    image = ImageBuilder(5 * MIB + 512).child()
    image.blocks = {number: Block(pattern(number, MIB), PARTIALLY_PRESENT, present={3}) for number in (0, 2)}
    plan, whole = image.plan(), image.build()
    starts = [*REGION_TABLE_OFFSETS.values(), plan.metadata_offset, plan.metadata_offset + 64 * KIB]
    starts += [
        plan.bat_offset,
        plan.bat_offset,
        plan.bitmaps[0],
        plan.blocks[0],
        plan.end,
        plan.end + 3 * SECTOR,
    ]
    log = LogBuilder(flushed_file_offset=0, last_file_offset=chance.choice((0, plan.end, plan.end + 2 * MIB)))
    tail = 0
    for _ in range(chance.randrange(1, 5)):
        descriptors: list[Data | Zero] = []
        for _ in range(chance.randrange(6)):
            at = chance.choice(starts) + chance.randrange(3) * SECTOR
            sector = bytearray(whole[at : at + SECTOR].ljust(SECTOR, b"\0"))
            for _ in range(chance.randrange(4)):
                sector[chance.randrange(600)] = chance.randrange(256)
            is_zero = chance.random() < 0.2 and at >= plan.bat_offset
            descriptors.append(Zero(at, chance.randrange(4) * SECTOR) if is_zero else Data(at, bytes(sector)))
        tail = log.add(*descriptors, tail=chance.choice((tail, log.position)))
    image.log = log
    return image


@pytest.mark.parametrize("seed", range(60))
def test_every_byte_that_replay_changes_is_told_and_no_other(seed: int, tmp_path: Path) -> None:
    path = _random_dirty(seed).write(tmp_path / "a.vhdx")
    before, after = path.read_bytes(), _after_replay(path)
    told: set[int] = set()
    for change in changes(path):
        if change.structure == "the file's length":
            assert (change.file_offset, change.length) == (len(before), len(after) - len(before))
            continue
        place = slice(change.file_offset, change.file_offset + change.length)
        assert before.ljust(len(after), b"\0")[place] != after[place], change
        told.update(range(place.start, place.stop))
    padded = before.ljust(len(after), b"\0")
    differing = np.flatnonzero(np.frombuffer(padded, np.uint8) != np.frombuffer(after, np.uint8))
    assert set(differing.tolist()) <= told


def test_fields_are_named(tmp_path: Path) -> None:
    image, grown = ImageBuilder(4 * MIB), ImageBuilder(7 * MIB)
    child, grown_child = image.child(), grown.child()
    child.blocks = grown_child.blocks = {0: Block(state=PARTIALLY_PRESENT, present={0, 1})}
    grown_child.blocks = {0: Block(state=PARTIALLY_PRESENT, present=range(9, 20))}
    grown_child.region_required = 0
    log = LogBuilder()
    log.add(*difference(child.build(), grown_child.build(), 192 * KIB))
    child.log = log
    found = {
        change.structure: (change.before, change.after) for change in changes(child.write(tmp_path / "a"))
    }
    assert found["metadata item: virtual disk size"] == ("4194304 (4 MiB)", "7340032 (7 MiB)")
    assert found["region table 2, entry 0 (BAT region): required"] == ("1 (required)", "0")
    assert found["sector bitmap of chunk 0: bits 0 to 1"] == ("set", "clear")
    assert found["sector bitmap of chunk 0: bits 9 to 19"] == ("clear", "set")


def test_images_that_cannot_be_opened(tmp_path: Path) -> None:
    path = dirty().write(tmp_path / "a.vhdx")
    for copy in (1, 2):
        overwrite(path, REGION_TABLE_OFFSETS[copy], b"gone" * 64)
    assert [state for _, state in states(path)] == ["applied", "active", "active"]
    assert {change.structure.partition(":")[0] for change in changes(path)} == {
        "free space or a payload block"
    }
    with path.open("r+b") as file:
        file.truncate(MIB + 100 * KIB)
    assert [state for _, state in states(path)] == ["applied", "active", "active"]
    damage(path, HEADER, "log_guid", session_guid(5).bytes_le, copy=2)
    with open_log(path) as report:
        assert report.obstacle == "no complete sequence of entries carries the log GUID"
    with pytest.raises(CorruptImageError, match="no complete sequence"):
        changes(path)


def test_no_header_no_log(tmp_path: Path) -> None:
    image = ImageBuilder(headers={1: Header(checksum=1), 2: Header(checksum=2)})
    with (
        pytest.raises(CorruptImageError, match="neither header is valid"),
        open_log(image.write(tmp_path / "a")),
    ):
        pass


def test_a_run_of_zeros_over_a_hole_costs_nothing(tmp_path: Path) -> None:
    log = LogBuilder()
    log.add(Zero(1 << 45, 1 << 46), Zero(64 * MIB, 1 << 40))
    path = ImageBuilder(log=log).write(tmp_path / "a.vhdx")
    assert [change.structure for change in changes(path)] == ["the file's length"]
    log.add(Zero(1 << 45, 1 << 62), tail=0)
    ImageBuilder(log=log).write(path)
    with pytest.raises(CorruptImageError, match="256 TiB"):
        changes(path)


def test_a_log_too_large_for_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vhdx.journal.replay.OVERLAY_LIMIT", 2)
    log = LogBuilder()
    log.add(*(Data(3 * MIB + number * SECTOR, bytes(SECTOR)) for number in range(3)))
    path = ImageBuilder(log=log).write(tmp_path / "a.vhdx")
    assert len(states(path)) == 1
    with pytest.raises(UnsupportedImageError, match="too many"):
        changes(path)


@pytest.mark.parametrize("seed", range(40))
def test_hostile_logs(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = dirty().write(tmp_path / "a.vhdx")
    places = [locate(path, structure, copy) for structure, copy in structures(path)]
    for place in chance.sample(places, 4):
        overwrite(path, place + chance.randrange(32), chance.choice([b"\xff" * 8, chance.randbytes(8)]))
    try:
        with open_log(path) as report:
            assert sum(len(list(entry.descriptors)) for entry in report.entries) < 20
        assert isinstance(changes(path), list)
    except (VhdxError, OSError) as error:
        assert str(error)  # noqa: PT017
