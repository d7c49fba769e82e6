"""What `pwrite` and its neighbours take and refuse: buffers, ranges, disks that cannot be written to."""

import array
import io
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.patterns import pattern

from .checking import assert_sound, model_of

SIZE = 5 * MIB + 512


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "a.vhdx"
    vhdx.create(path, SIZE, block_size=MIB)
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(0, 2 * MIB), 0)
    return path


def mapped(data: bytes) -> mmap.mmap:
    """An anonymous map of memory, whole pages long."""
    memory = mmap.mmap(-1, len(data))
    memory[:] = data
    return memory


DATA = pattern(9, 8192)
BUFFERS: dict[str, Callable[[], Any]] = {
    "bytes": lambda: DATA,
    "bytearray": lambda: bytearray(DATA),
    "memoryview": lambda: memoryview(DATA),
    "memoryview of words": lambda: memoryview(DATA).cast("Q"),
    "memoryview of a table": lambda: memoryview(DATA).cast("H", (64, 64)),
    "signed bytes": lambda: memoryview(DATA).cast("b"),
    "a slice": lambda: memoryview(b"x" + DATA + b"x")[1:-1],
    "array": lambda: array.array("I", DATA),
    "numpy": lambda: np.frombuffer(DATA, np.uint8),
    "numpy words": lambda: np.frombuffer(DATA, "<u4"),
    "numpy table": lambda: np.frombuffer(DATA, np.float64).reshape(2, 8, 64),
    "mmap": lambda: mapped(DATA),
}
EMPTY: dict[str, Callable[[], Any]] = {
    "bytes": lambda: b"",
    "bytearray": bytearray,
    "memoryview": lambda: memoryview(b""),
    "numpy": lambda: np.zeros(0, np.uint32),
    "numpy table": lambda: np.zeros((3, 0), np.uint8),
    "array": lambda: array.array("Q"),
}
REFUSED: dict[str, Callable[[], Any]] = {
    "every second byte": lambda: memoryview(DATA)[::2],
    "backwards": lambda: memoryview(DATA)[::-1],
    "numpy column": lambda: np.frombuffer(DATA, np.uint8).reshape(64, 128)[:, 3],
    "numpy transposed": lambda: np.frombuffer(DATA, np.uint16).reshape(64, 64).T,
    "text": lambda: "text",
    "a list": lambda: [1, 2, 3],
    "a number": lambda: 512,
    "nothing": lambda: None,
}
PLACES = {"present": 700, "absent": 3 * MIB + 700, "over the border": 2 * MIB - 700}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("buffer", BUFFERS)
def test_any_contiguous_buffer(buffer: str, place: str, path: Path) -> None:
    model = model_of(path)
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(BUFFERS[buffer](), PLACES[place])
        model.write(DATA, PLACES[place])
        model.assert_equal(disk.pread)
    assert_sound(path, model)


@pytest.mark.parametrize("buffer", EMPTY)
def test_nothing_can_be_written_and_changes_nothing(buffer: str, path: Path) -> None:
    before = path.read_bytes()
    with vhdx.open(path, "r+") as disk:
        for offset in (0, MIB, 3 * MIB + 5, SIZE):
            disk.pwrite(EMPTY[buffer](), offset)
            with pytest.raises(ValueError, match="is empty"):
                disk.zero(length=0, offset=offset)
            with pytest.raises(ValueError, match="is empty"):
                disk.trim(length=0, offset=offset)
        disk.flush()
    assert path.read_bytes() == before


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("buffer", REFUSED)
def test_other_things_are_refused_before_anything_changes(buffer: str, place: str, path: Path) -> None:
    before = path.read_bytes()
    with vhdx.open(path, "r+") as disk, pytest.raises(TypeError):
        disk.pwrite(REFUSED[buffer](), PLACES[place])
    assert path.read_bytes() == before


