"""QEMU: what we make it finds clean and reads alike, and what it makes we read alike."""

from pathlib import Path
from typing import Any

import pytest

import vhdx
from tests.ops.make.making import assert_same_bytes, disk_of
from tests.support.build import ImageBuilder
from tests.support.layout import GIB, KIB, MIB, PARTIALLY_PRESENT, TIB
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.reading import whole

from .images import CHUNKS, ODD_SECTORS, SMALL, Made, expected_of, ranges_of
from .programs import QEMU, QEMU_IO, by_qemu, qemu_check, qemu_info, run

pytestmark = [QEMU]


@pytest.mark.parametrize("made", [*SMALL, *ODD_SECTORS], ids=str)
def test_reads_what_we_convert(tmp_path: Path, made: Made) -> None:
    path = made.write(tmp_path)
    found = qemu_info(path)
    assert (found["virtual-size"], found["format"]) == (made.size, "vhdx")
    assert qemu_check(path)["check-errors"] == 0
    assert by_qemu(path) == [made.content()]


@pytest.mark.parametrize("made", CHUNKS, ids=str)
def test_reads_large_disks(tmp_path: Path, made: Made) -> None:
    path = made.write(tmp_path)
    assert qemu_check(path)["check-errors"] == 0
    assert by_qemu(path, ranges_of(made)) == expected_of(made)


@pytest.mark.parametrize("made", SMALL, ids=str)
def test_compares_equal(tmp_path: Path, made: Made) -> None:
    path = made.write(tmp_path)
    said = run("qemu-img", "compare", "-f", "raw", "-F", "vhdx", tmp_path / "source.raw", path)
    assert "Images are identical." in said


@pytest.mark.parametrize(
    ("size", "options"),
    [
        (512, {}),
        (3 * MIB, {"disk_type": "fixed", "block_size": MIB}),
        (GIB + 512, {"zero_blocks": True}),
        (4 * GIB + MIB, {"block_size": MIB}),
        (64 * TIB, {}),
        (64 * TIB, {"block_size": 256 * MIB, "zero_blocks": True}),
    ],
)
def test_finds_what_we_create_clean(tmp_path: Path, size: int, options: dict[str, Any]) -> None:
    path = tmp_path / "a.vhdx"
    made = vhdx.create(path, size, **options)
    found = qemu_info(path)
    assert (found["virtual-size"], found["cluster-size"]) == (size, made.block_size)
    assert qemu_check(path)["check-errors"] == 0


@QEMU_IO
@pytest.mark.parametrize("options", [{}, {"disk_type": "fixed"}, {"zero_blocks": True}])
def test_writes_into_what_we_create(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "a.vhdx"
    vhdx.create(path, 8 * MIB, block_size=MIB, **options)
    run("qemu-io", "-f", "vhdx", "-c", "write -P 0x11 1000k 100k", "-c", "write -P 0x22 7M 1M", path)
    assert qemu_check(path)["check-errors"] == 0
    expected = bytearray(8 * MIB)
    expected[1000 * KIB : 1100 * KIB] = b"\x11" * 100 * KIB
    expected[7 * MIB :] = b"\x22" * MIB
    with vhdx.open(path) as disk:
        assert whole(disk) == expected


WRITES = [
    *("write -P 0x11 0 64k", "write -P 0x22 1000k 100k", "write -P 0x33 3M 2M", "write -z 4M 64k"),
    *("write -P 0x44 10239k 1k", "write -P 0x55 5000k 512", "discard 3M 1M"),
]


@QEMU_IO
@pytest.mark.parametrize("subformat", ["dynamic", "fixed"])
@pytest.mark.parametrize("zero", ["on", "off"])
@pytest.mark.parametrize("block_size", ["1M", "8M", "256M"])
def test_we_read_what_it_makes(tmp_path: Path, subformat: str, zero: str, block_size: str) -> None:
    if subformat == "fixed" and block_size == "256M":
        block_size = "16M"
    path = tmp_path / "a.vhdx"
    options = f"subformat={subformat},block_state_zero={zero},block_size={block_size}"
    run("qemu-img", "create", "-q", "-f", "vhdx", "-o", options, path, "10M")
    for command in [None, *WRITES]:
        if command is not None:
            run("qemu-io", "-f", "vhdx", "-c", command, path)
        (expected,) = by_qemu(path)
        with vhdx.open(path) as disk:
            assert (disk.size, disk.disk_type) == (10 * MIB, subformat)
            assert whole(disk) == expected, command


@pytest.mark.parametrize("subformat", ["dynamic", "fixed"])
@pytest.mark.parametrize("zero", ["on", "off"])
@pytest.mark.parametrize("made", [SMALL[0], SMALL[-1], ODD_SECTORS[-1]], ids=str)
def test_we_read_what_it_converts(tmp_path: Path, made: Made, subformat: str, zero: str) -> None:
    """Its fixed images end where the disk ends, inside the last block."""
    made.write(tmp_path)
    path = tmp_path / "theirs.vhdx"
    options = f"subformat={subformat},block_state_zero={zero},block_size=8M"
    source = tmp_path / "source.raw"
    run("qemu-img", "convert", "-f", "raw", "-O", "vhdx", "-o", options, source, path)
    with vhdx.open(path) as disk:
        assert whole(disk) == made.content()
    vhdx.convert(path, tmp_path / "back.raw")
    assert_same_bytes(tmp_path / "back.raw", source)


@QEMU_IO
def test_we_read_what_it_writes_over_chunks(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    run("qemu-img", "create", "-q", "-f", "vhdx", "-o", "block_size=1M", path, f"{8 * GIB + 3 * MIB}")
    spots = [number * MIB - 512 for number in (1, 4095, 4096, 4097, 8192, 8195)]
    commands = [
        part for number, at in enumerate(spots) for part in ("-c", f"write -P {number + 1} {at} 1024")
    ]
    run("qemu-io", "-f", "vhdx", *commands[:-2], "-c", f"write -P 6 {spots[-1]} 512", path)
    with vhdx.open(path) as disk:
        for number, at in enumerate(spots):
            length = min(1024, disk.size - at)
            assert disk.pread(length, at) == bytes([number + 1]) * length


# where it differs, so that docs/supported.md can say so -------------------------------------------


def test_it_refuses_sectors_of_4096(tmp_path: Path) -> None:
    vhdx.create(tmp_path / "a.vhdx", 10 * MIB, logical_sector_size=4096)
    assert "not supported" in run("qemu-img", "info", "-f", "vhdx", tmp_path / "a.vhdx", code=1)


def test_it_refuses_differencing_images(tmp_path: Path) -> None:
    parent = ImageBuilder(4 * MIB, blocks={0: Block(pattern(0, MIB))})
    parent.write(tmp_path / "parent.vhdx")
    child = parent.child()
    child.blocks = {0: Block(b"x", PARTIALLY_PRESENT, present={0})}
    path = child.write(tmp_path / "child.vhdx")
    assert "not supported" in run("qemu-img", "info", "-f", "vhdx", path, code=1)
    vhdx.convert(path, tmp_path / "flat.vhdx")
    assert (
        by_qemu(tmp_path / "flat.vhdx")
        == [child.content(parent.content())]
        == [disk_of(tmp_path / "flat.vhdx")]
    )
