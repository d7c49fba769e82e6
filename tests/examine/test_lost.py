"""A lost beginning, lost metadata, and logs that nobody names any more: what is found again, and how.

`test_losses` has the table of all losses.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

import vhdx
from tests.partitions.tables import gpt_disk
from tests.support.build import ImageBuilder
from tests.support.layout import KIB, MIB, PARTIALLY_PRESENT, SECTOR
from tests.support.logs import Data, Entry, LogBuilder
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.reading import whole
from vhdx import VhdxError
from vhdx.disk.open import open_disk

SIZE = 4 * MIB
KINDS = ["dynamic", "fixed", "differencing"]


class Made(NamedTuple):
    """An image and the places of its structures: name to (start, length)."""

    image: ImageBuilder
    places: dict[str, tuple[int, int]]


def made(kind: str, sector: int, *, is_dirty: bool) -> Made:
    image = ImageBuilder(SIZE, logical_sector_size=sector)
    if kind == "differencing":
        image = image.child()
    elif kind == "fixed":
        image = ImageBuilder(SIZE, logical_sector_size=sector, disk_type="fixed")
    for number in range(4 if kind == "fixed" else 3):
        image.blocks[number] = Block(pattern(number, MIB))
    if kind == "differencing":
        image.blocks[1] = Block(pattern(1, MIB), PARTIALLY_PRESENT, present=b"\xff" * (MIB // sector // 16))
    if is_dirty:
        plan = image.plan()
        log = LogBuilder(sequence_number=1)
        target = plan.metadata_offset + MIB - SECTOR
        log.place(Entry([Data(target, pattern(9, SECTOR))], log_guid=log.guid, sequence_number=1))
        image.log = log
    plan = image.plan()
    places = {
        "identifier": (0, 64 * KIB),
        "header 1": (64 * KIB, SECTOR),
        "header 2": (128 * KIB, SECTOR),
        "region table 1": (192 * KIB, 64 * KIB),
        "region table 2": (256 * KIB, 64 * KIB),
        "log": (plan.log_offset, MIB),
        "metadata table": (plan.metadata_offset, 64 * KIB),
        "metadata items": (plan.metadata_offset + 64 * KIB, 64 * KIB),
    }
    return Made(image, places)


def damaged(data: bytes, ranges: list[tuple[int, int]], junk: bool) -> bytes:
    lost = bytearray(data)
    for start, length in ranges:
        lost[start : start + length] = pattern(77, length) if junk else bytes(length)
    return bytes(lost)


def salvaged(path: Path) -> tuple[bytes, list[vhdx.Doubt]] | None:
    try:
        with open_disk(path, salvage=True) as disk:
            return whole(disk), list(disk.doubts)
    except VhdxError:
        return None


def whole_of(path: Path, sound: bytes) -> tuple[bytes, list[vhdx.Doubt]]:
    """What a sound file says, which is written there."""
    path.write_bytes(sound)
    found = salvaged(path)
    assert found is not None
    return found


def ranges_of(doubts: Iterable[vhdx.Doubt]) -> list[tuple[int, int]]:
    return [(doubt.offset, doubt.length) for doubt in doubts]


@pytest.mark.parametrize("is_dirty", [False, True], ids=["clean", "dirty"])
@pytest.mark.parametrize(
    ("kind", "lost"), [*((k, MIB) for k in KINDS), *(("dynamic", n * KIB) for n in (1, 64, 128, 192, 320))]
)
def test_a_lost_beginning_is_no_loss(kind: str, is_dirty: bool, lost: int, tmp_path: Path) -> None:
    image, _ = made(kind, 512, is_dirty=is_dirty)
    path = image.write(tmp_path / "image.vhdx")
    expected = salvaged(path)
    with open(path, "r+b") as file:
        file.write(pattern(77, lost))
    assert salvaged(path) == expected
    result = vhdx.check(path)
    assert "identifier.signature" in result.codes
    assert result.findings[0].repairable in {"yes", "rebuild"}
    needs_search = lost > 128 * KIB
    repaired = vhdx.repair(path, rebuild=needs_search)
    assert repaired.done, repaired.refused
    assert repaired.left.errors == 0
    assert salvaged(path) == expected
    assert vhdx.check(path).errors == 0


def test_a_dirty_log_is_told_from_one_that_was_emptied(tmp_path: Path) -> None:
    image, places = made("dynamic", 512, is_dirty=True)
    plan = image.plan()
    target = plan.bat_offset
    entries = image.build()[target : target + SECTOR]
    log = LogBuilder(sequence_number=1)
    log.place(Entry([Data(target, entries)], log_guid=log.guid, sequence_number=1))
    image.log = log
    path = tmp_path / "image.vhdx"
    for is_applied in (True, False):
        data = bytearray(image.build())
        if not is_applied:
            data[target : target + SECTOR] = bytes(SECTOR)
        path.write_bytes(damaged(bytes(data), [places["header 1"], places["header 2"]], junk=False))
        result = vhdx.repair(path, rebuild=True)
        said = "stands in the file already" if is_applied else "entries 1 to 1 of the log"
        assert any(said in sentence for sentence in result.done), result
        with open_disk(path) as disk:
            assert disk.pread(MIB, MIB) == pattern(1, MIB)
            assert disk.layers[0].header.log_guid.int == 0
            assert disk.layers[0].header.file_write_guid != disk.layers[0].header.data_write_guid


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_that_was_overwritten_is_not_taken_for_an_empty_one(kind: str, tmp_path: Path) -> None:
    image, places = made(kind, 512, is_dirty=True)
    path = tmp_path / "image.vhdx"
    lost = damaged(image.build(), [(0, sum(places["log"]))], junk=True)
    path.write_bytes(lost)
    found = salvaged(path)
    assert found is not None
    assert ranges_of(found[1])[0] == (0, SIZE)
    refused = vhdx.repair(path, rebuild=True).refused
    assert refused is not None
    assert "no log is left" in refused
    assert path.read_bytes() == lost


def test_of_two_sessions_nothing_is_guessed(tmp_path: Path) -> None:
    image, places = made("dynamic", 512, is_dirty=True)
    target = image.plan().bat_offset
    log = LogBuilder(sequence_number=7)
    for guid in (log.guid, image.guid("another session")):
        log.place(Entry([Data(target, pattern(5, SECTOR))], log_guid=guid, sequence_number=7))
    image.log = log
    lost = damaged(image.build(), [places["header 1"], places["header 2"]], junk=False)
    path = tmp_path / "image.vhdx"
    path.write_bytes(lost)
    result = vhdx.repair(path, rebuild=True)
    assert "2 sessions" in (result.refused or "")
    assert path.read_bytes() == lost
    found = salvaged(path)
    assert found is not None
    assert (found[1][0].offset, found[1][0].length) == (0, SIZE)
    assert vhdx.repair(path, rebuild=True, accept_data_loss=True).left.errors == 0


def test_no_search_makes_an_image_of_what_is_none(tmp_path: Path) -> None:
    path = tmp_path / "image.vhdx"
    path.write_bytes(pattern(1, 4 * MIB))
    for verb in (vhdx.check, vhdx.repair, lambda p: open_disk(p, salvage=True)):
        with pytest.raises(vhdx.CorruptImageError):
            verb(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sector", [512, 4096])
def test_what_the_metadata_have_lost_can_be_told(kind: str, sector: int, tmp_path: Path) -> None:
    image, places = made(kind, sector, is_dirty=False)
    sound, path = image.build(), tmp_path / "image.vhdx"
    expected = whole_of(path, sound)
    start = places["metadata items"][0]
    path.write_bytes(damaged(sound, [(start, 40)], junk=False))
    assert salvaged(path) is None
    refused = vhdx.repair(path, rebuild=True).refused
    assert refused is not None
    assert "--block-size, --virtual-size, --logical-sector-size" in refused
    known = vhdx.KnownDisk(image.disk_size, MIB, sector, kind if kind == "fixed" else None)
    with open_disk(path, salvage=True, known=known) as disk:
        assert whole(disk) == expected[0]
    assert "BAT" not in vhdx.check(path, known=known).unchecked
    repaired = vhdx.repair(path, rebuild=True, known=known)
    assert repaired.left.errors == 0, repaired.refused
    again = salvaged(path)
    assert again is not None
    assert again[0] == expected[0]


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("junk", [False, True])
@pytest.mark.parametrize("is_dirty", [False, True], ids=["clean", "dirty"])
def test_a_table_is_found_by_the_sizes_of_its_disk_alone(
    kind: str, sector: int, junk: bool, is_dirty: bool, tmp_path: Path
) -> None:
    image, places = made(kind, sector, is_dirty=is_dirty)
    sound, path = image.build(), tmp_path / "image.vhdx"
    expected = whole_of(path, sound)
    known = vhdx.KnownDisk(image.disk_size, MIB, sector, kind)
    tables = [places["region table 1"], places["region table 2"]]
    metadata = (places["metadata table"][0], MIB)
    for ranges, doubts in (([*tables, metadata], 0), ([(0, sum(metadata))], 1)):
        path.write_bytes(damaged(sound, ranges, junk=junk))
        with pytest.raises(vhdx.CorruptImageError) as caught:
            open_disk(path, salvage=True)
        assert "convert --salvage --block-size N --virtual-size N" in (caught.value.next_command or "")
        with open_disk(path, salvage=True, known=known) as disk:
            assert whole(disk) == expected[0]
            assert ranges_of(disk.doubts) == [(0, SIZE)] * doubts + ranges_of(expected[1])
        assert path.read_bytes() == damaged(sound, ranges, junk=junk)


@pytest.mark.parametrize(
    "known",
    [
        vhdx.KnownDisk(SIZE, MIB, 512, "dynamic"),
        vhdx.KnownDisk(SIZE - MIB, MIB, 512),
        vhdx.KnownDisk(SIZE + 512, MIB, 4096),
    ],
    ids=["nothing is left", "a smaller disk", "no whole sectors"],
)
def test_no_table_is_made_of_what_is_none(known: vhdx.KnownDisk, tmp_path: Path) -> None:
    image, places = made("fixed", 512, is_dirty=False)
    ranges = [(0, sum(places["metadata items"]))]
    if known.disk_type:
        ranges.append((image.plan().bat_offset, MIB))
    path = tmp_path / "image.vhdx"
    path.write_bytes(damaged(image.build(), ranges, junk=True))
    with pytest.raises((vhdx.CorruptImageError, ValueError), match=r"no table of a disk|no whole sectors"):
        open_disk(path, salvage=True, known=known)


@pytest.mark.parametrize(
    "known",
    [
        vhdx.KnownDisk(SIZE, 3 * MIB, 512),
        vhdx.KnownDisk(SIZE + 1, MIB, 512),
        vhdx.KnownDisk(SIZE, MIB, 520),
        vhdx.KnownDisk(1 << 60, MIB, 512),
        vhdx.KnownDisk(1 << 80, MIB, 512),
        vhdx.KnownDisk(-512, MIB, 512),
        vhdx.KnownDisk(SIZE, MIB, 512, "nothing"),
    ],
)
def test_what_no_disk_has_is_refused(known: vhdx.KnownDisk, tmp_path: Path) -> None:
    image, places = made("dynamic", 512, is_dirty=False)
    path = tmp_path / "image.vhdx"
    path.write_bytes(damaged(image.build(), [(places["metadata items"][0], 40)], junk=False))
    with pytest.raises(ValueError, match=r"not 3145728|that a disk can have|not .nothing."):
        vhdx.repair(path, rebuild=True, known=known)


def test_a_partition_table_proposes_sizes(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(gpt_disk(16 * MIB, [(2048, 20479)]))
    path = tmp_path / "image.vhdx"
    vhdx.convert(tmp_path / "a.raw", path, options=vhdx.ImageOptions(block_size=MIB))
    with path.open("r+b") as file:
        file.seek(2 * MIB + 64 * KIB)
        file.write(bytes(SECTOR))
    with pytest.raises(vhdx.CorruptImageError) as caught:
        open_disk(path, salvage=True)
    command = caught.value.next_command or ""
    assert f"--virtual-size {16 * MIB} --logical-sector-size 512" in command
