"""The fault table once more: what repair makes of each fault, and that every repair can be undone."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vhdx
from tests.cli.running import run
from tests.examine.fault import (
    LOSS,
    NEEDLESS,
    NEVER,
    REBUILD,
    SAFE,
    Fault,
    child,
    cut_block,
    dirty,
    dynamic,
    entry,
    half_shared_space,
    shared_space,
    tables,
)
from tests.examine.faults import FAULTS
from tests.examine.test_check import damaged
from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, KIB, MIB, PARTIALLY_PRESENT, ZERO, ZERO_GUID
from tests.support.logs import Entry
from tests.support.naive import naive_content
from tests.support.parts import Bitmap, Block, Header, Region
from tests.support.patterns import pattern
from tests.support.presets import qemu_like
from tests.support.structures import HEADER, value_of
from tests.support.tools import needs
from vhdx.examine import repair as image_repair
from vhdx.examine.check import examine
from vhdx.ops import repair as repair_module
from vhdx.storage.file import FileStorage, open_for_writing
from vhdx.storage.staged import StagedChanges

TABLE = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


def repaired(path: Path, fault: Fault, **options: Any) -> vhdx.RepairResult:
    """Repair with what it takes."""
    lossy, rebuilding = fault.repaired == LOSS, fault.repaired == REBUILD
    return vhdx.repair(path, accept_data_loss=lossy, rebuild=rebuilding, **options)


@TABLE
def test_repair_does_what_the_table_says_and_can_be_undone(fault: Fault, tmp_path: Path) -> None:
    path, backup = fault.make().write(tmp_path / "image.vhdx"), tmp_path / "backup"
    before = path.read_bytes()
    if fault.repaired in (LOSS, REBUILD):
        refused = vhdx.repair(path)
        assert refused.done == ()
        assert "add --" in (refused.refused or "")
    dry = repaired(path, fault, dry_run=True)
    assert path.read_bytes() == before
    result = repaired(path, fault, backup=backup)
    assert (dry.done, dry.refused, dry.left.codes) == (result.done, result.refused, result.left.codes)
    assert bool(result.done) == (fault.repaired not in (NEVER, NEEDLESS))
    if not result.done:
        assert path.read_bytes() == before
        assert not backup.exists()
        assert bool(result.refused) == bool(result.before.errors), "nothing to repair is said of sound images"
        return
    assert vhdx.check(path).codes == result.left.codes
    assert {f.code for f in result.left.findings if f.severity != "note"} == fault.after
    if "space.leaked" not in fault.after:  # which another repair gives back
        assert repaired(path, fault).done == ()
    undone = vhdx.undo_repair(path, backup)
    assert undone.format == "vhdx"
    assert undone.virtual_size in {result.before.virtual_size, result.left.virtual_size}
    assert path.read_bytes() == before


SAFE_FAULTS = [fault for fault in FAULTS if fault.repaired == SAFE and not fault.reading]


@pytest.mark.parametrize("fault", SAFE_FAULTS, ids=lambda fault: fault.name)
def test_a_safe_repair_keeps_what_a_read_returns_and_who_the_disk_is(fault: Fault, tmp_path: Path) -> None:
    path = fault.make().write(tmp_path / "image.vhdx")
    with vhdx.open(path) as disk:
        content = disk.pread(min(disk.size, 16 * MIB), 0)
    identity = {value_of(path, HEADER, "data_write_guid", copy) for copy in (1, 2)}
    assert vhdx.repair(path).done
    with vhdx.open(path) as disk:
        assert disk.pread(len(content), 0) == content
    assert naive_content(path, 0, len(content)) == content
    assert {value_of(path, HEADER, "data_write_guid", copy) for copy in (1, 2)} <= identity
    assert {value_of(path, HEADER, "log_guid", copy) for copy in (1, 2)} == {ZERO_GUID}


# What is lost and what is kept -------------------------------------------------------------------


def test_blocks_that_shared_space_read_on_what_they_read(tmp_path: Path) -> None:
    path = half_shared_space().write(tmp_path / "image.vhdx")
    result = vhdx.repair(path, accept_data_loss=True)
    assert [(r.offset, r.length) for r in result.concerned] == [(0, 4 * MIB)]
    first = pattern(0, 2 * MIB)
    with vhdx.open(path, "r+") as disk:
        assert disk.pread(2 * MIB, 0) == first
        assert disk.pread(2 * MIB, 2 * MIB) == first[MIB:] + pattern(1, 2 * MIB)[:MIB]
        disk.pwrite(b"mine", 0)
        assert disk.pread(4, 3 * MIB) != b"mine"


def test_a_cut_block_keeps_what_is_left_of_it(tmp_path: Path) -> None:
    path = cut_block().write(tmp_path / "image.vhdx")
    result = vhdx.repair(path, accept_data_loss=True)
    assert [(r.offset, r.length) for r in result.concerned] == [(MIB + MIB // 2, MIB // 2)]
    with vhdx.open(path) as disk:
        assert disk.pread(2 * MIB, 0) == pattern(0, MIB) + pattern(1, MIB)[: MIB // 2] + bytes(MIB // 2)


def test_what_is_concerned_in_two_ways_counts_once(tmp_path: Path) -> None:
    """A block over the table, with another one half over it; and blocks whose bitmap shares their space."""
    image = ImageBuilder(8 * MIB, 2 * MIB, blocks={n: Block(pattern(n, 2 * MIB)) for n in range(4)})
    table = image.plan().bat_offset
    image.bat = {1: table | FULLY_PRESENT, 2: table + MIB | FULLY_PRESENT}
    result = vhdx.repair(image.write(tmp_path / "image.vhdx"), dry_run=True, accept_data_loss=True)
    assert sum(r.length for r in result.concerned) > 6 * MIB
    assert result.concerned_size == 6 * MIB  # block 0 stands where block 2 does now
    shared = child(disk_size=10 * MIB + MIB // 2)
    shared.bat = {shared.bitmap_index(0): shared.plan().blocks[0] | FULLY_PRESENT}
    for length in (None, shared.plan().blocks[1] + MIB // 2):  # the second cuts block 1 in two
        shared.file_length = length
        result = vhdx.repair(shared.write(tmp_path / "shared.vhdx"), dry_run=True, accept_data_loss=True)
        assert len(result.concerned) > 1
        assert result.concerned_size == 10 * MIB + MIB // 2


def test_a_block_without_a_place_is_zeros_and_hides_the_parent(tmp_path: Path) -> None:
    parent = dynamic()
    parent.blocks[5] = Block(pattern(5, MIB))
    parent.write(tmp_path / "parent.vhdx")
    image = child(bat={5: 3 << 40 | FULLY_PRESENT})
    image.locator = {"parent_linkage": f"{{{parent.guid('data write')}}}", "relative_path": ".\\parent.vhdx"}
    path = image.write(tmp_path / "child.vhdx")
    old = value_of(path, HEADER, "data_write_guid")
    result = vhdx.repair(path, accept_data_loss=True)
    assert [(r.offset, r.length) for r in result.concerned] == [(5 * MIB, MIB)]
    assert result.left.is_clean
    assert value_of(path, HEADER, "data_write_guid") != old, "what a read returns has changed"
    with vhdx.open(path) as disk:
        assert disk.pread(MIB, 5 * MIB) == bytes(MIB)


def test_a_lost_log_concerns_the_whole_disk(tmp_path: Path) -> None:
    path = dirty(Entry(checksum=1)).write(tmp_path / "image.vhdx")
    result = vhdx.repair(path, accept_data_loss=True)
    assert [(r.offset, r.length) for r in result.concerned] == [(0, 10 * MIB)]
    with vhdx.open(path) as disk:
        assert disk.pread(MIB, 0) == pattern(0, MIB)


def test_a_lost_log_of_an_image_whose_headers_cannot_be_updated(tmp_path: Path) -> None:
    headers = {n: Header(sequence_number=2**64 - n) for n in (1, 2)}
    path = dirty(Entry(checksum=1), headers=headers).write(tmp_path / "image.vhdx")
    assert "cannot grow" in (vhdx.repair(path, accept_data_loss=True).refused or "")


def test_a_file_cut_below_its_structures_is_left_alone(tmp_path: Path) -> None:
    path = dirty(Entry(flushed_file_offset=6 * MIB, last_file_offset=6 * MIB)).write(tmp_path / "image.vhdx")
    with open(path, "r+b") as file:
        file.truncate(3 * MIB)
    before = path.read_bytes()
    result = vhdx.repair(path, accept_data_loss=True, rebuild=True)
    assert not result.done
    assert path.read_bytes() == before


def test_many_entries_are_repaired_through_many_commits(tmp_path: Path) -> None:
    image = ImageBuilder(600_000 * MIB)
    image.fill = lambda blocks: blocks * np.uint64(0) + np.uint64(2 | 8 | 77 << 20)
    path = image.write(tmp_path / "image.vhdx")
    result = vhdx.repair(path)
    assert result.before.codes == {"bat.reserved": 600_000, "bat.needless_offset": 600_000}
    assert result.left.codes == {}
    with vhdx.open(path) as disk:
        assert {extent.state for extent in disk.extents()} == {vhdx.BlockState.ZERO}


@needs("qemu-img")
@pytest.mark.parametrize("make", [shared_space, cut_block, lambda: entry(5, 20 * MIB | 2 | 8), dirty])
def test_qemu_finds_repaired_images_sound(make: Any, tmp_path: Path) -> None:
    path = make().write(tmp_path / "image.vhdx")
    assert vhdx.repair(path, accept_data_loss=True).left.is_clean
    subprocess.run(["qemu-img", "check", "-q", "-f", "vhdx", str(path)], check=True)


def _misread(state: int) -> tuple[ImageBuilder, int]:
    """A child whose bitmap, at the end of the file, is named in a wrong state; and where it is."""
    place = child().plan().end
    image = child(bitmaps={0: Bitmap(state=state, file_offset=place)})
    return image, place


@pytest.mark.parametrize("state", [0, 3])
@pytest.mark.parametrize("lossy", [False, True])
def test_a_bitmap_in_a_wrong_state_is_still_there_after_a_repair(
    state: int, lossy: bool, tmp_path: Path
) -> None:
    image, place = _misread(state)
    image.tail = bytes(2 * MIB)
    path = image.write(tmp_path / "image.vhdx")
    slot = image.plan().bat_offset + image.bitmap_index(0) * 8
    before = path.read_bytes()
    assert vhdx.repair(path, accept_data_loss=lossy).done
    after = path.read_bytes()
    assert after[slot : slot + 8] == before[slot : slot + 8]
    assert after[place : place + MIB] == before[place : place + MIB]
    assert len(after) < len(before)


def test_a_block_in_a_wrong_state_is_still_there_after_a_repair(tmp_path: Path) -> None:
    image = dynamic(blocks={5: Block(pattern(5, MIB), 7)}, tail=bytes(2 * MIB))
    path = image.write(tmp_path / "image.vhdx")
    assert vhdx.repair(path, accept_data_loss=True).done
    with vhdx.open(path, salvage=True) as disk:
        assert disk.pread(MIB, 5 * MIB) == pattern(5, MIB)


# Rebuilding --------------------------------------------------------------------------------------


def test_a_rebuilt_table_is_the_one_that_was_lost(tmp_path: Path) -> None:
    sound = dynamic().write(tmp_path / "sound.vhdx").read_bytes()
    path = dynamic(region_tables=tables(checksum=1)).write(tmp_path / "image.vhdx")
    assert vhdx.repair(path, rebuild=True).left.is_clean
    rebuilt = path.read_bytes()
    for offset in (192 * KIB, 256 * KIB):
        assert rebuilt[offset : offset + 64 * KIB] == sound[offset : offset + 64 * KIB]


@pytest.mark.parametrize(
    "make", [child, qemu_like, lambda **c: ImageBuilder(10 * MIB, disk_type="fixed", **c)]
)
def test_rebuilding_other_shapes(make: Any, tmp_path: Path) -> None:
    image = make(region_tables=tables(raw=bytes(64 * KIB)))
    image.file_length = None
    result = vhdx.repair(image.write(tmp_path / "image.vhdx"), rebuild=True)
    assert result.left.errors == 0, result.refused
    assert result.done


def test_an_entry_that_qemu_leaves_behind_the_last_block_hides_no_table(tmp_path: Path) -> None:
    """Of a disk with one block that is not full: so every MiB of zeros looks like a table as good."""
    image = qemu_like(disk_size=4 * MIB, region_tables=tables(checksum=1), bat={1: ZERO})
    image.blocks = {0: Block(pattern(0, 4096))}
    path = tmp_path / "image.vhdx"
    path.write_bytes(image.build())
    result = vhdx.repair(path, rebuild=True)
    assert result.left.errors == 0, result.refused
    assert f"BAT at {image.plan().bat_offset}" in result.done[0]


def test_two_places_that_fit_are_told_and_refused(tmp_path: Path) -> None:
    image = dynamic(region_tables=tables(checksum=1))
    image.blocks[1] = Block(bytes(8) + (2).to_bytes(8, "little"))  # looks like a table with a ZERO block
    path = image.write(tmp_path / "image.vhdx")
    before = path.read_bytes()
    result = vhdx.repair(path, rebuild=True)
    assert result.done == ()
    assert result.refused is not None
    assert f"BAT at {3 * MIB}" in result.refused
    assert f"BAT at {image.plan().blocks[1]}" in result.refused
    assert path.read_bytes() == before


def test_zeros_are_not_taken_for_the_table_of_a_disk_that_has_contents(tmp_path: Path) -> None:
    image = dynamic(region_tables=tables(checksum=1), bat={6: 8}, log=b"a log")
    image.blocks[4] = Block(b"")
    path = tmp_path / "image.vhdx"
    path.write_bytes(image.build())  # not sparse: a hole is no place to search
    result = vhdx.repair(path, rebuild=True)
    assert result.done == ()
    assert "but the file holds data" in (result.refused or "")
    assert path.read_bytes() == image.build()


def test_an_empty_disk_gets_its_table_back(tmp_path: Path) -> None:
    image = ImageBuilder(10 * MIB, region_tables=tables(checksum=1), log=b"a log")
    path = tmp_path / "image.vhdx"
    path.write_bytes(image.build())
    assert vhdx.repair(path, rebuild=True).left.is_clean


def test_what_a_rebuilt_table_does_not_tell_of_is_not_cut_off(tmp_path: Path) -> None:
    image = dynamic(region_tables=tables(checksum=1))
    place = image.plan().end
    image.blocks = {n: replace(block, file_offset=at) for n, block, at in _placed(image)}
    image.regions["optional"] = Region(at=place, size=MIB, data=b"precious")
    path = image.write(tmp_path / "image.vhdx")
    result = vhdx.repair(path, rebuild=True)
    assert result.done
    assert set(result.left.codes) == {"space.leaked_tail"}
    assert path.read_bytes()[place : place + 8] == b"precious"


def _placed(image: ImageBuilder) -> list[tuple[int, Block, int | None]]:
    return [(n, block, image.plan().blocks.get(n)) for n, block in image.blocks.items()]


def test_many_places_for_the_metadata_are_refused_quickly(tmp_path: Path) -> None:
    image = dynamic(region_tables=tables(checksum=1))
    sound = image.build()
    metadata = sound[image.plan().metadata_offset :][:MIB]
    path = tmp_path / "image.vhdx"
    path.write_bytes(sound + metadata * 17)
    assert "more than 16 places" in (vhdx.repair(path, rebuild=True).refused or "")


def test_no_place_is_refused(tmp_path: Path) -> None:
    image = dynamic(region_tables=tables(checksum=1), bat={5: 8})
    result = vhdx.repair(image.write(tmp_path / "image.vhdx"), rebuild=True)
    assert (
        result.refused
        == "the region table cannot be rebuilt: no table that fits the metadata stands in the file as a whole"
    )


# Backups -----------------------------------------------------------------------------------------


def _repaired(folder: Path) -> tuple[Path, Path, bytes]:
    path = dirty(headers={1: Header(checksum=1)}, tail=b"x" * 2 * MIB).write(folder / "image.vhdx")
    before = path.read_bytes()
    vhdx.repair(path, backup=folder / "backup")
    return path, folder / "backup", before


def test_an_image_that_was_used_since_is_not_undone(tmp_path: Path) -> None:
    path, backup, _ = _repaired(tmp_path)
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(b"new", 0)
    after = path.read_bytes()
    with pytest.raises(vhdx.CorruptImageError, match="not as the repair left it"):
        vhdx.undo_repair(path, backup)
    assert path.read_bytes() == after


def test_a_longer_image_is_not_undone(tmp_path: Path) -> None:
    path, backup, _ = _repaired(tmp_path)
    with open(path, "ab") as file:
        file.write(b"x")
    with pytest.raises(vhdx.CorruptImageError, match="bytes"):
        vhdx.undo_repair(path, backup)


@pytest.mark.parametrize("damage", ["cut", "changed", "other"])
def test_a_damaged_backup_is_refused(damage: str, tmp_path: Path) -> None:
    path, backup, _ = _repaired(tmp_path)
    data = bytearray(backup.read_bytes())
    data[-20] ^= damage == "changed"
    backup.write_bytes(b"{}\n" if damage == "other" else bytes(data[: -20 if damage == "cut" else None]))
    after = path.read_bytes()
    with pytest.raises(ValueError, match=r"damaged|too short|no backup"):
        vhdx.undo_repair(path, backup)
    assert path.read_bytes() == after


@pytest.mark.parametrize(
    "line", [b"2024", b'"words"', b"[]", b"null", b'{"format": "another"}', b"\xff", b""]
)
def test_what_is_no_backup(line: bytes, tmp_path: Path) -> None:
    path, _, _ = _repaired(tmp_path)
    (tmp_path / "other").write_bytes(line + b"\n")
    with pytest.raises(ValueError, match="is no backup of a repair"):
        vhdx.undo_repair(path, tmp_path / "other")


@pytest.mark.parametrize("is_done", [True, False])
def test_not_a_digit_of_a_backup_may_be_another(is_done: bool, tmp_path: Path) -> None:
    path, backup, _ = _repaired(tmp_path)
    line, rest = backup.read_bytes().split(b"\n", 1)
    after = path.read_bytes()
    for at in (at for at, byte in enumerate(line) if byte in b"0123456789"):
        other = bytes([line[at] ^ 1])
        damaged = line[:at] + other + line[at + 1 :] + b"\n" + rest
        backup.write_bytes(damaged if is_done else damaged.removesuffix(b"\nrepaired\n"))
        with pytest.raises(ValueError, match=r"is damaged|is no backup"):
            vhdx.undo_repair(path, backup)
    assert path.read_bytes() == after


def test_a_mark_whose_bytes_were_lost_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file's new length may be durable before its bytes are."""
    path, backup, before = _repaired(tmp_path)
    length, repaired = backup.stat().st_size, path.read_bytes()
    _undone_in_part(path, backup, 0, monkeypatch)
    path.write_bytes(repaired)
    data = backup.read_bytes()
    backup.write_bytes(data[: length + 30] + bytes(len(data) - length - 30))
    vhdx.undo_repair(path, backup)
    assert path.read_bytes() == before