RANGES = [
    (1, -1),
    (1, SIZE),
    (2, SIZE - 1),
    (0, SIZE + 1),
    (0, -1),
    (SIZE + 1, 0),
    (512, 2**63),
    (512, 2**64 + 512),
]


@pytest.mark.parametrize(("length", "offset"), RANGES)
def test_ranges_that_are_not_inside_the_disk(length: int, offset: int, path: Path) -> None:
    before = path.read_bytes()
    with vhdx.open(path, "r+") as disk:
        asked: tuple[Callable[[], object], ...] = (
            lambda: disk.pwrite(bytes(length), offset),
            lambda: disk.zero(length=length, offset=offset),
            lambda: disk.zero(length=length, offset=offset, keep_allocated=True),
            lambda: disk.zero(length=length, offset=offset, fast_only=True),
            lambda: disk.trim(length=length, offset=offset),
        )
        for ask in asked:
            with pytest.raises(ValueError, match="not inside the disk"):
                ask()
        with pytest.raises(ValueError, match="not inside the disk"):
            disk.zero(length=-1, offset=512)
        with pytest.raises(ValueError, match="not inside the disk"):
            disk.trim(length=-1, offset=512)
    assert path.read_bytes() == before


ASKED: dict[str, Callable[[vhdx.Disk], object]] = {
    "pwrite": lambda disk: disk.pwrite(b"x", 0),
    "pwrite of nothing": lambda disk: disk.pwrite(b"", 0),
    "zero": lambda disk: disk.zero(length=MIB, offset=0),
    "zero where it is zero": lambda disk: disk.zero(length=MIB, offset=4 * MIB),
    "trim": lambda disk: disk.trim(length=MIB, offset=0),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_disk_that_was_opened_to_read_cannot_be_changed(name: str, path: Path) -> None:
    before = path.read_bytes()
    with vhdx.open(path) as disk:
        assert disk.read_only
        with pytest.raises(io.UnsupportedOperation, match=r'mode "r\+"'):
            ASKED[name](disk)
        disk.flush()  # nothing was written, so nothing is to be made durable
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", [*ASKED, "flush", "pread", "extents"])
def test_after_close_nothing_can_be_asked(name: str, path: Path) -> None:
    more: dict[str, Callable[[vhdx.Disk], object]] = {
        "flush": lambda disk: disk.flush(),
        "pread": lambda disk: disk.pread(0, 0),
        "extents": lambda disk: list(disk.extents()),
    }
    disk = vhdx.open(path, "r+")
    assert not disk.read_only
    disk.pwrite(b"x", 0)
    disk.close()
    before = path.read_bytes()
    with pytest.raises(ValueError, match="closed"):
        (ASKED | more)[name](disk)
    disk.close()
    assert path.read_bytes() == before


def test_a_stream_of_a_writable_disk_writes(path: Path) -> None:
    """As design §2 has it: seek, readinto, and write in mode "r+"."""
    with vhdx.open(path, "r+") as disk, disk.stream() as stream:
        assert stream.writable()
        stream.seek(3 * MIB)
        assert stream.write(DATA) == len(DATA)
        assert stream.tell() == 3 * MIB + len(DATA)
        stream.flush()
        assert disk.pread(len(DATA), 3 * MIB) == DATA


def test_what_is_given_is_copied_before_it_returns(path: Path) -> None:
    with vhdx.open(path, "r+") as disk:
        buffer = bytearray(DATA)
        disk.pwrite(buffer, 4 * MIB)
        buffer[:] = bytes(len(buffer))
        buffer.clear()  # no view of it is kept
        disk.flush()
        assert disk.pread(len(DATA), 4 * MIB) == DATA


def test_files_objects_cannot_be_written_to(path: Path) -> None:
    with path.open("r+b") as file, pytest.raises(TypeError, match="path"):
        vhdx.open(file, "r+")
    with pytest.raises(ValueError, match="mode"):
        vhdx.open(path, "w")  # type: ignore[arg-type]
