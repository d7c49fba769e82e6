"""VHD as QEMU (its format "vpc") and libvhdi see it: what they make we read, what we make they read."""

import struct
import uuid
from pathlib import Path

import pytest

import vhdx
from tests.ops.make.making import raw_bytes, write_raw
from tests.support.layout import GIB, MIB
from tests.support.patterns import pattern
from tests.support.tools import needs
from tests.support.vhd import DIFFERENCING, DYNAMIC, FIXED, VhdBuilder, relative
from vhdx.disk.open import open_any

from .programs import by_pyvhdi, pyvhdi_bytes, run

QEMU = needs("qemu-img")
SIZE = 20 * MIB
PIECES = {0: pattern(0, 70_000), 2 * MIB - 5: pattern(1, MIB), SIZE - 512: b"e" * 512}
SECTORS = {number: pattern(number, 512) for number in (0, 7, 8, 9, 4095, 4096, 20_000, 40_959)}


def content(path: Path) -> bytes:
    with open_any(str(path), image_format="vhd") as disk:
        return disk.pread(disk.size, 0)


@QEMU
@pytest.mark.parametrize("subformat", ["fixed", "dynamic"])
@pytest.mark.parametrize("force_size", ["on", "off"])
def test_what_qemu_makes(tmp_path: Path, subformat: str, force_size: str) -> None:
    raw = write_raw(tmp_path / "a.raw", SIZE, PIECES)
    options = f"subformat={subformat},force_size={force_size}"
    run("qemu-img", "convert", "-O", "vpc", "-o", options, raw, tmp_path / "a.vhd")
    found = content(tmp_path / "a.vhd")
    run("qemu-img", "convert", "-f", "vpc", "-O", "raw", tmp_path / "a.vhd", tmp_path / "b.raw")
    assert found == (tmp_path / "b.raw").read_bytes()
    assert found.rstrip(b"\0") == raw_bytes(SIZE, PIECES).rstrip(b"\0")
    assert len(found) >= SIZE
    assert (len(found) == SIZE) == (force_size == "on")


@QEMU
@pytest.mark.parametrize("size", [MIB, 137 * MIB, 3 * GIB, 100 * GIB, 2040 * GIB])
def test_qemu_sees_what_we_make(tmp_path: Path, size: int) -> None:
    raw = write_raw(tmp_path / "a.raw", size, {0: PIECES[0], size - 512: b"e" * 512})
    vhdx.convert(raw, tmp_path / "a.vhd")
    assert f"({size} bytes)" in run("qemu-img", "info", "-f", "vpc", tmp_path / "a.vhd")
    if size <= 3 * GIB:
        run("qemu-img", "compare", "-f", "vpc", "-F", "raw", tmp_path / "a.vhd", raw)


@QEMU
@pytest.mark.parametrize("size", [5 * MIB, 100 * MIB, 200 * MIB, 1000 * MIB, 40 * GIB])
def test_geometry_is_that_of_qemu(tmp_path: Path, size: int) -> None:
    """QEMU rounds the size up to what a geometry addresses, and writes that geometry."""
    run("qemu-img", "create", "-q", "-f", "vpc", "-o", "subformat=fixed", tmp_path / "a.vhd", str(size))
    with open(tmp_path / "a.vhd", "rb") as file:
        file.seek(-512, 2)
        footer = file.read()
    cylinders, heads, sectors = struct.unpack_from(">HBB", footer, 56)
    addressed = cylinders * heads * sectors * 512
    assert addressed == struct.unpack_from(">Q", footer, 48)[0]
    from vhdx.format.vhd import geometry_of  # noqa: PLC0415

    assert geometry_of(addressed) == (cylinders, heads, sectors)


@pytest.mark.parametrize("disk_type", [FIXED, DYNAMIC])
def test_libvhdi_sees_hand_built_images_as_we_do(tmp_path: Path, disk_type: int) -> None:
    vhd = VhdBuilder(SIZE, disk_type, sectors=SECTORS, junk=b"\0")
    path = vhd.write(tmp_path / "a.vhd")
    assert pyvhdi_bytes(path) == content(path) == vhd.content()


