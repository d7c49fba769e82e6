"""What is measured is what a conversion makes, to the byte; without reading it is never less."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vhdx
from tests.partitions.tables import gpt_disk
from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, GIB, IS_USER, IS_VIRTUAL_DISK, KIB, MIB, UNMAPPED, ZERO
from tests.support.parts import Block, Item
from tests.support.patterns import pattern
from tests.support.vhd import DYNAMIC, VhdBuilder

from .making import names_in, raw_bytes, write_raw

SPOTS = st.builds(
    lambda unit, nudge: max(0, unit * 512 * KIB + nudge),
    st.integers(0, 18),
    st.sampled_from((-512, -1, 0, 1)),
)
DATA = st.builds(
    lambda byte, length: bytes([byte]) * length,
    st.sampled_from((0, 0, 1)),
    st.sampled_from((1, 512, 16 * KIB, MIB, 2 * MIB + 1)),
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "block_size": st.sampled_from([MIB, 2 * MIB, 256 * MIB]),
        "log_size": st.sampled_from([MIB, 3 * MIB]),
        "disk_type": st.sampled_from(["dynamic", "fixed"]),
        "logical_sector_size": st.sampled_from([512, 4096]),
    },
)


@settings(max_examples=25)
@given(size=st.integers(1, 10 * MIB), pieces=st.dictionaries(SPOTS, DATA, max_size=4), options=OPTIONS)
def test_it_is_what_a_conversion_makes(
    tmp_path_factory: pytest.TempPathFactory, size: int, pieces: dict[int, bytes], options: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("measure")
    if options.get("disk_type") == "fixed":
        options["block_size"] = MIB
    inside = {at: data[: size - at] for at, data in pieces.items() if at < size}
    raw = write_raw(folder / "a.raw", size, inside)
    for wanted, chosen in (("vhdx", options), ("raw", {}), ("vhd", {})):
        target = folder / f"b.{wanted}"
        arguments: dict[str, Any] = {"target_format": wanted, "options": vhdx.ImageOptions(**chosen)}
        guessed = vhdx.measure(raw, **arguments)
        found = vhdx.measure(raw, scan_zeros=True, **arguments)
        made = vhdx.convert(raw, target, **arguments)
        assert found.required_size == made.file_size == target.stat().st_size
        assert (found.data_size, found.virtual_size) == (made.data_size, made.virtual_size)
        assert found.remarks == made.remarks[: len(found.remarks)]
        assert guessed.required_size >= found.required_size
        assert guessed.data_size >= found.data_size
        assert found.fully_allocated_size >= guessed.required_size
        assert (found.scanned, guessed.scanned) == (True, False)


@pytest.mark.parametrize("wanted", ["vhdx", "raw", "vhd"])
def test_fully_allocated_is_what_a_full_disk_takes(tmp_path: Path, wanted: Any) -> None:
    empty = write_raw(tmp_path / "empty.raw", 5 * MIB)
    full = write_raw(tmp_path / "full.raw", 5 * MIB, {0: pattern(0, 5 * MIB)})
    options = vhdx.ImageOptions(block_size=MIB) if wanted == "vhdx" else None
    found = vhdx.measure(empty, target_format=wanted, options=options)
    made = vhdx.convert(full, tmp_path / f"a.{wanted}", options=options)
    assert found.fully_allocated_size == made.file_size


def image(folder: Path) -> Path:
    blocks = {0: Block(pattern(1, MIB)), 2: Block(bytes(MIB)), 3: Block(state=ZERO), 4: Block(state=UNMAPPED)}
    items = {"user": Item(b"x" * 900 * KIB, IS_USER | IS_VIRTUAL_DISK, UUID(int=9))}
    return ImageBuilder(8 * MIB, MIB, blocks=blocks, items=items).write(folder / "a.vhdx")


def test_an_image_is_measured_from_its_tables(tmp_path: Path) -> None:
    path = image(tmp_path)
    options = vhdx.ImageOptions(block_size=MIB)
    for scan in (False, True):
        found = vhdx.measure(path, options=options, scan_zeros=scan)
        made = vhdx.convert(path, tmp_path / "b.vhdx", options=options, overwrite=True)
        compacted = vhdx.compact(path, scan_zeros=scan, dry_run=True)
        assert found.compacted_size == compacted.file_size_after
        assert found.required_size == made.file_size + (0 if scan else MIB)
    before = path.read_bytes()
    vhdx.compact(path, scan_zeros=True)
    assert path.stat().st_size == found.compacted_size
    assert before != path.read_bytes()


def test_nothing_is_changed_or_left_behind(tmp_path: Path) -> None:
    path = image(tmp_path)
    before = path.read_bytes()
    vhdx.measure(path, scan_zeros=True)
    assert path.read_bytes() == before
    assert names_in(tmp_path) == ["a.vhdx"]


def test_a_partition_and_a_vhd(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "a.raw", 4 * MIB, {0: bytes(gpt_disk(4 * MIB, [(2048, 4095)])), MIB: b"x" * 9})
    found = vhdx.measure(raw, partition=1, target_format="raw")
    assert (found.virtual_size, found.required_size, found.compacted_size) == (MIB, MIB, None)
    vhd = VhdBuilder(4 * MIB, DYNAMIC, sectors={8: b"x" * 512}).write(tmp_path / "a.vhd")
    found = vhdx.measure(vhd, options=vhdx.ImageOptions(block_size=MIB))
    assert (found.source_format, found.required_size) == ("vhd", 5 * MIB)


def test_large_disks_need_no_memory(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "a.raw", 2000 * GIB, {1000 * GIB: raw_bytes(4096, {0: b"x"})})
    found = vhdx.measure(raw, options=vhdx.ImageOptions(block_size=MIB))
    made = vhdx.convert(raw, tmp_path / "a.vhdx", options=vhdx.ImageOptions(block_size=MIB))
    assert found.required_size == made.file_size


def test_what_convert_refuses_is_refused(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "a.raw", MIB)
    with pytest.raises(ValueError, match="has no block size"):
        vhdx.measure(raw, target_format="raw", options=vhdx.ImageOptions(block_size=MIB))
    with pytest.raises(FileNotFoundError):
        vhdx.measure(tmp_path / "b.raw")


def test_what_is_read_but_cannot_be_compacted(tmp_path: Path) -> None:
    """No block of the chunk needs its bitmap, whose place is behind the end of the file."""
    parent = ImageBuilder(8 * MIB)
    parent.write(tmp_path / "parent.vhdx")
    child = parent.child()
    child.blocks = {1: Block(pattern(1, MIB))}
    child.bat = {child.ratio: 900 * MIB | FULLY_PRESENT}
    path = child.write(tmp_path / "child.vhdx")
    told = vhdx.measure(path, target_format="raw")
    assert told.compacted_size is None
    assert any("cannot be compacted" in remark for remark in told.remarks)
    assert vhdx.convert(path, tmp_path / "a.raw").virtual_size == told.virtual_size
