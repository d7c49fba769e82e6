"""Zero and trim as design §2 defines them: by block state, by the part of the block, by the kind of image.

The tables say what becomes of a block in the middle of which, or over the whole of which, something happens:
its state, whether its space stays, and what it reads as. The rest of the disk never changes.
"""

import errno
import fcntl
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, KIB, MIB, NOT_PRESENT, UNDEFINED, UNMAPPED, ZERO
from tests.support.naive import NaiveError
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.reading import assert_extents_are_true
from vhdx import BlockState, ExtentKind

from .checking import allocated, assert_sound, guids_of, is_clean, model_of, naively, structure_of
from .images import UNMAPPED_V095, junk

SIZE = 5 * MIB + 512
PART = (300 * KIB + 100, 400 * KIB + 7)
"""Offset and length of the part of a block that something happens to."""
Type = Literal["dynamic", "fixed"]
ABSENT: dict[str, Block] = {
    "NOT_PRESENT": Block(state=NOT_PRESENT),
    "UNDEFINED": Block(state=UNDEFINED),
    "UNDEFINED, anchored": Block(junk(MIB), UNDEFINED, anchored=True),
    "ZERO": Block(state=ZERO),
    "UNMAPPED": Block(state=UNMAPPED),
    "UNMAPPED, anchored": Block(junk(MIB), UNMAPPED, anchored=True),
    "UNMAPPED of version 0.95": Block(state=UNMAPPED_V095),
}
STATES = {**ABSENT, "FULLY_PRESENT": Block(pattern(2, MIB))}
LAST = {name: Block(pattern(5, 512), block.state, anchored=block.anchored) for name, block in STATES.items()}


class Case(NamedTuple):
    """What happens to block 2, or to the short last block 5."""

    state: str
    disk_type: Type
    whole: bool
    block: int = 2

    @property
    def range(self) -> tuple[int, int]:
        """Length and offset."""
        if self.block == 5:
            return (512, 5 * MIB) if self.whole else (200, 5 * MIB + 100)
        return (MIB, 2 * MIB) if self.whole else (PART[1], 2 * MIB + PART[0])

    def __str__(self) -> str:
        return f"{self.state}, {self.disk_type}, {'whole' if self.whole else 'part'} of block {self.block}"


TYPES: tuple[Type, ...] = ("dynamic", "fixed")
CASES = [
    Case(state, disk_type, whole, block)
    for state, disk_type, whole, block in product(STATES, TYPES, (True, False), (2, 5))
]


def made(case: Case, folder: Path) -> Path:
    """An image with neighbours that must not change."""
    image = ImageBuilder(disk_type=case.disk_type, disk_size=SIZE, default_state=NOT_PRESENT)
    image.blocks = {1: Block(pattern(1, MIB)), 3: Block(pattern(3, MIB))}
    image.blocks[case.block] = (STATES if case.block == 2 else LAST)[case.state]
    return image.write(folder / "a.vhdx")


class After(NamedTuple):
    """What became of the block: state and place in the file, as the table has it."""

    state: int
    place: int | None


def seen(path: Path, block: int) -> After:
    structure = structure_of(path)
    return After(structure.states[block], structure.present.get(block))


