"""Space in the file: which is taken, which is given back, and that none is lost on the way."""

import errno
import os
from pathlib import Path

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.calls import pread
from tests.support.faults import Fault, failing_host, fails_after_half, fails_with
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern

from .checking import naively, structure_of
from .images import junk

SIZE = 8 * MIB


@pytest.mark.parametrize("fault", [fails_with(errno.ENOSPC), fails_after_half], ids=["at once", "after half"])
@pytest.mark.parametrize(("at", "call"), [(0, "ftruncate"), (1, "pwrite")])
def test_promise_13_an_allocation_that_fails_loses_no_space(
    at: int, call: str, fault: Fault, tmp_path: Path
) -> None:
    """The disk of the host is full for a while: the same space is tried again and again."""
    path = tmp_path / "a.vhdx"
    vhdx.create(path, SIZE, block_size=MIB)
    with failing_host(path) as host, vhdx.open(path, "r+") as disk:
        disk.pwrite(b"begun", 0)
        disk.flush()
        end = path.stat().st_size
        for _ in range(4):
            host.strike(at, fault)
            with pytest.raises(OSError) as caught:
                disk.pwrite(b"x" * 4096, 2 * MIB)
            assert caught.value.errno == errno.ENOSPC
            assert host.struck is not None
            assert host.struck.name == call
            host.pause()
            assert disk.pread(4096, 2 * MIB) == bytes(4096)
        disk.pwrite(b"y" * 4096, 3 * MIB + 700)
        disk.flush()
        assert path.stat().st_size == end + MIB
        assert disk.pread(MIB, 3 * MIB) == (bytes(700) + b"y" * 4096).ljust(MIB, b"\0")
    assert sorted(structure_of(path).present) == [0, 3]


@pytest.mark.parametrize("free", ["zeros", "junk"])
def test_free_space_between_blocks(tmp_path: Path, free: str) -> None:
    """A gap that an earlier writer left is used before the file grows, unless it may be a lost block."""
    image = ImageBuilder(disk_size=SIZE, gap=3 * MIB, blocks={0: Block(pattern(0, MIB))})
    start = image.plan().blocks_offset - 3 * MIB
    left = junk(3 * MIB) if free == "junk" else bytes(3 * MIB)
    image.patches = [(start, left)]
    path = image.write(tmp_path / "a.vhdx")
    length = path.stat().st_size
    with vhdx.open(path, "r+") as disk:
        for block in (3, 4, 5):
            disk.pwrite(b"x", block * MIB + 1000)
        disk.flush()
    found = structure_of(path)
    places = [found.present[block] for block in (3, 4, 5)]
    if free == "junk":
        assert places == [length, length + MIB, length + 2 * MIB]
        assert path.read_bytes()[start : start + 3 * MIB] == left
    else:
        assert sorted(places) == [start, start + MIB, start + 2 * MIB]
        assert path.stat().st_size == length
    with naively(path) as look:
        for block in (3, 4, 5):
            assert look.read(MIB, block * MIB) == b"x".rjust(1001, b"\0").ljust(MIB, b"\0")
        assert look.read(MIB, 0) == pattern(0, MIB)


def test_space_that_waits_is_not_used_before_its_old_owner_is_gone(tmp_path: Path) -> None:
    """Promise 10: until the entry that named it is durably gone, trimmed space belongs to nobody."""
    path = tmp_path / "a.vhdx"
    vhdx.create(path, SIZE, block_size=MIB)
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(1, MIB), MIB)
        disk.flush()
        old = structure_of(path).present[1]
        disk.trim(length=MIB, offset=MIB)
        disk.pwrite(pattern(2, MIB), 2 * MIB)
        (extent,) = disk.extents(offset=2 * MIB, length=MIB)
        assert extent.file_offset != old
        descriptor = os.open(path, os.O_RDONLY)
        try:
            assert pread(descriptor, MIB, old) == pattern(1, MIB)
        finally:
            os.close(descriptor)
        disk.flush()
        disk.pwrite(pattern(3, MIB), 3 * MIB)
        (extent,) = disk.extents(offset=3 * MIB, length=MIB)
        assert extent.file_offset == old


def test_a_whole_disk_is_filled_emptied_and_filled_again_in_the_same_space(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    vhdx.create(path, SIZE, block_size=MIB)
    empty = path.stat().st_size
    with vhdx.open(path, "r+") as disk:
        for lap in range(4):
            disk.pwrite(pattern(lap, SIZE), 0)
            disk.flush()
            assert path.stat().st_size == empty + SIZE
            disk.trim(length=SIZE, offset=0)
            disk.flush()
    assert path.stat().st_size == empty
