"""A range of a disk as a disk: the same as that range of a bytearray, and never a byte beyond it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vhdx
from tests.support.layout import MIB
from tests.support.patterns import pattern
from vhdx import ExtentKind
from vhdx.disk.contexts import BLOCK_CONTEXTS
from vhdx.disk.slice import SliceDisk

SIZE, START, LENGTH = 8 * MIB, 2 * MIB + 512, 3 * MIB + 1024


@pytest.fixture(name="image", scope="module")
def _image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slice") / "disk.vhdx"
    vhdx.create(path, SIZE, block_size=MIB)
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(1, 3 * MIB), 0)
        disk.pwrite(pattern(2, MIB), 4 * MIB)
        disk.zero(length=MIB, offset=MIB)
    return path


near = st.integers(-3, 3)
places = st.tuples(st.sampled_from([0, MIB, LENGTH // 2, LENGTH]), near).map(sum)
lengths = st.one_of(st.integers(0, 9000), places)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_slice_is_a_range_of_its_disk(data: st.DataObject, image: Path) -> None:
    with vhdx.open(image) as disk, SliceDisk(disk, START, LENGTH) as part:
        whole = disk.pread(SIZE, 0)[START : START + LENGTH]
        offset, length = data.draw(places), data.draw(lengths)
        if not (0 <= offset <= offset + length <= LENGTH and length >= 0):
            for refused in (
                lambda: part.pread(length, offset),
                lambda: part.extents(offset=offset, length=length),
                lambda: part.data_ranges(offset=offset, length=length),
            ):
                with pytest.raises(ValueError, match="not inside"):
                    refused()
            return
        expected = whole[offset : offset + length]
        assert part.pread(length, offset) == expected
        buffer = bytearray(length)
        part.preadinto(buffer, offset)
        assert buffer == expected
        rebuilt = bytearray(length)
        at = offset
        for extent in part.extents(offset=offset, length=length):
            assert extent.offset == at
            at = extent.end
            if extent.kind is ExtentKind.DATA:
                rebuilt[extent.offset - offset : extent.end - offset] = whole[extent.offset : extent.end]
        assert at == offset + length
        assert rebuilt == expected
        found = bytearray(length)
        for start, count in part.data_ranges(offset=offset, length=length):
            found[start - offset : start - offset + count] = whole[start : start + count]
        assert found == expected


def change(disk: SliceDisk, what: str, length: int, offset: int, byte: int) -> None:
    if what == "write":
        disk.pwrite(bytes([byte]) * length, offset)
    elif what == "zero":
        disk.zero(length=length, offset=offset)
    else:
        disk.trim(length=length, offset=offset)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["write", "zero", "trim"]), places, lengths, st.integers(1, 255)),
        max_size=6,
    )
)
def test_changes_stay_inside(
    steps: list[tuple[str, int, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("changes") / "disk.vhdx"
    vhdx.create(path, SIZE, block_size=MIB)
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(3, SIZE), 0)
        part, twin = SliceDisk(disk, START, LENGTH), bytearray(pattern(3, SIZE))
        assert not part.read_only
        for what, offset, length, byte in steps:
            if length < 0 or not 0 <= offset <= offset + length <= LENGTH:
                if length >= 0 or what != "write":  # no buffer has a negative length
                    with pytest.raises(ValueError, match="not inside"):
                        change(part, what, length, offset, byte)
                continue
            if not length and what != "write":
                with pytest.raises(ValueError, match="is empty"):
                    change(part, what, length, offset, byte)
                continue
            change(part, what, length, offset, byte)
            place = slice(START + offset, START + offset + length)
            if what == "trim":  # advisory: zeros or what was there
                assert all(
                    now in (0, before)
                    for now, before in zip(disk.pread(length, START + offset), twin[place], strict=True)
                )
                twin[place] = disk.pread(length, START + offset)
            else:
                twin[place] = bytes([byte if what == "write" else 0]) * length
        assert disk.pread(SIZE, 0) == twin
        part.flush()
        part.close()
    with vhdx.open(path) as disk:
        assert disk.pread(SIZE, 0) == twin


def test_what_a_slice_says_of_itself(image: Path) -> None:
    disk = vhdx.open(image)
    part = SliceDisk(disk, START, LENGTH)
    assert (part.size, part.read_only) == (LENGTH, True)
    assert part.logical_sector_size == disk.logical_sector_size
    assert part.physical_sector_size == disk.physical_sector_size
    assert part.files() == disk.files()
    assert part.contexts == disk.contexts == BLOCK_CONTEXTS
    assert part.stream().read() == disk.pread(LENGTH, START)
    part.close()
    with pytest.raises(ValueError, match="closed"):
        disk.pread(1, 0)
    for offset, length in ((0, SIZE + 1), (SIZE, 1), (-1, 1), (5, -1)):
        with vhdx.open(image) as whole, pytest.raises(ValueError, match="not inside"):
            SliceDisk(whole, offset, length)


def test_contexts_tell_states_of_the_image_itself_and_depths(image: Path, tmp_path: Path) -> None:
    child = image.with_name("child.vhdx")
    vhdx.create(child, parent=image, block_size=MIB, overwrite=True)
    with vhdx.open(child, "r+") as disk:
        disk.pwrite(pattern(4, MIB), 0)
    with vhdx.open(child) as disk:
        told = [
            (extent.offset, *(disk.contexts[name](extent) for name in BLOCK_CONTEXTS))
            for extent in disk.extents()
        ]
    assert list(BLOCK_CONTEXTS) == ["x-vhdx:state", "x-vhdx:depth"]
    assert told == [
        (0, 6, 1),
        (MIB, 0, 2),
        (2 * MIB, 0, 2),
        (3 * MIB, 0, 0),
        (4 * MIB, 0, 2),
        (5 * MIB, 0, 0),
    ]