def test_libvhdi_sees_a_child_as_we_do(tmp_path: Path) -> None:
    parent = VhdBuilder(SIZE, DYNAMIC, sectors=SECTORS, junk=b"\0")
    child = VhdBuilder(
        *(SIZE, DIFFERENCING, 2 * MIB, dict.fromkeys((7, *range(16, 24), 4103), b"c" * 512)),
        unique_id=uuid.UUID(int=1),
        parent_id=parent.unique_id,
        parent_name="parent.vhd",
        locators=(relative("parent.vhd"),),
    )
    parent.write(tmp_path / "parent.vhd")
    child.write(tmp_path / "child.vhd")
    expected = child.content(parent.content())
    assert pyvhdi_bytes(tmp_path / "child.vhd", tmp_path / "parent.vhd") == expected
    assert content(tmp_path / "child.vhd") == expected


def test_where_libvhdi_differs_single_sectors_of_a_child(tmp_path: Path) -> None:
    """Behind a set bit libvhdi takes the rest of the byte for set, and returns whatever stands there."""
    parent = VhdBuilder(2 * MIB, FIXED, sectors=dict.fromkeys(range(4096), b"p" * 512))
    child = VhdBuilder(
        *(2 * MIB, DIFFERENCING, 2 * MIB, {10: b"c" * 512}),
        unique_id=uuid.UUID(int=1),
        parent_id=parent.unique_id,
        parent_name="parent.vhd",
        locators=(relative("parent.vhd"),),
    )
    parent.write(tmp_path / "parent.vhd")
    child.write(tmp_path / "child.vhd")
    theirs = pyvhdi_bytes(tmp_path / "child.vhd", tmp_path / "parent.vhd")
    assert theirs[11 * 512 : 12 * 512] == b"\xa5" * 512
    assert content(tmp_path / "child.vhd") == child.content(parent.content())


def test_libvhdi_reads_what_we_make(tmp_path: Path) -> None:
    vhdx.convert(write_raw(tmp_path / "a.raw", SIZE, PIECES), tmp_path / "a.vhd")
    assert pyvhdi_bytes(tmp_path / "a.vhd") == raw_bytes(SIZE, PIECES)
    file = by_pyvhdi(tmp_path / "a.vhd")
    assert file.get_media_size() == SIZE


@QEMU
def test_where_qemu_differs_clear_bits(tmp_path: Path) -> None:
    """QEMU does not look at the bitmap of a dynamic image and returns what stands behind clear bits."""
    vhd = VhdBuilder(SIZE, DYNAMIC, sectors={0: b"x" * 512}, junk=b"\xa5")
    path = vhd.write(tmp_path / "a.vhd")
    run("qemu-img", "convert", "-f", "vpc", "-O", "raw", path, tmp_path / "a.raw")
    assert (tmp_path / "a.raw").read_bytes()[512:1024] == b"\xa5" * 512
    assert content(path)[512:1024] == bytes(512)


@QEMU
@pytest.mark.parametrize(
    ("creator", "whole"),
    [(b"win ", True), (b"vpc ", False), (b"vs  ", False), (b"d2v ", True), (b"vbox", False)],
)
def test_where_qemu_differs_size(tmp_path: Path, creator: bytes, whole: bool) -> None:
    """QEMU takes the size from the geometry for most creators; we and libvhdi take it from the footer."""
    vhd = VhdBuilder(SIZE, FIXED, creator=creator, geometry=(100, 4, 17))
    path = vhd.write(tmp_path / "a.vhd")
    seen = SIZE if whole else 100 * 4 * 17 * 512
    assert f"({seen} bytes)" in run("qemu-img", "info", "-f", "vpc", path)
    assert len(content(path)) == by_pyvhdi(path).get_media_size() == SIZE
