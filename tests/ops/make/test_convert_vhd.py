"""VHD as target: a fixed one as Azure wants it, byte for byte; VHD as source: contents survive."""

import os
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vhdx
from tests.support.layout import GIB, MIB
from tests.support.patterns import pattern
from tests.support.vhd import DIFFERENCING, DYNAMIC, FIXED, VhdBuilder, relative
from vhdx.format.vhd import geometry_of

from .making import disk_of, names_in, raw_bytes, space_taken, write_raw

PIECES = {0: pattern(0, 5000), 2 * MIB - 5: pattern(1, MIB)}
SIZE = 4 * MIB
EPOCH_OF_VHD = 946684800


def footer_of(path: Path) -> bytes:
    return path.read_bytes()[-512:]


@pytest.mark.parametrize("size", [SIZE, SIZE - 512, SIZE - MIB + 512, SIZE - 100])
def test_the_bytes_of_a_vhd(tmp_path: Path, size: int) -> None:
    raw = write_raw(tmp_path / "a.raw", size, PIECES)
    before = int(time.time()) - EPOCH_OF_VHD
    made = vhdx.convert(raw, tmp_path / "a.vhd")
    after = int(time.time()) - EPOCH_OF_VHD
    data = (tmp_path / "a.vhd").read_bytes()
    assert data[:-512] == raw_bytes(SIZE, PIECES)
    footer = data[-512:]
    unique_id, timestamp = footer[68:84], struct.unpack_from(">I", footer, 24)[0]
    assert before <= timestamp <= after
    assert any(unique_id)
    twin = VhdBuilder(SIZE, FIXED, geometry=(120, 4, 17), timestamp=timestamp, creator=b"win ")
    expected = bytearray(twin.footer())
    expected[68:84] = unique_id
    expected[64:68] = bytes(4)
    expected[64:68] = struct.pack(">I", ~sum(expected) & 0xFFFFFFFF)
    assert footer == expected
    assert (made.target_format, made.virtual_size, made.file_size) == ("vhd", SIZE, SIZE + 512)
    rounded = f"virtual size rounded from {size} bytes to {SIZE} (4 MiB)"
    assert made.remarks == (() if size == SIZE else (rounded,))


def test_two_disks_are_two(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "a.raw", MIB)
    for name in ("a.vhd", "b.vhd"):
        vhdx.convert(raw, tmp_path / name)
    assert footer_of(tmp_path / "a.vhd")[68:84] != footer_of(tmp_path / "b.vhd")[68:84]


