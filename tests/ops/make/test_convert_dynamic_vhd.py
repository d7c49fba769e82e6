"""A dynamic VHD as target: byte for byte, as Hyper-V lays it out; the same disk to every other program."""

import struct
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

import vhdx
from tests.cli.running import info
from tests.cli.running import run as vhdx_command
from tests.interop.programs import by_pyvhdi, pyvhdi_bytes, run
from tests.support.layout import GIB, MIB
from tests.support.patterns import pattern
from tests.support.tools import needs
from tests.support.vhd import DIFFERENCING, DYNAMIC, VhdBuilder, sealed
from vhdx.disk.open import open_any
from vhdx.ops.make.measure import measure
from vhdx.units import KIB

from .making import names_in, raw_bytes, write_raw

DYNAMIC_VHD = vhdx.ImageOptions(disk_type="dynamic")
BLOCK = 2 * MIB
SIZE = 9 * MIB
PIECES = {0: pattern(0, 5000), BLOCK - 5: b"x" * 10, SIZE - 512: b"e" * 512}
QEMU, SEVEN_ZIP = needs("qemu-img"), needs("7zz")


def made_of(folder: Path, size: int = SIZE, pieces: dict[int, bytes] | None = None) -> Path:
    raw = write_raw(folder / "a.raw", size, PIECES if pieces is None else pieces)
    vhdx.convert(raw, folder / "a.vhd", options=DYNAMIC_VHD)
    return folder / "a.vhd"


