"""Contents survive every conversion, judged by the naive reader; what is zero takes no space."""

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vhdx
from tests.support.build import ImageBuilder
from tests.support.describe import round_up
from tests.support.layout import (
    FULLY_PRESENT,
    GIB,
    IS_USER,
    IS_VIRTUAL_DISK,
    KIB,
    MIB,
    NOT_PRESENT,
    PARTIALLY_PRESENT,
    TIB,
    UNMAPPED,
    ZERO,
)
from tests.support.logs import LogBuilder, difference
from tests.support.naive import naive_content, naive_size
from tests.support.parts import Block, Item, Region
from tests.support.patterns import pattern
from vhdx.disk.open import open_disk

from .making import (
    Pieces,
    assert_is,
    assert_same_bytes,
    disk_of,
    item_of,
    mebibytes,
    places,
    raw_bytes,
    should_be,
    space_taken,
    states,
    write_raw,
)

UNIT = 16 * KIB
"""What is tested for zeros in one go."""

Options = vhdx.ImageOptions


def convert(source: Path, target: Path, **options: Any) -> vhdx.ConvertResult:
    """Convert with these options of images."""
    return vhdx.convert(source, target, options=Options(**options))


def piped(data: bytes, target: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The command, with the data coming from a pipe."""
    command = [sys.executable, "-m", "vhdx", "convert", "-", str(target), *arguments]
    return subprocess.run(command, input=data, capture_output=True, check=False)


def bytes_in_units_with_data(content: bytes, size: int) -> int:
    """The most that a conversion may write."""
    units = (content[at : at + UNIT] for at in range(0, size, UNIT))
    return sum(min(UNIT, size - number * UNIT) for number, unit in enumerate(units) if any(unit))


# contents ----------------------------------------------------------------------------------------

BORDERS: list[tuple[str, int, Pieces]] = [
    ("one sector", 512, {0: b"x" * 512}),
    ("one byte of data at the very end", 5 * MIB, {5 * MIB - 1: b"x"}),
    ("one byte of data at the very start", 5 * MIB, {0: b"x"}),
    ("nothing but zeros", 5 * MIB, {0: bytes(5 * MIB)}),
    ("nothing but a hole", 5 * MIB, {}),
    ("full", 5 * MIB, {0: pattern(0, 5 * MIB)}),
    ("around a unit", 2 * MIB, {UNIT - 1: b"ab", 3 * UNIT: b"c" * UNIT, 5 * UNIT - 512: b"d" * 512}),
    ("first and last byte of a unit", 2 * MIB, {UNIT: b"x", 2 * UNIT + UNIT - 1: b"y"}),
    ("behind the first bytes of a unit", 2 * MIB, {UNIT + 31: b"x", 3 * UNIT + 32: b"y"}),
    ("around a MiB", 4 * MIB, {MIB - 1: b"ab", 2 * MIB - UNIT: b"c" * 2 * UNIT, 3 * MIB: b"d"}),
    ("data and zeros in turn", 3 * MIB, {0: (b"x" * UNIT + bytes(UNIT)) * 96}),
    ("zeros and data in turn", 3 * MIB, {0: (bytes(UNIT) + b"x" * UNIT) * 96}),
    ("data in every second block", 9 * MIB, {at: pattern(0, MIB) for at in mebibytes(0, 2, 4, 6, 8)}),
    ("holes of pages", 3 * MIB, dict.fromkeys(range(0, 3 * MIB, 12 * KIB), b"x" * 4 * KIB)),
]
SHAPES: list[tuple[str, dict[str, Any]]] = [
    ("blocks of 1 MiB", {"block_size": MIB}),
    ("blocks of 2 MiB", {"block_size": 2 * MIB}),
    ("fixed", {"block_size": MIB, "disk_type": "fixed"}),
    ("4096", {"block_size": 4 * MIB, "logical_sector_size": 4096}),
    ("zero blocks", {"block_size": MIB, "zero_blocks": True}),
]


@pytest.mark.parametrize(("size", "pieces"), [row[1:] for row in BORDERS], ids=[row[0] for row in BORDERS])
@pytest.mark.parametrize("options", [row[1] for row in SHAPES], ids=[row[0] for row in SHAPES])
def test_there_and_back(tmp_path: Path, size: int, pieces: Pieces, options: dict[str, Any]) -> None:
    expected = raw_bytes(size, pieces)
    source = write_raw(tmp_path / "a.raw", size, pieces)
    there = convert(source, tmp_path / "a.vhdx", **options)
    full_size = round_up(size, options.get("logical_sector_size", 512))
    assert (there.source_format, there.target_format, there.virtual_size) == ("raw", "vhdx", full_size)
    assert disk_of(tmp_path / "a.vhdx") == expected.ljust(full_size, b"\0")
    back = convert(tmp_path / "a.vhdx", tmp_path / "b.raw")
    assert (back.source_format, back.target_format, back.virtual_size) == ("vhdx", "raw", full_size)
    assert (tmp_path / "b.raw").read_bytes() == expected.ljust(full_size, b"\0")
    assert max(there.data_size, back.data_size) <= bytes_in_units_with_data(expected, full_size)


@pytest.mark.parametrize("block_size", [1 << power for power in range(20, 29)])
@pytest.mark.parametrize("disk_type", ["dynamic", "fixed"])
def test_every_block_size(tmp_path: Path, block_size: int, disk_type: str) -> None:
    size = 2 * block_size + 3 * MIB
    pieces = {block_size - 600: b"a" * 1200, 2 * block_size + MIB: b"b" * 100, size - 512: b"c" * 512}
    if disk_type == "fixed" and block_size > 64 * MIB:
        size, pieces = 3 * MIB, {0: b"a", 3 * MIB - 1: b"b"}
    source = write_raw(tmp_path / "a.raw", size, pieces)
    convert(source, tmp_path / "a.vhdx", block_size=block_size, disk_type=disk_type)
    for at, data in pieces.items():
        start, end = max(0, at - 4096), min(size, at + len(data) + 4096)
        assert naive_content(tmp_path / "a.vhdx", start, end - start) == _read(source, start, end - start)
    convert(tmp_path / "a.vhdx", tmp_path / "b.raw")
    assert_same_bytes(source, tmp_path / "b.raw")


def _read(path: Path, offset: int, length: int) -> bytes:
    with open(path, "rb") as file:
        return os.pread(file.fileno(), length, offset)


@pytest.mark.parametrize("size", [1, 511, 513, 1000, MIB - 1, MIB + 1, 3 * MIB + 4095, 5 * MIB + 511])
class TestOddSizes:
    """What is no whole number of sectors is filled up with zeros in an image, and stays as it is in raw."""

    def test_to_an_image(self, tmp_path: Path, size: int) -> None:
        source = write_raw(tmp_path / "a.raw", size, {0: pattern(0, size)})
        made = convert(source, tmp_path / "a.vhdx", block_size=MIB)
        assert made.virtual_size == naive_size(tmp_path / "a.vhdx") == round_up(size, 512)
        assert disk_of(tmp_path / "a.vhdx") == pattern(0, size).ljust(round_up(size, 512), b"\0")

    def test_says_that_it_rounds(self, tmp_path: Path, size: int) -> None:
        source = write_raw(tmp_path / "a.raw", size, {0: pattern(0, size)})
        made = convert(source, tmp_path / "a.vhdx", block_size=MIB)
        assert [f"virtual size rounded from {size} bytes" in remark for remark in made.remarks] == [True]

    def test_to_raw(self, tmp_path: Path, size: int) -> None:
        source = write_raw(tmp_path / "a.raw", size, {0: pattern(0, size)})
        assert convert(source, tmp_path / "b.raw").virtual_size == size
        assert (tmp_path / "b.raw").read_bytes() == pattern(0, size)

    @pytest.mark.parametrize("sector", ["512", "4096"])
    def test_from_a_pipe(self, tmp_path: Path, size: int, sector: str) -> None:
        target = tmp_path / "a.vhdx"
        done = piped(pattern(0, size), target, "--block-size", "1M", "--logical-sector-size", sector)
        assert done.returncode == 0, done.stderr
        assert f"virtual size rounded from {size} bytes".encode() in done.stderr
        assert disk_of(target) == pattern(0, size).ljust(round_up(size, int(sector)), b"\0")


def test_sectors_of_4096(tmp_path: Path) -> None:
    """The disk grows to whole sectors, with a remark; the bytes stay where they are."""
    source = write_raw(tmp_path / "a.raw", 2 * MIB + 512, {2 * MIB: b"x" * 512})
    made = convert(source, tmp_path / "a.vhdx", logical_sector_size=4096, block_size=MIB)
    assert made.virtual_size == 2 * MIB + 4096
    assert ["virtual size rounded" in remark for remark in made.remarks] == [True]
    assert item_of(tmp_path / "a.vhdx", "logical_sector_size") == 4096
    assert disk_of(tmp_path / "a.vhdx")[2 * MIB :] == (b"x" * 512).ljust(4096, b"\0")


# pipes and devices -------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("--type", "fixed"), ("--zero-blocks",)])
@pytest.mark.parametrize(
    "pieces",
    [{}, {0: b"x"}, {6 * MIB - 1: b"x"}, {0: pattern(0, 6 * MIB)}, {MIB: b"a" * MIB, 4 * MIB: b"b" * MIB}],
)
def test_from_a_pipe(tmp_path: Path, pieces: Pieces, arguments: tuple[str, ...]) -> None:
    content = raw_bytes(6 * MIB, pieces)
    done = piped(content, tmp_path / "a.vhdx", "--block-size", "1M", *arguments)
    assert (done.returncode, done.stderr) == (0, b"")
    assert disk_of(tmp_path / "a.vhdx") == content
    fixed, zeros = "fixed" in arguments, "--zero-blocks" in arguments
    absent = FULLY_PRESENT if fixed else ZERO if zeros else NOT_PRESENT
    full = [any(content[at : at + MIB]) for at in range(0, 6 * MIB, MIB)]
    assert states(tmp_path / "a.vhdx", 6) == [FULLY_PRESENT if block else absent for block in full]
    raw = piped(content, tmp_path / "b.raw")
    assert raw.returncode == 0
    assert (tmp_path / "b.raw").read_bytes() == content


def test_from_a_pipe_that_gives_little_at_a_time(tmp_path: Path) -> None:
    content = pattern(0, 2 * MIB + 700)
    command = [sys.executable, "-m", "vhdx", "convert", "-", str(tmp_path / "a.raw")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        at = 0
        for step in random.Random(1).choices((1, 511, 4096, 70000, 300001), k=100):
            process.stdin.write(content[at : at + step])
            process.stdin.flush()
            at += step
        process.stdin.write(content[at:])
        process.stdin.close()
        assert process.wait() == 0
    assert (tmp_path / "a.raw").read_bytes() == content


@pytest.mark.parametrize("target", ["a.vhdx", "a.raw"])
@pytest.mark.parametrize("how", ["pipe", "redirected", "file"])
def test_empty_input_is_an_error(tmp_path: Path, target: str, how: str) -> None:
    """A disk without a byte is never meant: the program in front of the pipe has failed."""
    empty = write_raw(tmp_path / "empty.raw", 0)
    command = [sys.executable, "-m", "vhdx", "convert", "-" if how != "file" else str(empty)]
    command.append(str(tmp_path / target))
    if how == "pipe":
        done = subprocess.run(command, input=b"", capture_output=True, check=False)
    else:
        with open(empty, "rb") as redirected:
            done = subprocess.run(command, stdin=redirected, capture_output=True, check=False)
    assert done.returncode != 0
    said = b"nothing came through standard input" if how == "pipe" else b"more than 0"
    assert said in done.stderr
    assert os.listdir(tmp_path) == ["empty.raw"]


@pytest.mark.parametrize("start", [0, 512, 700])
def test_from_a_redirected_file(tmp_path: Path, start: int) -> None:
    """A regular file on standard input keeps its holes; one that was read from is continued."""
    pieces = {0: b"a" * 1000, 2 * MIB: b"b" * 512}
    source = write_raw(tmp_path / "a.raw", 3 * MIB, pieces)
    with open(source, "rb", buffering=0) as file:
        file.seek(start)
        command = [sys.executable, "-m", "vhdx", "convert", "-", str(tmp_path / "b.raw")]
        subprocess.run(command, stdin=file, stdout=subprocess.DEVNULL, check=True)
    assert (tmp_path / "b.raw").read_bytes() == raw_bytes(3 * MIB, pieces)[start:]
    assert space_taken(tmp_path / "b.raw") <= MIB


def test_a_large_hole_on_standard_input_costs_nothing(tmp_path: Path) -> None:
    source = write_raw(tmp_path / "a.raw", 8 * TIB, {4 * TIB: b"x"})
    with open(source, "rb") as file:
        command = [sys.executable, "-m", "vhdx", "convert", "-", str(tmp_path / "a.vhdx")]
        subprocess.run(command, stdin=file, stdout=subprocess.DEVNULL, check=True)
    assert naive_content(tmp_path / "a.vhdx", 4 * TIB, 2) == b"x\0"


@pytest.mark.parametrize("regular", [True, False])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"QFI\xfb".ljust(4096, b"\0"), b"standard input is a qcow2 image"),
        (b"\x1f\x8b\x08".ljust(4096, b"\0"), b"decompress it first"),
    ],
)
def test_images_from_standard_input_are_no_raw_disks_unless_it_is_said(
    content: bytes, sentence: bytes, regular: bool, tmp_path: Path
) -> None:
    (tmp_path / "source").write_bytes(content)
    command = [sys.executable, "-m", "vhdx", "convert", "-", "a.vhdx"]

    def run(*more: str) -> subprocess.CompletedProcess[bytes]:
        with open(tmp_path / "source", "rb") as file:
            source: dict[str, Any] = {"stdin": file} if regular else {"input": content}
            return subprocess.run([*command, *more], cwd=tmp_path, capture_output=True, check=False, **source)

    done = run()
    assert done.returncode == 64
    assert sentence in done.stderr
    assert not (tmp_path / "a.vhdx").exists()
    assert run("-f", "raw").returncode == 0
    assert naive_content(tmp_path / "a.vhdx", 0, len(content)) == content


def test_from_a_block_device(tmp_path: Path, block_device: Callable[[Path], Path]) -> None:
    """Its ``st_size`` is 0; its capacity is the disk's."""
    pieces = {0: b"boot" * 128, 5 * MIB - 512: b"last" * 128}
    device = block_device(write_raw(tmp_path / "disk", 5 * MIB, pieces))
    made = convert(device, tmp_path / "a.vhdx", block_size=MIB)
    assert (made.source_format, made.virtual_size, made.remarks) == ("raw", 5 * MIB, ())
    assert disk_of(tmp_path / "a.vhdx") == raw_bytes(5 * MIB, pieces)
    assert states(tmp_path / "a.vhdx", 5) == [6, 0, 0, 0, 6]
    with open(device, "rb") as opened:
        command = [sys.executable, "-m", "vhdx", "convert", "-", str(tmp_path / "b.raw")]
        subprocess.run(command, stdin=opened, stdout=subprocess.DEVNULL, check=True)
    assert (tmp_path / "b.raw").read_bytes() == raw_bytes(5 * MIB, pieces)


def test_a_block_device_that_looks_like_an_image(
    tmp_path: Path, block_device: Callable[[Path], Path]
) -> None:
    """Whoever owns the contents of a device could make it name files of the host."""
    image = ImageBuilder(3 * MIB, blocks={1: Block(pattern(1, MIB))})
    device = block_device(image.write(tmp_path / "disk"))
    with pytest.raises(ValueError, match="say -f raw or -f vhdx"):
        vhdx.convert(device, tmp_path / "a.raw")
    vhdx.convert(device, tmp_path / "a.raw", source_format="vhdx")
    assert (tmp_path / "a.raw").read_bytes() == image.content()
    vhdx.convert(device, tmp_path / "b.raw", source_format="raw")
    assert (tmp_path / "b.raw").read_bytes() == (tmp_path / "disk").read_bytes()


# images as sources -------------------------------------------------------------------------------

LAYERED = ImageBuilder(
    6 * MIB + 512,
    MIB,
    seed=1,
    blocks={
        0: Block(pattern(0, MIB, 1)),
        1: Block(pattern(1, MIB, 1)),
        3: Block(pattern(3, MIB, 1)),
        6: Block(pattern(6, 512, 1)),
    },
)


def _chain(folder: Path) -> tuple[Path, bytes]:
    """Base, child and grandchild; the path of the youngest and what it reads as."""
    LAYERED.write(folder / "base.vhdx")
    child = LAYERED.child("base.vhdx")
    child.blocks = {
        1: Block(pattern(1, MIB, 2), PARTIALLY_PRESENT, present={0, 7, 8, 100, 2047}),
        3: Block(state=ZERO),
        4: Block(pattern(4, MIB, 2)),
    }
    child.write(folder / "child.vhdx")
    grandchild = child.child("child.vhdx")
    grandchild.blocks = {
        1: Block(pattern(1, MIB, 3), PARTIALLY_PRESENT, present=range(90, 110)),
        0: Block(state=UNMAPPED),
    }
    grandchild.write(folder / "grandchild.vhdx")
    return folder / "grandchild.vhdx", grandchild.content(child.content(LAYERED.content()))


@pytest.mark.parametrize("options", [row[1] for row in SHAPES], ids=[row[0] for row in SHAPES])
def test_a_chain_becomes_one_image(tmp_path: Path, options: dict[str, Any]) -> None:
    leaf, content = _chain(tmp_path)
    made = convert(leaf, tmp_path / "flat.vhdx", **options)
    assert disk_of(tmp_path / "flat.vhdx") == content.ljust(made.virtual_size, b"\0")
    assert item_of(tmp_path / "flat.vhdx", "virtual_disk_id") == LAYERED.guid("disk id")


def test_a_chain_becomes_raw(tmp_path: Path) -> None:
    leaf, content = _chain(tmp_path)
    convert(leaf, tmp_path / "flat.raw")
    assert (tmp_path / "flat.raw").read_bytes() == content


def test_a_chain_with_a_parent_elsewhere(tmp_path: Path) -> None:
    leaf, content = _chain(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "base.vhdx").rename(elsewhere / "moved.vhdx")
    with pytest.raises(vhdx.ParentNotFoundError):
        vhdx.convert(leaf, tmp_path / "flat.raw")
    assert not (tmp_path / "flat.raw").exists()
    vhdx.convert(leaf, tmp_path / "flat.raw", parents=elsewhere)
    assert (tmp_path / "flat.raw").read_bytes() == content


def test_a_dirty_image_is_replayed(tmp_path: Path) -> None:
    before = ImageBuilder(3 * MIB, MIB, blocks={0: Block(pattern(0, MIB))})
    after = ImageBuilder(3 * MIB, MIB, blocks={0: Block(pattern(0, MIB)), 2: Block(pattern(2, MIB))})
    end = after.length()
    log = LogBuilder(flushed_file_offset=end, last_file_offset=end)
    log.add(*difference(before.build().ljust(end, b"\0"), after.build(), 2 * MIB, 4 * MIB))
    dirty = ImageBuilder(3 * MIB, MIB, blocks=before.blocks, log=log, file_length=end)
    dirty.patches = [(after.plan().blocks[2], pattern(2, MIB))]
    path = dirty.write(tmp_path / "dirty.vhdx")
    assert disk_of(path) == after.content()
    frozen = path.read_bytes()
    convert(path, tmp_path / "clean.vhdx")
    assert disk_of(tmp_path / "clean.vhdx") == after.content()
    assert path.read_bytes() == frozen


KEPT, PLAIN = UUID(int=0xA), UUID(int=0xB)
WITH_ITEMS = ImageBuilder(
    3 * MIB,
    MIB,
    physical_sector_size=512,
    blocks={1: Block(pattern(1, MIB))},
    items={
        "of the disk": Item(b"goes with the disk", IS_USER | IS_VIRTUAL_DISK, KEPT),
        "empty": Item(b"", IS_USER | IS_VIRTUAL_DISK, UUID(int=0xC), offset=0),
        "of the file": Item(b"stays with the file", IS_USER, PLAIN),
        "of the system": Item(b"system", IS_VIRTUAL_DISK, UUID(int=0xD)),
    },
)


def test_what_belongs_to_the_disk_is_kept(tmp_path: Path) -> None:
    source = WITH_ITEMS.write(tmp_path / "a.vhdx")
    convert(source, tmp_path / "b.vhdx", block_size=MIB)
    described = should_be(
        tmp_path / "b.vhdx",
        disk_size=3 * MIB,
        block_size=MIB,
        physical_sector_size=512,
        blocks=WITH_ITEMS.blocks,
        disk_id=WITH_ITEMS.guid("disk id"),
        items={
            "of the disk": Item(b"goes with the disk", IS_USER | IS_VIRTUAL_DISK, KEPT),
            "empty": Item(b"", IS_USER | IS_VIRTUAL_DISK, UUID(int=0xC), offset=0),
        },
    )
    assert_is(tmp_path / "b.vhdx", described)


def test_what_belongs_to_the_disk_can_be_chosen_anew(tmp_path: Path) -> None:
    source = WITH_ITEMS.write(tmp_path / "a.vhdx")
    convert(source, tmp_path / "b.vhdx", disk_id=UUID(int=5), physical_sector_size=4096)
    assert item_of(tmp_path / "b.vhdx", "virtual_disk_id") == UUID(int=5)
    assert item_of(tmp_path / "b.vhdx", "physical_sector_size") == 4096


@pytest.mark.parametrize("sector", [512, 4096])
def test_the_logical_sector_size_is_kept(tmp_path: Path, sector: int) -> None:
    source = ImageBuilder(3 * MIB, MIB, logical_sector_size=sector, blocks={1: Block(pattern(1, MIB))})
    convert(source.write(tmp_path / "a.vhdx"), tmp_path / "b.vhdx")
    assert item_of(tmp_path / "b.vhdx", "logical_sector_size") == sector
    other = 4608 - sector
    convert(tmp_path / "a.vhdx", tmp_path / "c.vhdx", logical_sector_size=other)
    assert item_of(tmp_path / "c.vhdx", "logical_sector_size") == other
    assert disk_of(tmp_path / "c.vhdx") == source.content()


def test_a_full_metadata_region_is_enough_for_all_user_items(tmp_path: Path) -> None:
    """1024 items of 1 KiB do not fit in 1 MiB beside the table."""
    items = {
        str(number): Item(bytes([number % 255 + 1]) * 1024, IS_USER | IS_VIRTUAL_DISK, UUID(int=number + 1))
        for number in range(1024)
    }
    roomy = {"metadata": Region(size=2 * MIB)}
    source = ImageBuilder(3 * MIB, MIB, items=items, regions=roomy).write(tmp_path / "a.vhdx")
    convert(source, tmp_path / "b.vhdx", block_size=MIB)
    with open_disk(tmp_path / "b.vhdx") as disk:
        leaf = disk.layers[0]
        kept = {entry.item_id: leaf.metadata.item(leaf.storage, entry) for entry in leaf.metadata.entries}
    assert {item.item_id: item.value for item in items.values()}.items() <= kept.items()


# what is not stored ------------------------------------------------------------------------------


def test_zeros_are_not_stored(tmp_path: Path) -> None:
    """Holes, zeros that are written out, and zeros inside data all take no space."""
    pieces = {0: bytes(4 * MIB), 5 * MIB: b"x" * UNIT, 8 * MIB: bytes(MIB - 1) + b"y" + bytes(MIB)}
    source = write_raw(tmp_path / "a.raw", 12 * MIB, pieces)
    made = convert(source, tmp_path / "a.vhdx", block_size=MIB)
    assert made.data_size == 2 * UNIT
    assert states(tmp_path / "a.vhdx", 12) == [6 if block in (5, 8) else 0 for block in range(12)]
    assert made.file_size == (tmp_path / "a.vhdx").stat().st_size == (4 + 2) * MIB
    assert space_taken(tmp_path / "a.vhdx") <= MIB
    back = convert(tmp_path / "a.vhdx", tmp_path / "b.raw")
    assert back.data_size == 2 * UNIT
    assert space_taken(tmp_path / "b.raw") <= 2 * UNIT


@pytest.mark.parametrize("state", [NOT_PRESENT, ZERO, UNMAPPED])
def test_blocks_that_read_as_zeros_are_not_stored(tmp_path: Path, state: int) -> None:
    image = ImageBuilder(4 * MIB, MIB, default_state=state, blocks={2: Block(pattern(2, MIB))})
    convert(image.write(tmp_path / "a.vhdx"), tmp_path / "b.vhdx", block_size=MIB)
    assert states(tmp_path / "b.vhdx", 4) == [0, 0, 6, 0]


def test_blocks_stand_in_ascending_order_without_gaps(tmp_path: Path) -> None:
    scattered = {3: 9, 0: 7, 2: 5, 5: 4}
    image = ImageBuilder(
        6 * MIB,
        MIB,
        blocks={block: Block(pattern(block, MIB), file_offset=at * MIB) for block, at in scattered.items()},
    )
    convert(image.write(tmp_path / "a.vhdx"), tmp_path / "b.vhdx", block_size=MIB)
    assert places(tmp_path / "b.vhdx", 6) == [4, 0, 5, 6, 0, 7]
    assert disk_of(tmp_path / "b.vhdx") == image.content()


def test_every_byte_over_a_chunk_border(tmp_path: Path) -> None:
    blocks = (0, 4094, 4095, 4096, 4097, 8191, 8192)
    contents = {block: pattern(block, MIB) for block in blocks}
    pieces = {block * MIB: data for block, data in contents.items()}
    source = write_raw(tmp_path / "a.raw", 8 * GIB + MIB + 512, pieces)
    convert(source, tmp_path / "a.vhdx", block_size=MIB)
    described = should_be(
        tmp_path / "a.vhdx",
        disk_size=8 * GIB + MIB + 512,
        block_size=MIB,
        blocks={block: Block(data) for block, data in contents.items()},
    )
    assert_is(tmp_path / "a.vhdx", described)
    convert(tmp_path / "a.vhdx", tmp_path / "b.raw")
    assert (tmp_path / "b.raw").stat().st_size == 8 * GIB + MIB + 512
    for at, data in pieces.items():
        assert _read(tmp_path / "b.raw", at, MIB) == data
    assert space_taken(tmp_path / "b.raw") == len(blocks) * MIB


def test_64_tib_there_and_back(tmp_path: Path) -> None:
    """To raw it goes only on file systems with files of that size, and there it must not matter."""
    pieces = {0: b"a" * 512, 40 * TIB: b"b" * 512, 64 * TIB - 512: b"c" * 512}
    image = ImageBuilder(64 * TIB, 64 * MIB)
    for at, data in pieces.items():
        image.blocks[at // (64 * MIB)] = Block({at % (64 * MIB): data})
    convert(image.write(tmp_path / "a.vhdx"), tmp_path / "b.vhdx", block_size="256M")
    for at, data in pieces.items():
        assert naive_content(tmp_path / "b.vhdx", at, 512) == data
    assert space_taken(tmp_path / "b.vhdx") <= 2 * MIB


# refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["grandchild.vhdx", "child.vhdx", "base.vhdx"])
@pytest.mark.parametrize("name", ["itself", "symbolic link", "hard link", "another spelling"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_layer_is_no_target(tmp_path: Path, layer: str, name: str, *, overwrite: bool) -> None:
    leaf, _ = _chain(tmp_path)
    target = tmp_path / layer
    if name == "symbolic link":
        target = tmp_path / "link.vhdx"
        target.symlink_to(layer)
    elif name == "hard link":
        target = tmp_path / "link.vhdx"
        target.hardlink_to(tmp_path / layer)
    elif name == "another spelling":
        target = Path(f"{tmp_path}/../{tmp_path.name}/{layer}")
    before = {path.name: (path.read_bytes(), path.stat().st_ino) for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="is the source or one of its parents"):
        vhdx.convert(leaf, target, overwrite=overwrite)
    assert before == {path.name: (path.read_bytes(), path.stat().st_ino) for path in tmp_path.iterdir()}


def test_a_raw_source_is_no_target(tmp_path: Path) -> None:
    source = write_raw(tmp_path / "a.raw", MIB, {0: b"x"})
    with pytest.raises(ValueError, match="is the source"):
        vhdx.convert(source, source, overwrite=True)
    with open(source, "rb") as file:
        command = [sys.executable, "-m", "vhdx", "convert", "-", str(source), "--force"]
        done = subprocess.run(command, stdin=file, capture_output=True, check=False)
    assert done.returncode == 64
    assert b"is the source" in done.stderr
    assert source.read_bytes() == b"x".ljust(MIB, b"\0")


VHDX, FLAT = b"vhdxfile", b"flat"


@pytest.mark.parametrize(
    ("name", "begins", "source_format", "outcome"),
    [
        ("a.raw", FLAT, None, "raw"),
        ("a.img", FLAT, None, "raw"),
        ("a.dd", FLAT, None, "raw"),
        ("a.bin", FLAT, None, "raw"),
        ("a.RAW", FLAT, None, "raw"),
        ("a.iso", FLAT, None, "raw"),
        ("a", FLAT, None, "raw"),
        ("a.raw", VHDX, None, "is named like a raw disk but looks like a VHDX; say -f raw or -f vhdx"),
        ("a.img", VHDX, None, "is named like a raw disk"),
        ("a.dd", VHDX, None, "is named like a raw disk"),
        ("a.bin", VHDX, None, "is named like a raw disk"),
        ("a.RAW", VHDX, None, "is named like a raw disk"),
        ("a.raw", VHDX, "raw", "raw"),
        ("a.raw", VHDX, "vhdx", "vhdx"),
        ("a.vhdx", VHDX, None, "vhdx"),
        ("a.avhdx", VHDX, None, "vhdx"),
        ("a.VHDX", VHDX, None, "vhdx"),
        ("a", VHDX, None, "vhdx"),
        ("a.bak", VHDX, None, "vhdx"),
        ("a.vhdx", VHDX, "raw", "raw"),
        ("a.vhdx", FLAT, None, "is named like a VHDX but does not look like one; say -f raw or -f vhdx"),
        ("a.avhdx", FLAT, None, "is named like a VHDX"),
        ("a.vhdx", FLAT, "raw", "raw"),
        ("a.raw", FLAT, "vhdx", "begins like no VHDX"),
    ],
)
def test_the_format_of_a_source(
    tmp_path: Path, name: str, begins: bytes, source_format: Any, outcome: str
) -> None:
    image = ImageBuilder(MIB, blocks={0: Block(pattern(0, MIB))})
    path = tmp_path / name
    if begins == VHDX:
        image.write(path)
    else:
        write_raw(path, MIB, {0: FLAT})
    target = tmp_path / "target.raw"
    if outcome in ("raw", "vhdx"):
        made = vhdx.convert(path, target, source_format=source_format)
        assert made.source_format == outcome
        assert target.read_bytes() == (path.read_bytes() if outcome == "raw" else image.content())
    else:
        with pytest.raises((ValueError, vhdx.CorruptImageError, vhdx.UnsupportedImageError), match=outcome):
            vhdx.convert(path, target, source_format=source_format)
        assert not target.exists()


@pytest.mark.parametrize(
    ("name", "target_format", "made"),
    [
        ("a.vhdx", None, "vhdx"),
        ("a.avhdx", None, "vhdx"),
        ("a.VHDX", None, "vhdx"),
        ("a.raw", None, "raw"),
        ("a.img", None, "raw"),
        ("a.dd", None, "raw"),
        ("a.bin", None, "raw"),
        ("a.vhdx", "raw", "raw"),
        ("a.raw", "vhdx", "vhdx"),
        ("a", "vhdx", "vhdx"),
        ("a", None, None),
        ("a.vhd", None, "vhd"),
        ("a.qcow2", None, None),
        ("vhdx", None, None),
        (".vhdx", None, None),
        ("a.vhdx.tmp", None, None),
    ],
)
def test_the_format_of_a_target(tmp_path: Path, name: str, target_format: Any, made: str | None) -> None:
    source = write_raw(tmp_path / "source.raw", MIB, {0: b"x"})
    target = tmp_path / "to" / name
    target.parent.mkdir()
    if made is None:
        with pytest.raises(ValueError, match="does not tell a format"):
            vhdx.convert(source, target, target_format=target_format)
        assert os.listdir(target.parent) == []
    else:
        result = vhdx.convert(source, target, target_format=target_format)
        assert result.target_format == made
        assert (target.read_bytes()[:8] == b"vhdxfile") == (made == "vhdx")


def test_progress_counts_data_and_no_holes(tmp_path: Path) -> None:
    source = write_raw(tmp_path / "a.raw", 8 * MIB, {0: b"x" * 2 * MIB, 6 * MIB: b"y" * 2 * MIB})
    calls: list[tuple[int, int | None]] = []
    options = vhdx.ImageOptions(block_size=MIB)
    vhdx.convert(source, tmp_path / "a.vhdx", options=options, progress=lambda *call: calls.append(call))
    assert calls == [(at * MIB, 4 * MIB) for at in (1, 2, 3, 4)]
    calls.clear()
    assert vhdx.compare(source, tmp_path / "a.vhdx", progress=lambda *call: calls.append(call)).identical
    assert calls == [(at * MIB, 4 * MIB) for at in (1, 2, 3, 4)]


# properties --------------------------------------------------------------------------------------

_SPOTS = st.builds(
    lambda unit, nudge: max(0, unit + nudge),
    st.integers(0, 4 * 64).map(lambda unit: unit * UNIT),
    st.sampled_from((-513, -512, -1, 0, 1, 31, 32, 33, 511, 512, 4095, 4096)),
)
_DATA = st.builds(
    lambda byte, length: bytes([byte]) * length,
    st.sampled_from((0, 0, 1, 255)),
    st.sampled_from((1, 31, 32, 33, 512, 4096, UNIT - 1, UNIT, UNIT + 1, MIB)),
)


@given(
    size=st.integers(1, 4 * MIB).map(lambda size: size - size % 512 or 512) | st.integers(1, 4 * MIB),
    spots=st.lists(st.tuples(_SPOTS, _DATA), max_size=8),
    block_size=st.sampled_from((MIB, 2 * MIB, 4 * MIB)),
    disk_type=st.sampled_from(("dynamic", "fixed")),
    sector=st.sampled_from((512, 4096)),
    zero_blocks=st.booleans(),
)
def test_any_disk_there_and_back(
    size: int, spots: list[tuple[int, bytes]], block_size: int, **shape: Any
) -> None:
    pieces: dict[int, bytes] = {}
    for at, data in spots:
        if at < size:
            pieces[at] = data[: size - at]
    expected = raw_bytes(size, pieces)
    sector, fixed = shape["sector"], shape["disk_type"] == "fixed"
    full = expected.ljust(round_up(size, sector), b"\0")
    with tempfile.TemporaryDirectory() as folder:
        raw, image, back = (Path(folder, name) for name in ("a.raw", "a.vhdx", "b.raw"))
        write_raw(raw, size, pieces)
        convert(
            raw,
            image,
            block_size=block_size,
            disk_type=shape["disk_type"],
            logical_sector_size=sector,
            zero_blocks=shape["zero_blocks"] and not fixed,
        )
        assert disk_of(image) == full
        blocks = [full[at : at + block_size] for at in range(0, len(full), block_size)]
        present = [fixed or any(block) for block in blocks]
        absent = ZERO if shape["zero_blocks"] else NOT_PRESENT
        assert states(image, len(blocks)) == [FULLY_PRESENT if here else absent for here in present]
        convert(image, back)
        assert back.read_bytes() == full


@pytest.mark.parametrize("sync", [True, False])
def test_the_host_is_hurried_only_where_it_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: bool
) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(b"disk" * (33 * MIB // 4))
    called = []
    for name in ("start_writing_back", "synchronize"):
        monkeypatch.setattr(f"vhdx.storage.file.host.{name}", lambda *_, name=name: called.append(name))
    vhdx.convert(raw, tmp_path / "disk.vhdx", sync=sync)
    assert set(called) == ({"start_writing_back", "synchronize"} if sync else set())


@pytest.mark.parametrize("state", [None, "map"])
def test_what_is_salvaged_shares_no_space(tmp_path: Path, state: str | None) -> None:
    """So that must not be asked for: it would be copied without a word."""
    source = tmp_path / "a.vhdx"
    vhdx.create(source, size=4 * MIB)
    how: dict[str, Any] = {"salvage": True, "state": state and tmp_path / state}
    with pytest.raises(ValueError, match="leave --clone always out"):
        vhdx.convert(source, tmp_path / "a.raw", clone="always", **how)
    assert os.listdir(tmp_path) == ["a.vhdx"]
