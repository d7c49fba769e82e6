"""What a crash leaves at the end of the file: the log explains it, `check` says so, a repair cuts it."""

import os
import random
import shutil
from pathlib import Path

import pytest

import vhdx
from tests.crash.scenarios.scenario import dynamic
from tests.examine.fault import dirty, sector
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.logs import Entry
from tests.support.lying import Crash, Record, crashes
from tests.support.sparse import Content, ContentStorage, content_of
from vhdx.disk.open import writable_disk
from vhdx.examine import repair as image_repair
from vhdx.examine.check import examine

UNEXPLAINED = {"space.leaked_tail", "space.ragged_end"}


def codes_in(content: Content) -> set[str]:
    counts = examine(ContentStorage(content)).report.counts
    return {rule.code for rule, number in counts.items() if number}


@pytest.mark.parametrize("block_size", [MIB, 2 * MIB])
@pytest.mark.parametrize("blocks", [0, 1])
def test_killed_before_the_first_commit(block_size: int, blocks: int, tmp_path: Path) -> None:
    """Also in an image without any block, where so much is what QEMU leaves behind the structures."""
    path, killed = tmp_path / "a.vhdx", tmp_path / "killed.vhdx"
    vhdx.create(path, 16 * MIB, block_size=block_size)
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(b"old" * blocks, 8 * MIB)
    whole = path.stat().st_size
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(b"new", 0)
        shutil.copy(path, killed)
    assert killed.stat().st_size == whole + block_size
    found = vhdx.check(killed)
    assert (set(found.codes), found.warnings) == ({"log.dirty", "space.after_crash"}, 0)
    assert vhdx.repair(killed).left.codes == {}
    assert killed.stat().st_size == whole
    with vhdx.open(killed) as disk:
        assert disk.pread(3, 0) == bytes(3)


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("trimmed", [False, True])
def test_wherever_power_fails_the_end_is_explained_and_a_repair_cuts_it(first: int, *, trimmed: bool) -> None:
    """A trimmed block at the end is no part of that until it is a hole: but a repair cuts it."""
    content, record = content_of(dynamic(first)), Record()
    disk = writable_disk(record.storage("image", content))
    disk.pwrite(b"a" * 5000, 4 * MIB)
    disk.flush()
    disk.pwrite(b"b", 6 * MIB)
    if trimmed:
        disk.trim(length=MIB, offset=4 * MIB)
    disk.flush()
    disk.pwrite(b"c", 7 * MIB)
    if trimmed:
        disk.trim(length=2 * MIB, offset=6 * MIB)
    disk.close()
    explained = set[int]()
    for crash in crashes(record, random.Random(7), 5):
        if not isinstance(crash, Crash):
            continue
        left = crash.files["image"]
        if left.digest in explained:
            continue
        explained.add(left.digest)
        if not trimmed:
            assert not codes_in(left) & UNEXPLAINED, str(crash)
        storage = Record().storage("image", left)
        image_repair.repair_image(storage, accept_data_loss=False)
        assert not codes_in(storage.content) & (UNEXPLAINED | {"space.after_crash"}), str(crash)
    assert len(explained) > 15


def with_tail(*ends: int) -> ImageBuilder:
    """An image with an entry for each of these ends, as it says, of the file, which is 2 MiB longer."""
    image = dirty(*(Entry(sector(dirty()), last_file_offset=end) for end in ends))
    image.file_length = image.plan().end + 2 * MIB
    return image


@pytest.mark.parametrize("end", [0, MIB, 5 * MIB])
def test_a_log_that_says_too_little_cuts_nothing_that_is_named(end: int, tmp_path: Path) -> None:
    image = with_tail(end)
    path = image.write(tmp_path / "a.vhdx")
    assert "space.after_crash" in vhdx.check(path).codes
    with vhdx.open(path) as disk:
        content = disk.pread(disk.size, 0)
    assert vhdx.repair(path).left.is_clean
    assert path.stat().st_size == image.plan().end
    with vhdx.open(path) as disk:
        assert disk.pread(disk.size, 0) == content


def test_where_whole_entries_are_not_replayed_nothing_is_explained(tmp_path: Path) -> None:
    image = with_tail(MIB, MIB, MIB)
    path = image.write(tmp_path / "a.vhdx")
    assert "space.after_crash" in vhdx.check(path).codes
    at = image.plan().log_offset + 2 * 4096
    with path.open("r+b") as file:
        file.seek(at + 100)
        file.write(b"damage")
    codes = vhdx.check(path).codes
    assert "space.after_crash" not in codes
    assert os.path.getsize(path) == image.file_length
