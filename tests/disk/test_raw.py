"""A flat file as a virtual disk: its bytes, its holes, and a last sector that is filled up."""

import io
import os
from pathlib import Path

import pytest

from tests.support.layout import MIB
from tests.support.reading import around
from vhdx import BlockState, Extent, ExtentKind
from vhdx.disk.raw import RawDisk
from vhdx.storage.file import open_for_reading
from vhdx.storage.stream import StreamStorage


@pytest.mark.parametrize("length", [0, 1, 511, 512, 513, 70_000])
def test_a_flat_file_is_its_bytes_and_zeros_up_to_the_sector(length: int, tmp_path: Path) -> None:
    data = os.urandom(length)
    (tmp_path / "raw").write_bytes(data)
    expected = data.ljust(-(-length // 512) * 512, b"\0")
    with RawDisk(open_for_reading(str(tmp_path / "raw"))) as disk:
        assert disk.size == len(expected)
        for count, offset in around(range(0, disk.size + 512, 512), disk.size):
            assert disk.pread(count, offset) == expected[offset : offset + count]
            buffer = bytearray(b"\xff" * count)
            disk.preadinto(buffer, offset)
            assert buffer == expected[offset : offset + count]
        assert disk.stream().read() == expected
        with pytest.raises(ValueError, match="not inside"):
            disk.pread(1, disk.size)


def test_holes_are_told(tmp_path: Path) -> None:
    with (tmp_path / "raw").open("wb") as file:
        os.pwrite(file.fileno(), b"x" * MIB, 4 * MIB)
        file.truncate(8 * MIB)
    hole = (ExtentKind.UNALLOCATED, BlockState.NOT_PRESENT, 0, None)
    with RawDisk(open_for_reading(str(tmp_path / "raw"))) as disk:
        assert list(disk.extents()) == [
            Extent(0, 4 * MIB, *hole),
            Extent(4 * MIB, MIB, ExtentKind.DATA, BlockState.FULLY_PRESENT, 1, 4 * MIB),
            Extent(5 * MIB, 3 * MIB, *hole),
        ]
        assert list(disk.extents(offset=6 * MIB, length=MIB)) == [Extent(6 * MIB, MIB, *hole)]


def test_where_the_host_tells_no_holes_all_is_data() -> None:
    with RawDisk(StreamStorage(io.BytesIO(bytes(1000)))) as disk:
        kinds = [(e.offset, e.length, e.kind) for e in disk.extents()]
    assert kinds == [(0, 1000, ExtentKind.DATA), (1000, 24, ExtentKind.UNALLOCATED)]
