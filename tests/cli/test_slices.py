"""Ranges of many GiB are erased slice by slice, as if at once."""

import struct
import subprocess
from pathlib import Path

import pytest

import vhdx
from tests.support.layout import GIB, MIB
from tests.support.patterns import pattern

from .running import COMMAND, USAGE, run, succeed


@pytest.mark.parametrize("verb", ["zero", "trim"])
def test_no_border_of_slices_cuts_a_block(verb: str, tmp_path: Path) -> None:
    """Which would keep its space: each block across or at a border is given back whole."""
    path = tmp_path / "a.vhdx"
    vhdx.create(path, "20G", block_size="256M")
    places = [number * 4 * GIB + at for number in range(5) for at in (0, 4 * GIB - 1)]
    with vhdx.open(path, "r+") as disk:
        for place in places:
            disk.pwrite(b"x", place)
    succeed(verb, path, "0", "20G")
    with vhdx.open(path) as disk:
        assert {extent.kind for extent in disk.extents()} <= {
            vhdx.ExtentKind.ZERO,
            vhdx.ExtentKind.UNALLOCATED,
        }


@pytest.mark.parametrize("verb", ["zero", "trim"])
def test_nor_of_slices_of_a_partition(verb: str, tmp_path: Path) -> None:
    """Which begins in the midst of a block."""
    path = tmp_path / "a.vhdx"
    vhdx.create(path, "10G", block_size="256M")
    record = struct.pack("<B3sB3sII", 0, bytes(3), 0x83, bytes(3), 63, (9 * GIB) // 512)
    places = [256 * MIB, 4 * GIB - 1, 4 * GIB, 8 * GIB - 1, 8 * GIB]
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(bytes(446) + record + bytes(48) + b"\x55\xaa", 0)
        for place in places:
            disk.pwrite(b"x", place)
    succeed(verb, path, "0", "9G", "--partition", "1")
    with vhdx.open(path) as disk:
        kept = {vhdx.BlockState.FULLY_PRESENT, vhdx.BlockState.PARTIALLY_PRESENT}
        assert [extent.offset for extent in disk.extents() if extent.state in kept] == [0]
        assert disk.pread(512, 0)[446:462] == record


def test_bytes_beside_the_range_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    vhdx.create(path, "20G")
    data = pattern(1, 2 * MIB)
    start, end = 4 * GIB - MIB, 12 * GIB + MIB
    with vhdx.open(path, "r+") as disk:
        for place in (start, end):
            disk.pwrite(data, place - MIB)
    succeed("zero", path, str(start), str(end - start))
    with vhdx.open(path) as disk:
        assert disk.pread(2 * MIB, start - MIB) == data[:MIB] + bytes(MIB)
        assert disk.pread(2 * MIB, end - MIB) == bytes(MIB) + data[MIB:]


def test_a_range_that_ends_outside_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    vhdx.create(path, "9G")
    before = path.read_bytes()
    assert run("zero", path, "0", "10G").code == USAGE
    assert path.read_bytes() == before


def test_read_without_a_length_reads_to_the_end(tmp_path: Path) -> None:
    path, size = tmp_path / "a.vhdx", 3 * MIB + 512
    vhdx.create(path, size, block_size=MIB)
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(1, MIB + 512), 2 * MIB)
    content = bytes(2 * MIB) + pattern(1, MIB + 512)
    for offset in (0, 1, 2 * MIB + 7, size - 1, size):
        done = subprocess.run([*COMMAND, "read", path, str(offset)], capture_output=True, check=True)
        assert done.stdout == content[offset:], offset
    outside = run("read", path, str(size + 1))
    assert (outside.code, "are not inside the disk" in outside.sentence) == (USAGE, True)