def test_a_backup_that_is_there_is_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, backup, _ = _repaired(tmp_path)
    monkeypatch.setattr(repair_module, "staged_repair", lambda *_: pytest.fail("it was checked"))
    with pytest.raises(FileExistsError):
        vhdx.repair(path, backup=backup)


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_an_undo_that_was_interrupted_goes_on(
    writes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, backup, before = _repaired(tmp_path)
    _undone_in_part(path, backup, writes, monkeypatch)
    assert path.read_bytes() != before
    vhdx.undo_repair(path, backup)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="used before"):
        vhdx.undo_repair(path, backup)


def test_an_undo_does_not_go_on_with_an_image_that_was_used_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, backup, _ = _repaired(tmp_path)
    _undone_in_part(path, backup, 0, monkeypatch)
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(b"new", 0)
    after = path.read_bytes()
    with pytest.raises(vhdx.CorruptImageError, match="was changed after an undo"):
        vhdx.undo_repair(path, backup)
    assert path.read_bytes() == after


@pytest.mark.parametrize("writes", range(5))
@pytest.mark.parametrize("torn", [False, True])
def test_a_repair_that_was_interrupted_can_be_undone(
    writes: int, torn: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dirty(headers={1: Header(checksum=1)}, tail=b"x" * 2 * MIB).write(tmp_path / "image.vhdx")
    before = path.read_bytes()
    with _interrupted_before(writes, monkeypatch, torn=torn):
        vhdx.repair(path, backup=tmp_path / "backup")
    vhdx.undo_repair(path, tmp_path / "backup")
    assert path.read_bytes() == before


@pytest.mark.parametrize("writes", [2, 4])
def test_an_interrupted_repair_is_not_undone_in_an_image_that_was_used_since(
    writes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dirty(headers={1: Header(checksum=1)}, tail=b"x" * 2 * MIB).write(tmp_path / "image.vhdx")
    with _interrupted_before(writes, monkeypatch):
        vhdx.repair(path, backup=tmp_path / "backup")
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(b"new", 0)
    after = path.read_bytes()
    with pytest.raises(vhdx.CorruptImageError, match="was changed after its repair was interrupted"):
        vhdx.undo_repair(path, tmp_path / "backup")
    assert path.read_bytes() == after


def test_a_mark_that_is_not_whole_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, backup, before = _repaired(tmp_path)
    length, repaired = backup.stat().st_size, path.read_bytes()
    _undone_in_part(path, backup, 0, monkeypatch)
    path.write_bytes(repaired)
    backup.write_bytes(backup.read_bytes()[: length + 1000])
    vhdx.undo_repair(path, backup)
    assert path.read_bytes() == before


def _undone_in_part(path: Path, backup: Path, writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An undo that is interrupted before the write after so many."""
    with _interrupted_before(writes, monkeypatch):
        vhdx.undo_repair(path, backup)


@contextlib.contextmanager
def _interrupted_before(
    writes: int, monkeypatch: pytest.MonkeyPatch, *, torn: bool = False
) -> Iterator[None]:
    """What changes an image, interrupted after so many writes to it, or in the middle of the next one."""
    done: list[int] = []

    def write_at(self: Any, data: bytes, file_offset: int) -> None:
        if self.name.endswith("image.vhdx"):
            if len(done) == writes:
                if torn:
                    real(self, data[: len(data) // 1024 * 512], file_offset)
                raise KeyboardInterrupt
            done.append(file_offset)
        real(self, data, file_offset)

    real = FileStorage.write_at
    with monkeypatch.context() as patch:
        patch.setattr(FileStorage, "write_at", write_at)
        with contextlib.suppress(KeyboardInterrupt):
            yield
    assert len(done) == writes


def test_a_backup_replaces_no_file(tmp_path: Path) -> None:
    path = dirty().write(tmp_path / "image.vhdx")
    (tmp_path / "backup").write_bytes(b"precious")
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        vhdx.repair(path, backup=tmp_path / "backup")
    assert path.read_bytes() == before


# Crashes in the middle ---------------------------------------------------------------------------


@pytest.mark.parametrize("fault", SAFE_FAULTS[::9], ids=lambda fault: fault.name)
def test_a_repair_that_is_killed_leaves_no_more_errors(fault: Fault, tmp_path: Path) -> None:
    """What is performed is what was staged, one write after the other."""
    path = fault.make().write(tmp_path / "image.vhdx")
    original = path.read_bytes()
    file = open_for_writing(str(path))
    with contextlib.closing(file), contextlib.closing(StagedChanges(file)) as staged:
        image_repair.repair_image(staged, accept_data_loss=False)
        for step in staged.steps:
            if step.kind != "flush":
                staged.perform_step(file, step)
                assert not examine(file).report.has_errors
    assert vhdx.check(path).is_clean
    assert path.read_bytes() != original


# The staged -----------------------------------------------------------------------------------


def test_staged_changes_read_as_the_file_would_afterwards(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(pattern(1, 40_000))
    file = open_for_writing(str(tmp_path / "file"))
    with contextlib.closing(file):
        staged = StagedChanges(file)
        staged.write_at(b"a" * 5000, 100)
        staged.resize(20_001)
        staged.write_at(b"b" * 4096, 8192)
        staged.resize(30_000)
        staged.zero(4000, 300)
        staged.zero(8000, 9000)
        staged.write_at(b"c" * 10, 12_300)
        staged.write_at(b"end", 50_000)
        staged.flush()
        expected = staged.read(staged.size(), 0)
        assert file.read(40_000, 0) == pattern(1, 40_000)
        changed = staged.changed_ranges()
        staged.perform(file)
        staged.close()
        assert file.read(file.size(), 0) == expected
    old = pattern(1, 40_000)
    for offset in range(40_000):
        same = old[offset : offset + 1] == expected[offset : offset + 1]
        assert same or any(start <= offset < start + length for start, length in changed)


def test_staged_zeros_take_no_space(tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as made:
        made.truncate(1 << 40)
    file = open_for_writing(str(tmp_path / "file"))
    with contextlib.closing(file), contextlib.closing(StagedChanges(file)) as staged:
        staged.zero(4096, (1 << 40) - 5000)
        assert staged.read(10, 1 << 39) == bytes(10)
        assert staged.changed_ranges() == [((1 << 40) - 4096, 3192)]


# Hostile images ----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [dynamic, child, dirty])
def test_no_damage_is_made_worse_and_each_repair_can_be_undone(make: Any, tmp_path: Path) -> None:
    path, backup = make().write(tmp_path / "image.vhdx"), tmp_path / "backup"
    for _ in damaged(path, 40):
        before = path.read_bytes()
        try:
            result = vhdx.repair(path, accept_data_loss=True, rebuild=True, backup=backup)
        except vhdx.CorruptImageError as error:
            assert "no VHDX" in error.message  # noqa: PT017  most rounds raise nothing
            continue
        assert result.left.errors <= result.before.errors
        assert vhdx.check(path).codes == result.left.codes
        if result.done:
            vhdx.undo_repair(path, backup)
            backup.unlink()
        assert path.read_bytes() == before


def test_what_would_be_worse_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours in repairing must not reach the file."""
    path = dirty().write(tmp_path / "image.vhdx")
    before = path.read_bytes()

    def mistaken(file: StagedChanges, **options: Any) -> None:
        real(file, **options)
        file.write_at(bytes(4096), 2 * MIB)

    real = image_repair.repair_image
    monkeypatch.setattr(image_repair, "repair_image", mistaken)
    result = vhdx.repair(path, backup=tmp_path / "backup")
    assert result.done == ()
    assert result.refused == "what can be tried would not make the image better"
    assert path.read_bytes() == before
    assert not (tmp_path / "backup").exists()


# The command -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "options", "code"),
    [
        (dynamic(), (), 0),
        (dirty(), (), 0),
        (dirty(), ("--dry-run",), 0),
        (shared_space(), (), 1),
        (shared_space(), ("--accept-data-loss",), 0),
        (half_shared_space(), ("--accept-data-loss",), 3),
        (dynamic(gap=9 * MIB), (), 0),
        (dynamic(bat={5: 4, 6: 8}), (), 2),
        (dynamic(bat={5: 4}), (), 1),
        (dirty(headers={n: Header(sequence_number=2**64 - n) for n in (1, 2)}), (), 1),
    ],
)
def test_exit_codes(image: ImageBuilder, options: tuple[str, ...], code: int, tmp_path: Path) -> None:
    path = image.write(tmp_path / "image.vhdx")
    done = run("repair", *options, path)
    assert done.code == code, done.out
    assert done.out.endswith("\n")


def test_the_ranges_are_told_before_anything_is_lost(tmp_path: Path) -> None:
    path = cut_block().write(tmp_path / "image.vhdx")
    done = run("repair", path)
    assert f"concerned: bytes {MIB + MIB // 2} to {2 * MIB} of the disk" in done.out
    assert "add --accept-data-loss" in done.out
    told = json.loads(run("repair", "--json", "--accept-data-loss", path).out)
    assert told["concerned"] == [
        {"offset": MIB + MIB // 2, "length": MIB // 2, "reason": "the end of the file cuts the block"}
    ]


def test_undo_on_the_command_line(tmp_path: Path) -> None:
    path, backup = dirty().write(tmp_path / "image.vhdx"), tmp_path / "backup"
    before = path.read_bytes()
    assert run("repair", "--backup", backup, path).code == 0
    assert run("repair", "--undo", backup, "--rebuild", path).code == 64
    assert "as it was before the repair" in run("repair", "--undo", backup, path).out
    assert path.read_bytes() == before
    assert run("repair", "--undo", backup, path).code == 64


@pytest.mark.parametrize("place", [100 * MIB, 2 * MIB], ids=["behind the end", "in the metadata"])
def test_a_bitmap_that_stands_nowhere_says_that_all_sectors_are_here(place: int, tmp_path: Path) -> None:
    """Zeros in its stead would let the parent through."""
    image = child(blocks={1: Block(pattern(1, MIB), PARTIALLY_PRESENT, present=b"\x01" + bytes(255))})
    image.bat[image.ratio] = place | FULLY_PRESENT
    path = image.write(tmp_path / "image.vhdx")
    assert not vhdx.repair(path).done
    told = vhdx.repair(path, accept_data_loss=True)
    assert told.done
    assert {concerned.reason for concerned in told.concerned} == {
        "its sector bitmap's place is no place for it"
    }
    assert not vhdx.check(path).errors
    with vhdx.open(path, salvage=True) as disk:
        assert disk.pread(MIB, MIB) == pattern(1, MIB)


def test_a_block_that_is_cut_and_stands_over_a_structure_is_concerned_as_a_whole(tmp_path: Path) -> None:
    image = ImageBuilder(4 * MIB, 4 * MIB, bat={0: 3 * MIB | FULLY_PRESENT}, file_length=5 * MIB)
    told = vhdx.repair(image.write(tmp_path / "image.vhdx"), dry_run=True)
    assert told.concerned_size == 4 * MIB
    assert (0, 4 * MIB, "the block's place is no place for it") in told.concerned


def test_a_block_that_is_cut_and_shares_space_is_told_of_with_the_other_one(tmp_path: Path) -> None:
    image = ImageBuilder(8 * MIB, 2 * MIB, blocks={1: Block(pattern(1, 2 * MIB))})
    place = image.plan().blocks[1]
    image.bat = {2: place + MIB | FULLY_PRESENT}
    image.file_length = place + 2 * MIB
    told = vhdx.repair(image.write(tmp_path / "image.vhdx"), dry_run=True)
    shared = "the block shares space with another one"
    assert {(2 * MIB, 4 * MIB, shared)} <= set(told.concerned) or {
        (2 * MIB, 2 * MIB, shared),
        (4 * MIB, 2 * MIB, shared),
    } <= set(told.concerned)
    assert told.concerned_size == 4 * MIB


def test_a_bitmap_that_no_block_needs_costs_nothing(tmp_path: Path) -> None:
    image = child()
    image.blocks = {1: Block(pattern(1, MIB))}
    image.bat[image.ratio] = 1 << 43 | FULLY_PRESENT
    path = image.write(tmp_path / "image.vhdx")
    length = path.stat().st_size
    told = vhdx.repair(path, accept_data_loss=True)
    assert told.done
    assert told.concerned == ()
    assert not told.left.codes.keys() & {"bat.bitmap_unused", "bat.place", "bat.past_end"}
    assert path.stat().st_size <= length


def test_a_bitmap_entry_that_nobody_needs_any_more_is_repaired_in_the_same_run(tmp_path: Path) -> None:
    """Its block was partially present, and is lost. Found by fuzzing."""
    image = child()
    image.blocks = {}
    image.bat = {0: 1 << 43 | PARTIALLY_PRESENT, image.ratio: 5 * MIB}
    path = image.write(tmp_path / "image.vhdx")
    assert vhdx.repair(path, accept_data_loss=True).done
    assert "bat.needless_offset" not in vhdx.check(path).codes
    assert not vhdx.repair(path, accept_data_loss=True).done


def test_a_block_behind_the_end_is_concerned_also_where_one_that_is_cut_would_reach(tmp_path: Path) -> None:
    image = ImageBuilder(8 * MIB, 4 * MIB, blocks={0: Block(pattern(1, 4 * MIB))})
    place = image.plan().blocks[0]
    image.bat = {1: place + 3 * MIB | FULLY_PRESENT}
    image.file_length = place + 2 * MIB
    told = vhdx.repair(image.write(tmp_path / "image.vhdx"), dry_run=True).concerned
    assert (4 * MIB, 4 * MIB, "the block's place is no place for it") in told
    assert (2 * MIB, 2 * MIB, "the end of the file cuts the block") in told