def geometry_of_the_appendix(size: int) -> tuple[int, int, int]:
    """The specification's pseudo code, line by line."""
    total = min(size // 512, 65535 * 16 * 255)
    if total >= 65535 * 16 * 63:
        sectors, heads = 255, 16
        cylinders_times_heads = total // sectors
    else:
        sectors = 17
        cylinders_times_heads = total // sectors
        heads = max(4, (cylinders_times_heads + 1023) // 1024)
        if cylinders_times_heads >= heads * 1024 or heads > 16:
            sectors, heads = 31, 16
            cylinders_times_heads = total // sectors
        if cylinders_times_heads >= heads * 1024:
            sectors, heads = 63, 16
            cylinders_times_heads = total // sectors
    return cylinders_times_heads // heads, heads, sectors


@given(st.integers(0, 4 << 40) | st.integers(0, 300 * MIB), st.integers(-3, 3))
def test_geometry(size: int, nudge: int) -> None:
    for border in (size, 1024 * 16 * 17 * 512, 1024 * 16 * 31 * 512, 65535 * 16 * 63 * 512):
        near = max(0, border + nudge * 512)
        assert geometry_of(near) == geometry_of_the_appendix(near)


def test_zeros_take_no_space(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "a.raw", 100 * GIB, {50 * GIB: b"x" * 4096, 60 * GIB: bytes(MIB)})
    vhdx.convert(raw, tmp_path / "a.vhd")
    assert (tmp_path / "a.vhd").stat().st_size == 100 * GIB + 512
    assert space_taken(tmp_path / "a.vhd") < MIB


@pytest.mark.parametrize("size", [2040 * GIB + 1, 3000 * GIB])
def test_too_large(tmp_path: Path, size: int) -> None:
    raw = write_raw(tmp_path / "a.raw", size)
    with pytest.raises(ValueError, match="a VHD holds at most 2040 GiB; convert to VHDX"):
        vhdx.convert(raw, tmp_path / "a.vhd")
    assert names_in(tmp_path) == ["a.raw"]


def test_the_size_of_a_refused_disk_is_exact(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "a.raw", 2040 * GIB + 512)
    with pytest.raises(ValueError, match=rf"this disk has 1\.99 TiB \({2040 * GIB + 512} bytes\)"):
        vhdx.convert(raw, tmp_path / "a.vhd")


def test_the_largest(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "a.raw", 2040 * GIB)
    assert vhdx.convert(raw, tmp_path / "a.vhd").virtual_size == 2040 * GIB


def test_an_empty_disk_is_refused(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "a.raw", 0)
    with pytest.raises(ValueError, match="more than 0"):
        vhdx.convert(raw, tmp_path / "a.vhd")


@pytest.mark.parametrize(
    "options",
    [{"block_size": MIB}, {"log_size": 2 * MIB}, {"logical_sector_size": 4096}, {"zero_blocks": True}],
)
def test_options_that_a_vhd_has_not(tmp_path: Path, options: dict[str, object]) -> None:
    raw = write_raw(tmp_path / "a.raw", MIB)
    with pytest.raises(ValueError, match="a vhd target has no block size"):
        vhdx.convert(raw, tmp_path / "a.vhd", options=vhdx.ImageOptions(**options))  # type: ignore[arg-type]
    vhdx.convert(raw, tmp_path / "a.vhd", options=vhdx.ImageOptions(disk_type="fixed"))


def test_an_existing_file_stays(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "a.raw", MIB)
    (tmp_path / "a.vhd").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        vhdx.convert(raw, tmp_path / "a.vhd")
    assert (tmp_path / "a.vhd").read_bytes() == b"mine"
    vhdx.convert(raw, tmp_path / "a.vhd", overwrite=True)
    assert (tmp_path / "a.vhd").stat().st_size == MIB + 512


def test_nothing_is_left_of_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = write_raw(tmp_path / "a.raw", MIB, {0: b"x"})

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "ftruncate", full)
    with pytest.raises(OSError, match="No space"):
        vhdx.convert(raw, tmp_path / "a.vhd")
    assert names_in(tmp_path) == ["a.raw"]


@pytest.mark.parametrize("disk_type", [FIXED, DYNAMIC])
def test_to_vhdx_and_back(tmp_path: Path, disk_type: int) -> None:
    sectors = {number: pattern(number, 512) for number in (0, 9, 4095, 4096, 8191)}
    vhd = VhdBuilder(SIZE, disk_type, sectors=sectors)
    made = vhdx.convert(vhd.write(tmp_path / "a.vhd"), tmp_path / "a.vhdx")
    assert (made.source_format, made.virtual_size) == ("vhd", SIZE)
    assert disk_of(tmp_path / "a.vhdx") == vhd.content()
    vhdx.convert(tmp_path / "a.vhdx", tmp_path / "b.vhd")
    assert (tmp_path / "b.vhd").read_bytes()[:-512] == vhd.content()
    assert vhdx.compare(tmp_path / "a.vhd", tmp_path / "b.vhd").identical


def test_a_child_with_its_parent(tmp_path: Path) -> None:
    parent = VhdBuilder(SIZE, DYNAMIC, sectors=dict.fromkeys(range(40), b"p" * 512))
    child = VhdBuilder(
        *(SIZE, DIFFERENCING, 2 * MIB, {3: b"c" * 512, 5000: b"c" * 512}),
        parent_id=parent.unique_id,
        unique_id=type(parent.unique_id)(int=1),
        locators=(relative("parent.vhd"),),
    )
    parent.write(tmp_path / "parent.vhd")
    child.write(tmp_path / "child.vhd")
    vhdx.convert(tmp_path / "child.vhd", tmp_path / "a.raw")
    assert (tmp_path / "a.raw").read_bytes() == child.content(parent.content())
    with pytest.raises(ValueError, match="is the source or one of its parents"):
        vhdx.convert(tmp_path / "child.vhd", tmp_path / "parent.vhd", overwrite=True)
