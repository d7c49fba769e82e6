"""Opening for writing and closing without a change modifies no byte, no time, no length (promise 9)."""

from collections.abc import Callable
from pathlib import Path

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, UNMAPPED, ZERO
from tests.support.parts import Block, Header, RegionTable
from tests.support.patterns import pattern
from tests.support.presets import disk2vhd_like, qemu_like
from tests.support.reading import footprint, whole
from vhdx.ops.repair import repair

from .checking import allocated, guids_of, is_clean, naively
from .images import short_last_block, strange
from .scenarios import SCENARIOS


def free_tail(path: Path) -> object:
    image = ImageBuilder(blocks={0: Block(pattern(0, MIB))})
    image.tail = b"x" * (3 * MIB + 5)
    return image.write(path)


def damaged_header(path: Path) -> object:
    return ImageBuilder(headers={1: Header(checksum=0)}).write(path)


def damaged_tables(path: Path) -> object:
    return qemu_like(headers={2: Header(checksum=0)}, region_tables={1: RegionTable(checksum=0)}).write(path)


IMAGES: dict[str, Callable[[Path], object]] = {
    "dynamic": lambda path: vhdx.create(path, 5 * MIB, block_size=MIB),
    "fixed": lambda path: vhdx.create(path, 5 * MIB, block_size=MIB, disk_type="fixed"),
    "strange": lambda path: strange().write(path),
    "short last block": lambda path: short_last_block().write(path),
    "like Disk2vhd": lambda path: disk2vhd_like(disk_size=5 * MIB).write(path),
    "free space at the end": free_tail,
    "dirty log": SCENARIOS["replay"].make,
    "damaged header": damaged_header,
    "damaged header and table": damaged_tables,
}


def nothing(disk: vhdx.Disk) -> None:
    """No use."""


def flushes(disk: vhdx.Disk) -> None:
    disk.flush()
    disk.flush()


def reads(disk: vhdx.Disk) -> None:
    whole(disk)
    list(disk.extents())
    disk.flush()


def changes_nothing(disk: vhdx.Disk) -> None:
    disk.pwrite(b"", 0)
    for extent in list(disk.extents()):
        if extent.state in (UNMAPPED, ZERO):
            disk.trim(length=extent.length, offset=extent.offset)
        if extent.state == ZERO:
            disk.zero(length=extent.length, offset=extent.offset)
            disk.zero(length=extent.length // 2, offset=extent.offset, fast_only=True)
    if disk.disk_type == "fixed":
        disk.trim(length=disk.size, offset=0)


USES = [nothing, flushes, reads, changes_nothing]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", IMAGES)
def test_promise_9_nothing_is_modified(name: str, use: Callable[[vhdx.Disk], None], tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    IMAGES[name](path)
    before, space = footprint(tmp_path), allocated(path)
    with vhdx.open(path, "r+") as disk:
        use(disk)
    assert footprint(tmp_path) == before
    assert allocated(path) == space


@pytest.mark.parametrize("name", IMAGES)
def test_promise_9_the_guids_change_once_with_the_first_change(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    IMAGES[name](path)
    first = guids_of(path)
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(b"x", 0)
        second = guids_of(path)
        disk.pwrite(b"y" * 4096, MIB - 100)
        disk.zero(length=MIB, offset=MIB)
        disk.flush()
        disk.trim(length=MIB, offset=0)
        assert guids_of(path) == second
    assert guids_of(path) == second
    assert all(before != after for before, after in zip(first, second, strict=True))
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(b"z", 0)
    third = guids_of(path)
    assert all(before != after for before, after in zip(second, third, strict=True))


@pytest.mark.parametrize("name", ["dirty log", "damaged header", "damaged header and table"])
def test_promise_9_repair_keeps_what_the_disk_is(name: str, tmp_path: Path) -> None:
    """It changes the FileWriteGuid, and not the DataWriteGuid by which children know their parent."""
    path = tmp_path / "a.vhdx"
    IMAGES[name](path)
    first = guids_of(path)
    with vhdx.open(path) as disk:
        content = whole(disk)
    assert repair(path).done
    second = guids_of(path)
    assert second[0] != first[0]
    assert second[1] == first[1]
    assert is_clean(path)
    with naively(path) as look:
        assert look.read(len(content), 0) == content
    before = footprint(tmp_path)
    assert not repair(path).done
    assert footprint(tmp_path) == before