@pytest.mark.parametrize("keep_allocated", [False, True], ids=["give", "keep"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_zero(case: Case, keep_allocated: bool, tmp_path: Path) -> None:
    path = made(case, tmp_path)
    model = model_of(path)
    before, file_size, bytes_before = seen(path, case.block), path.stat().st_size, path.read_bytes()
    in_place = keep_allocated or case.disk_type == "fixed"
    present = case.state == "FULLY_PRESENT"
    with vhdx.open(path, "r+") as disk:
        length, offset = case.range
        disk.zero(length=length, offset=offset, keep_allocated=keep_allocated)
        model.zero(length, offset)
        model.assert_equal(disk.pread)
        assert_extents_are_true(disk, model.content())
        disk.flush()
        model.assert_equal(disk.pread)
    assert_sound(path, model)
    assert is_clean(path)
    after = seen(path, case.block)
    if not case.whole or (present and in_place):
        assert after == before
    else:
        assert after == (ZERO, None)
    if case.whole and not present and case.state != "ZERO":
        assert after.state == ZERO, "only ZERO promises zeros to every reader"
    if (present or case.whole) and case.state != "ZERO":
        assert guids_of(path) != guids_of_bytes(bytes_before, tmp_path)
    else:
        assert path.read_bytes() == bytes_before
    if case.disk_type == "fixed":
        assert path.stat().st_size == file_size


def guids_of_bytes(data: bytes, folder: Path) -> tuple[object, object]:
    """The GUIDs of a file that was there before."""
    path = folder / "before.vhdx"
    path.write_bytes(data)
    return guids_of(path)


@pytest.mark.parametrize("keep_allocated", [False, True], ids=["give", "keep"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_zero_fast_only(case: Case, keep_allocated: bool, tmp_path: Path) -> None:
    """It fails, before anything changed, exactly where zeros would have to be written."""
    path = made(case, tmp_path)
    before = path.read_bytes()
    in_place = keep_allocated or case.disk_type == "fixed" or not case.whole
    length, offset = case.range
    with vhdx.open(path, "r+") as disk:
        if case.state == "FULLY_PRESENT" and in_place:
            with pytest.raises(OSError) as caught:
                disk.zero(length=length, offset=offset, keep_allocated=keep_allocated, fast_only=True)
            assert caught.value.errno == errno.ENOTSUP
            with pytest.raises(OSError):  # also where a part of it would be fast
                disk.zero(
                    length=SIZE, offset=0, keep_allocated=keep_allocated or not case.whole, fast_only=True
                )
        else:
            disk.zero(length=length, offset=offset, keep_allocated=keep_allocated, fast_only=True)
            assert not any(disk.pread(length, offset))
            return
    assert path.read_bytes() == before


@pytest.mark.parametrize("case", CASES, ids=str)
def test_trim(case: Case, tmp_path: Path) -> None:
    """Whole present blocks become UNMAPPED, parts are punched; absent blocks and fixed images stay."""
    path = made(case, tmp_path)
    model = model_of(path)
    before, bytes_before, space = seen(path, case.block), path.read_bytes(), allocated(path)
    goes = case.state == "FULLY_PRESENT" and case.disk_type == "dynamic"
    length, offset = case.range
    with vhdx.open(path, "r+") as disk:
        disk.trim(length=length, offset=offset)
        if goes:
            model.zero(length, offset)
        model.assert_equal(disk.pread)
        assert_extents_are_true(disk, model.content())
        disk.flush()
        if goes and case.block == 2:
            assert allocated(path) < space - length // 2
    assert_sound(path, model)
    after = seen(path, case.block)
    assert after == ((UNMAPPED, None) if goes and case.whole else before)
    assert goes or path.read_bytes() == bytes_before


STATES_NOT_ALLOWED = {"reserved 4": 4, "partially present": 7}
CHANGES: dict[str, Callable[[vhdx.Disk, int, int], object]] = {
    "write a part": lambda disk, at, size: disk.pwrite(b"x" * 512, at + 512),
    "write the whole": lambda disk, at, size: disk.pwrite(b"x" * size, at),
    "zero a part": lambda disk, at, size: disk.zero(length=512, offset=at + 512),
    "zero the whole": lambda disk, at, size: disk.zero(length=size, offset=at),
    "zero the whole, keep": lambda disk, at, size: disk.zero(length=size, offset=at, keep_allocated=True),
    "trim a part": lambda disk, at, size: disk.trim(length=512, offset=at + 512),
}


def is_refused(ask: Callable[[], object]) -> bool:
    """Whether the image is said to be corrupt."""
    try:
        ask()
    except vhdx.CorruptImageError as error:
        return "state" in str(error)
    return False


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("state", STATES_NOT_ALLOWED)
def test_states_that_no_image_without_parent_can_have(state: str, name: str, tmp_path: Path) -> None:
    """A change of such a block has the exact result that was asked for, or is refused and does nothing."""
    image = ImageBuilder(disk_size=SIZE, blocks={1: Block(pattern(1, MIB))})
    image.blocks[2] = Block(pattern(2, MIB), STATES_NOT_ALLOWED[state], file_offset=image.plan().end + MIB)
    path = image.write(tmp_path / "a.vhdx")
    before = path.read_bytes()
    with vhdx.open(path, "r+") as disk:
        refused = is_refused(lambda: CHANGES[name](disk, 2 * MIB, MIB))
        wanted = 512 * (b"x" if name.startswith("write") else b"\0")
        assert refused or disk.pread(512, 2 * MIB + 512) == wanted
        assert disk.pread(MIB, MIB) == pattern(1, MIB)
    with naively(path) as look:
        if not refused:
            assert look.read(512, 2 * MIB + 512) == wanted
            return
        with pytest.raises(NaiveError, match="state"):
            look.read(512, 2 * MIB + 512)
    assert path.read_bytes()[MIB:] == before[MIB:]
    if not name.startswith("write"):
        assert path.read_bytes() == before


def test_a_whole_disk(tmp_path: Path) -> None:
    """Everything at once, in one request that begins and ends at the borders of the disk."""
    for change in ("zero", "trim"):
        path = tmp_path / f"{change}.vhdx"
        image = ImageBuilder(disk_size=SIZE, blocks={n: Block(pattern(n, MIB)) for n in (0, 2, 3)})
        image.blocks[5] = Block(pattern(5, 512))
        image.write(path)
        with vhdx.open(path, "r+") as disk:
            getattr(disk, change)(length=SIZE, offset=0)
            (extent,) = [e for e in disk.extents() if e.kind is ExtentKind.ZERO][:1]
            assert extent.state is (BlockState.ZERO if change == "zero" else BlockState.UNMAPPED)
        found = structure_of(path)
        assert not found.present
        assert found.length == max(claim.end for claim in found.claims)
        with naively(path) as look:
            assert not any(look.read(SIZE, 0))


def test_space_comes_back_with_the_flush_and_the_file_is_cut_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    vhdx.create(path, 64 * MIB, block_size=8 * MIB)
    empty = path.stat().st_size
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(1, 64 * MIB), 0)
        disk.flush()
        full = allocated(path)
        assert full >= 64 * MIB
        disk.trim(length=48 * MIB, offset=16 * MIB)
        assert path.stat().st_size == empty + 64 * MIB
        disk.flush()
        assert allocated(path) < full - 47 * MIB
        assert path.stat().st_size == empty + 64 * MIB
        disk.pwrite(pattern(2, 512), 60 * MIB)  # into space that was given up, not behind the end
        disk.flush()
        assert path.stat().st_size == empty + 64 * MIB
    assert path.stat().st_size == empty + 24 * MIB
    with vhdx.open(path) as disk:
        assert disk.pread(16 * MIB, 0) == pattern(1, 16 * MIB)
        assert disk.pread(8 * MIB, 56 * MIB) == bytes(4 * MIB) + pattern(2, 512) + bytes(4 * MIB - 512)


def test_a_fixed_image_keeps_its_space(tmp_path: Path) -> None:
    path = tmp_path / "a.vhdx"
    vhdx.create(path, 8 * MIB, block_size=MIB, disk_type="fixed")
    size, space, places = path.stat().st_size, allocated(path), structure_of(path).present
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(1, 8 * MIB), 0)
        disk.trim(length=8 * MIB, offset=0)
        assert disk.pread(8 * MIB, 0) == pattern(1, 8 * MIB)
        disk.zero(length=3 * MIB + 100, offset=MIB - 50)
        disk.flush()
    assert (path.stat().st_size, structure_of(path).present) == (size, places)
    assert allocated(path) >= space
    with vhdx.open(path) as disk:
        assert disk.pread(MIB - 50, 0) == pattern(1, MIB - 50)
        assert not any(disk.pread(3 * MIB + 100, MIB - 50))


def test_where_the_host_has_no_cheap_zeros_and_no_holes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fallbacks of promise 22: zeros are written, space stays, the result is the same."""

    def unsupported(*arguments: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "no")

    path = ImageBuilder(disk_size=SIZE, blocks={n: Block(pattern(n, MIB)) for n in range(4)}).write(
        tmp_path / "a.vhdx"
    )
    model = model_of(path)
    monkeypatch.setattr(fcntl, "ioctl", unsupported)
    with vhdx.open(path, "r+") as disk:
        disk.trim(length=1000, offset=MIB + 100)
        model.assert_equal(disk.pread)
        disk.zero(length=1000, offset=MIB + 100)
        model.zero(1000, MIB + 100)
        disk.zero(length=MIB + 10, offset=2 * MIB - 5)
        model.zero(MIB + 10, 2 * MIB - 5)
        disk.flush()
        disk.pwrite(b"x", 5 * MIB)
        model.write(b"x", 5 * MIB)
        model.assert_equal(disk.pread)
    assert_sound(path, model)


def test_full_states_are_numbered_as_in_the_format() -> None:
    assert {BlockState[name.split(",")[0]] for name in STATES if "0.95" not in name} == {
        NOT_PRESENT,
        UNDEFINED,
        ZERO,
        UNMAPPED,
        FULLY_PRESENT,
    }
