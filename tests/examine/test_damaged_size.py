"""What entries behind the end of the disk name is not given away: the size may be what is damaged."""

import os
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import run, succeed
from tests.examine.fault import sector
from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, MIB, PARTIALLY_PRESENT
from tests.support.logs import LogBuilder
from tests.support.parts import Bitmap, Block, Item
from tests.support.patterns import pattern


def damaged(folder: Path, size: int) -> tuple[Path, Path]:
    """An image of 8 MiB whose size item says less, and the same with the right one."""
    blocks = {n: Block(pattern(n, MIB)) for n in range(8)}
    right = ImageBuilder(8 * MIB, MIB, blocks=blocks)
    wrong = ImageBuilder(8 * MIB, MIB, blocks=blocks)
    wrong.items["virtual_disk_size"] = Item(value=size.to_bytes(8, "little"))
    return wrong.write(folder / "wrong.vhdx"), right.write(folder / "right.vhdx")


@pytest.mark.parametrize("change", ["write", "repair", "compact"])
def test_nothing_that_is_done_to_it_costs_what_stands_behind(tmp_path: Path, change: str) -> None:
    wrong, _ = damaged(tmp_path, 3 * MIB)
    before = wrong.read_bytes()
    if change == "write":
        with vhdx.open(wrong, "r+") as disk:
            disk.pwrite(pattern(0, MIB), 0)
            disk.trim(length=MIB, offset=2 * MIB)
            disk.flush()
            disk.pwrite(b"new", 2 * MIB)
    elif change == "repair":
        vhdx.repair(wrong)
    else:
        vhdx.compact(wrong, scan_zeros=True, punch=True)
    assert wrong.stat().st_size == len(before)
    builder = ImageBuilder(8 * MIB, MIB, blocks={n: Block(pattern(n, MIB)) for n in range(8)})
    for number in range(3, 8):
        place = builder.plan().blocks[number]
        assert wrong.read_bytes()[place : place + MIB] == pattern(number, MIB)


def test_entries_far_behind_the_end_keep_their_space_too(tmp_path: Path) -> None:
    """Of a terabyte in blocks of 1 MiB, of which a damaged size leaves three."""
    image = ImageBuilder(1 << 40, MIB, blocks={0: Block(pattern(0, MIB)), 900_000: Block(pattern(9, MIB))})
    image.items["virtual_disk_size"] = Item(value=(3 * MIB).to_bytes(8, "little"))
    place = image.plan().blocks[900_000]
    path = image.write(tmp_path / "image.vhdx")
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(5, 2 * MIB), MIB)
    vhdx.compact(path, scan_zeros=True)
    with path.open("rb") as file:
        file.seek(place)
        assert file.read(MIB) == pattern(9, MIB)


def test_check_says_so(tmp_path: Path) -> None:
    wrong, right = damaged(tmp_path, 3 * MIB)
    assert "bat.leftover_space" not in vhdx.check(right).codes
    found = vhdx.check(wrong)
    assert {"bat.leftover_space", "bat.leftovers"} <= set(found.codes)
    assert "space.leaked_tail" not in found.codes
    ran = run("check", wrong)
    assert ran.code == 3
    assert "5 MiB of space: the size of the disk is damaged, or a shrink was interrupted" in ran.out


def test_a_shrink_that_was_interrupted_is_completed(tmp_path: Path) -> None:
    wrong, _ = damaged(tmp_path, 3 * MIB)
    length = wrong.stat().st_size
    succeed("resize", wrong, "3M")
    assert wrong.stat().st_size == length - 5 * MIB
    assert "bat.leftover_space" not in vhdx.check(wrong).codes
    with vhdx.open(wrong) as disk:
        assert disk.pread(disk.size, 0) == b"".join(pattern(n, MIB) for n in range(3))


def test_a_bitmap_that_was_cut_off_lets_no_parent_through(tmp_path: Path) -> None:
    """What the child has is read on; the parent's bytes would be others."""
    parent = ImageBuilder(4 * MIB, MIB, seed=1, blocks={n: Block(pattern(n, MIB)) for n in range(4)})
    child = parent.child()
    child.blocks = {1: Block(pattern(9, MIB), PARTIALLY_PRESENT, present=range(2048))}
    child.log = LogBuilder()
    end = child.plan().end
    child.bitmaps = {0: Bitmap(file_offset=end)}
    child.log.flushed_file_offset = child.log.last_file_offset = end + MIB
    child.log.add(*sector(child))
    parent.write(tmp_path / "parent.vhdx")
    path = child.write(tmp_path / "child.vhdx")
    os.truncate(path, end)
    assert run("repair", path).code == 1
    vhdx.repair(path, accept_data_loss=True)
    with vhdx.open(path) as disk:
        assert disk.pread(MIB, MIB) == pattern(9, MIB)


def test_where_a_place_was_damaged_the_space_that_nobody_claims_stays(tmp_path: Path) -> None:
    image = ImageBuilder(3 * MIB, MIB, blocks={n: Block(pattern(n, MIB)) for n in range(3)})
    image.bat = {2: 99 << 20 | FULLY_PRESENT}
    path = image.write(tmp_path / "image.vhdx")
    length = path.stat().st_size
    vhdx.repair(path, accept_data_loss=True)
    assert path.stat().st_size >= length
    assert pattern(2, MIB) in path.read_bytes()
