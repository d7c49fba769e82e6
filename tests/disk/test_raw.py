"""A flat file as a virtual disk: its bytes, its holes, and a last sector that is filled up."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import vhdx
from tests.support.calls import pwrite, space_of
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.support.reading import around
from vhdx import BlockState, Extent, ExtentKind
from vhdx.disk.open import open_any
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
        pwrite(file.fileno(), b"x" * MIB, 4 * MIB)
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


@pytest.fixture(name="disk")
def _disk(tmp_path: Path) -> Iterator[RawDisk]:
    (tmp_path / "raw").write_bytes(pattern(1, 4 * MIB))
    with open_any(str(tmp_path / "raw"), "r+", image_format="raw") as disk:
        assert isinstance(disk, RawDisk)
        yield disk


def test_a_flat_file_is_written_to(disk: RawDisk, tmp_path: Path) -> None:
    assert not disk.read_only
    expected = bytearray(pattern(1, 4 * MIB))
    for data, offset in ((b"first", 0), (b"last", disk.size - 4), (b"m" * 70_000, MIB - 1), (b"", 5)):
        disk.pwrite(data, offset)
        expected[offset : offset + len(data)] = data
    assert (tmp_path / "raw").read_bytes() == expected
    for data, offset in ((b"xx", disk.size - 1), (b"x", disk.size), (b"x", -1)):
        with pytest.raises(ValueError, match="not inside"):
            disk.pwrite(data, offset)
    assert (tmp_path / "raw").read_bytes() == expected


@pytest.mark.parametrize(("keep", "hole"), [(False, True), (True, False)])
def test_zeros_are_a_hole_unless_space_is_kept(keep: bool, hole: bool, disk: RawDisk, tmp_path: Path) -> None:
    disk.zero(length=2 * MIB, offset=MIB, keep_allocated=keep)
    expected = pattern(1, MIB) + bytes(2 * MIB) + pattern(1, 4 * MIB)[3 * MIB :]
    assert (tmp_path / "raw").read_bytes() == expected
    assert (space_of(tmp_path / "raw") < 3 * MIB) == hole


def test_trim_gives_space_back_and_touches_nothing_else(disk: RawDisk, tmp_path: Path) -> None:
    disk.trim(length=MIB, offset=MIB)
    found = (tmp_path / "raw").read_bytes()
    assert found[:MIB] == pattern(1, MIB)
    assert found[MIB : 2 * MIB] == bytes(MIB)
    assert found[2 * MIB :] == pattern(1, 4 * MIB)[2 * MIB :]
    assert space_of(tmp_path / "raw") < 4 * MIB


def test_only_what_is_fast_is_done_fast(
    disk: RawDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.zero(length=MIB, offset=0, fast_only=True)
    now = bytes(MIB) + pattern(1, 4 * MIB)[MIB:]
    assert (tmp_path / "raw").read_bytes() == now
    with pytest.raises(OSError, match="not supported"):
        disk.zero(length=MIB, offset=MIB, fast_only=True, keep_allocated=True)
    monkeypatch.setattr("vhdx.storage.file.host.punch", lambda *_: False)
    with pytest.raises(OSError, match="not supported"):
        disk.zero(length=MIB, offset=MIB, fast_only=True)
    assert (tmp_path / "raw").read_bytes() == now
    disk.zero(length=MIB, offset=MIB)
    assert (tmp_path / "raw").read_bytes() == bytes(2 * MIB) + pattern(1, 4 * MIB)[2 * MIB :]


def test_a_flush_and_the_end_make_durable(disk: RawDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    flushes: list[int] = []
    monkeypatch.setattr("vhdx.storage.file.host.synchronize", flushes.append)
    disk.flush()
    assert len(flushes) == 1
    disk.close()
    disk.close()
    assert len(flushes) == 2
    with pytest.raises(ValueError, match="closed"):
        disk.pwrite(b"x", 0)


def test_what_was_opened_for_reading_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(pattern(1, MIB))
    with open_any(str(tmp_path / "raw")) as disk:
        assert disk.read_only
        with pytest.raises(io.UnsupportedOperation, match="for reading"):
            disk.pwrite(b"x", 0)
        with pytest.raises(io.UnsupportedOperation, match="for reading"):
            disk.zero(length=1, offset=0)
        with pytest.raises(io.UnsupportedOperation, match="for reading"):
            disk.trim(length=1, offset=0)
        disk.flush()
    assert (tmp_path / "raw").read_bytes() == pattern(1, MIB)


def test_a_file_of_parts_of_sectors_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(513))
    with pytest.raises(ValueError, match="no multiple of 512"):
        open_any(str(tmp_path / "raw"), "r+", image_format="raw")


def test_the_contents_tell_what_is_opened_for_writing(tmp_path: Path) -> None:
    vhdx.create(tmp_path / "disk.vhdx", MIB)
    with open_any(str(tmp_path / "disk.vhdx"), mode="r+") as disk:
        assert disk.format == "vhdx"
        disk.pwrite(b"here", 0)
    with open_any(str(tmp_path / "disk.vhdx"), "r+", image_format="raw") as raw:
        assert raw.pread(8, 0) == b"vhdxfile"
    with vhdx.open(tmp_path / "disk.vhdx") as disk:
        assert disk.pread(4, 0) == b"here"