def test_the_bytes(tmp_path: Path) -> None:
    """Copy of the footer, header, table, then bitmap and data of blocks 0, 1 and 4."""
    data = made_of(tmp_path).read_bytes()
    twin = VhdBuilder(SIZE, DYNAMIC, geometry=(271, 4, 17), timestamp=int.from_bytes(data[24:28], "big"))
    footer = bytearray(twin.footer())
    footer[68:84] = data[68:84]
    footer = bytearray(sealed(bytes(footer), 64))
    assert any(data[68:84])
    assert data[:512] == data[-512:] == footer
    assert data[512:1536] == twin.header(1536, [])
    places = [4096 - 512 + index * (BLOCK + 4096) for index in range(3)]
    entries = [places[0] // 512, places[1] // 512, *[0xFFFFFFFF] * 2, places[2] // 512]
    assert data[1536:2048] == struct.pack(">5I", *entries).ljust(512, b"\xff")
    expected = bytearray(2048).ljust(places[2] + 512 + BLOCK, b"\0")
    disk = raw_bytes(SIZE, PIECES).ljust(5 * BLOCK, b"\0")
    for place, block in zip(places, (0, 1, 4), strict=True):
        expected[place : place + 512] = b"\xff" * 512
        expected[place + 512 : place + 512 + BLOCK] = disk[block * BLOCK : block * BLOCK + BLOCK]
    assert data[2048:-512] == expected[2048:]


def test_blocks_of_zeros_are_not_stored(tmp_path: Path) -> None:
    made = made_of(tmp_path, 100 * GIB, {50 * GIB: b"x" * 4096, 60 * GIB: bytes(MIB)})
    assert made.stat().st_size < 3 * MIB
    with open_any(str(made)) as disk:
        stored = [(extent.offset, extent.length) for extent in disk.extents() if extent.kind.value == "data"]
        assert stored == [(50 * GIB, BLOCK)]


def test_nothing_at_all(tmp_path: Path) -> None:
    assert made_of(tmp_path, SIZE, {}).stat().st_size == 1536 + 512 + 512
    assert vhdx.check(tmp_path / "a.vhd").is_clean


@pytest.mark.parametrize("size", [MIB, SIZE, 4 * GIB - MIB, 4 * GIB + MIB])
def test_check_finds_nothing(tmp_path: Path, size: int) -> None:
    made = made_of(tmp_path, size, {0: b"a" * 512, size - 512: b"e" * 512})
    found = vhdx.check(made)
    assert (found.errors, found.warnings, found.notes, found.unchecked) == (0, 0, 0, ())


@QEMU
@pytest.mark.parametrize("size", [MIB, SIZE, 137 * MIB, 4 * GIB + MIB, 2040 * GIB])
def test_qemu_sees_the_same_disk(tmp_path: Path, size: int) -> None:
    made = made_of(tmp_path, size, {0: pattern(0, 5000), size // 2: b"m" * 1000, size - 512: b"e" * 512})
    told = run("qemu-img", "info", "-f", "vpc", made)
    assert f"({size} bytes)" in told
    assert f"cluster_size: {BLOCK}" in told
    if size <= 4 * GIB + MIB:  # block by block it takes long
        run("qemu-img", "compare", "-f", "vpc", "-F", "raw", made, tmp_path / "a.raw")
        assert vhdx.compare(made, tmp_path / "a.raw").identical


@pytest.mark.parametrize("size", [MIB, SIZE, 137 * MIB])
def test_libvhdi_sees_the_same_disk(tmp_path: Path, size: int) -> None:
    pieces = {0: pattern(0, 5000), size - 512: b"e" * 512}
    assert pyvhdi_bytes(made_of(tmp_path, size, pieces)) == raw_bytes(size, pieces)


def test_libvhdi_sees_the_ends_of_the_largest(tmp_path: Path) -> None:
    size = 2040 * GIB
    file = by_pyvhdi(made_of(tmp_path, size, {0: b"a" * 512, size - 512: b"e" * 512}))
    assert file.get_media_size() == size
    file.seek(size - 1024)
    assert file.read(1024) == bytes(512) + b"e" * 512


@SEVEN_ZIP
def test_seven_zip_sees_the_same_disk(tmp_path: Path) -> None:
    made = made_of(tmp_path)
    done = subprocess.run(["7zz", "x", "-so", "-tvhd", made], capture_output=True, check=True)
    assert done.stdout == raw_bytes(SIZE, PIECES)


def test_from_a_pipe_the_table_stands_behind_the_blocks(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "a.raw", SIZE, PIECES)
    words = f"-m vhdx convert -O vhd --type dynamic - {tmp_path / 'a.vhd'}".split()
    with subprocess.Popen(["cat", raw], stdout=subprocess.PIPE) as cat:
        subprocess.run([sys.executable, *words], stdin=cat.stdout, check=True)
    assert int.from_bytes((tmp_path / "a.vhd").read_bytes()[528:536], "big") > 6 * MIB
    assert pyvhdi_bytes(tmp_path / "a.vhd") == raw_bytes(SIZE, PIECES)
    assert vhdx.check(tmp_path / "a.vhd").is_clean


@pytest.mark.parametrize("pieces", [{}, PIECES, {0: pattern(3, SIZE)}])
def test_measure_tells_its_length(tmp_path: Path, pieces: dict[int, bytes]) -> None:
    made = made_of(tmp_path, SIZE, pieces)
    found = measure(tmp_path / "a.raw", target_format="vhd", options=DYNAMIC_VHD, scan_zeros=True)
    assert found.required_size == made.stat().st_size
    full = 4096 + 5 * BLOCK + 4 * 4 * KIB + 512
    assert found.fully_allocated_size == full


def test_the_type_is_what_was_asked_for(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "a.raw", SIZE, PIECES)
    for words, disk_type in (
        ((), "fixed"),
        (("--type", "fixed"), "fixed"),
        (("--type", "dynamic"), "dynamic"),
    ):
        assert vhdx_command("convert", "--force", *words, raw, tmp_path / "a.vhd").code == 0
        assert info(tmp_path / "a.vhd")["disk_type"] == disk_type


def test_differencing_is_refused(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "a.raw", SIZE, PIECES)
    done = vhdx_command("convert", "--type", "differencing", raw, tmp_path / "a.vhd")
    assert done.code == 64
    assert "vhdx create CHILD.avhdx --parent IMAGE" in done.err
    options = vhdx.ImageOptions(disk_type="differencing")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be 'dynamic' or 'fixed'; a differencing image is a VHDX"):
        vhdx.convert(raw, tmp_path / "a.vhd", options=options)
    assert names_in(tmp_path) == ["a.raw"]


def test_a_raw_target_has_no_type(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "a.raw", SIZE)
    with pytest.raises(ValueError, match="a raw target has no type"):
        vhdx.convert(raw, tmp_path / "b.raw", options=DYNAMIC_VHD)


def test_too_large(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "a.raw", 2040 * GIB + 512)
    with pytest.raises(ValueError, match="a VHD holds at most 2040 GiB"):
        vhdx.convert(raw, tmp_path / "a.vhd", options=DYNAMIC_VHD)


def test_a_parent_of_a_child_that_windows_makes(tmp_path: Path) -> None:
    """What a child does not have comes from here, as from any other parent."""
    made = made_of(tmp_path)
    child = VhdBuilder(
        *(SIZE, DIFFERENCING, BLOCK, {1: b"c" * 512}),
        unique_id=uuid.UUID(int=1),
        parent_id=uuid.UUID(bytes=made.read_bytes()[68:84]),
        parent_name="a.vhd",
    )
    child.write(tmp_path / "child.vhd")
    expected = child.content(raw_bytes(SIZE, PIECES))
    with open_any(str(tmp_path / "child.vhd")) as disk:
        assert disk.pread(disk.size, 0) == expected
