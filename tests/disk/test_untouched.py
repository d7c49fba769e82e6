"""Promise 2: mode "r" writes to no file, creates none, and needs no permission to write."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, PARTIALLY_PRESENT
from tests.support.logs import Data, LogBuilder, Zero
from tests.support.parts import Block, Header, RegionTable
from tests.support.patterns import pattern
from tests.support.presets import qemu_like
from tests.support.reading import footprint, scattered, whole


def dirty(image: ImageBuilder) -> ImageBuilder:
    """The same image with a log that lies about nothing and makes the file grow."""
    log = LogBuilder(last_file_offset=64 * MIB)
    log.add()
    free = image.plan().metadata_offset + 512 * 1024
    log.add(Data(free, b"l" * 4096), Zero(free + 4096, 8192))
    image.log = log
    return image


def clean(folder: Path) -> Path:
    return ImageBuilder(blocks={1: Block(pattern(1, MIB))}).write(folder / "image.vhdx")


def with_a_dirty_log(folder: Path) -> Path:
    return dirty(ImageBuilder(blocks={1: Block(pattern(1, MIB))})).write(folder / "image.vhdx")


def with_damage_that_a_writer_would_repair(folder: Path) -> Path:
    image = qemu_like(headers={1: Header(checksum=0)}, region_tables={1: RegionTable(checksum=0)})
    return image.write(folder / "image.vhdx")


def a_dirty_chain(folder: Path) -> Path:
    parent = ImageBuilder(blocks={0: Block(pattern(0, MIB)), 2: Block(pattern(2, MIB))})
    dirty(parent).write(folder / "parent.vhdx")
    child = parent.child()
    child.blocks = {2: Block(pattern(2, MIB, 1), PARTIALLY_PRESENT, present=range(0, 2048, 3))}
    return dirty(child).write(folder / "image.vhdx")


IMAGES = [clean, with_a_dirty_log, with_damage_that_a_writer_would_repair, a_dirty_chain]


@pytest.fixture(name="flags")
def _flags(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The flags of every file that is opened from now on; calls that change files are refused."""
    seen: list[int] = []
    really = os.open

    def watched(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        seen.append(flags)
        return really(path, flags, *rest, **options)

    def refused(*arguments: Any, **options: Any) -> None:
        raise AssertionError(f"a reader changes a file: {arguments}")

    monkeypatch.setattr(os, "open", watched)
    for name in (
        "write",
        "writev",
        "pwrite",
        "pwritev",
        "ftruncate",
        "truncate",
        "fsync",
        "fdatasync",
        "utime",
    ):
        monkeypatch.setattr(os, name, refused)
    return seen


@pytest.mark.parametrize("image", IMAGES)
def test_promise_2_nothing_changes_and_no_permission_to_write_is_needed(
    image: Callable[[Path], Path], tmp_path: Path, flags: list[int]
) -> None:
    folder = tmp_path / "evidence"
    folder.mkdir()
    path = image(folder)
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    before = footprint(folder)
    flags.clear()
    try:
        with vhdx.open(path) as disk:
            whole(disk)
            list(disk.extents())
            for length, offset in scattered(disk.size, MIB):
                disk.stream().seek(offset)
                disk.preadinto(bytearray(length), offset)
        assert footprint(folder) == before
    finally:
        folder.chmod(stat.S_IRWXU)
    assert flags, "the files were opened in a way that this test does not see"
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    assert not any(flag & writing for flag in flags)


def test_promise_2_a_failed_open_changes_nothing_either(tmp_path: Path, flags: list[int]) -> None:
    path = a_dirty_chain(tmp_path)
    (tmp_path / "parent.vhdx").unlink()
    before = footprint(tmp_path)
    with pytest.raises(vhdx.ParentNotFoundError):
        vhdx.open(path)
    assert footprint(tmp_path) == before


def test_promise_21_no_image_is_mapped_into_memory(tmp_path: Path) -> None:
    path = a_dirty_chain(tmp_path)
    with vhdx.open(path) as disk:
        whole(disk)
        assert str(tmp_path) not in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
