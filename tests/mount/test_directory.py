"""The operations on a mounted disk, called as libfuse calls them, against a bytearray."""

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vhdx
from tests.support.layout import MIB
from tests.support.patterns import pattern
from vhdx.disk.base import VirtualDisk
from vhdx.disk.chain import VhdxDisk
from vhdx.disk.open import open_any
from vhdx.mount.directory import KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, DiskDirectory

FILE = "/disk.raw"
SIZE = 4 * MIB + 512
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
HOLE = PUNCH_HOLE | KEEP_SIZE


def nothing() -> None:
    pass


def directory_of(disk: VirtualDisk, told: list[str] | None = None) -> DiskDirectory:
    return DiskDirectory(disk, ready=nothing, tell=(told if told is not None else []).append)


def number_of(action: Callable[[], object]) -> int:
    """The number of the error that the kernel gets."""
    with pytest.raises(OSError) as caught:
        action()
    assert caught.value.errno is not None
    return caught.value.errno


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    vhdx.create(tmp_path / "a.vhdx", SIZE, block_size=MIB)
    return tmp_path / "a.vhdx"


@pytest.fixture(name="disk")
def _disk(path: Path) -> Iterator[vhdx.Disk]:
    with vhdx.open(path, "r+") as disk:
        yield disk


# What a file does --------------------------------------------------------------------------------

OFFSETS = st.one_of(st.integers(0, SIZE + 9000), st.sampled_from([0, MIB, MIB - 1, SIZE - 1, SIZE, 2 * MIB]))
LENGTHS = st.one_of(st.integers(1, 20_000), st.sampled_from([512, 4096, MIB, 3 * MIB]))
Step = tuple[str, int, int]
STEPS = st.tuples(st.sampled_from(["write", "read", "hole", "zero", "data", "end"]), OFFSETS, LENGTHS)
KINDS = ("dynamic", "fixed", "differencing", "raw")


def make(kind: str, folder: Path) -> tuple[Path, bytearray]:
    """An image with something in it, and its content."""
    content = bytearray(SIZE)
    content[MIB - 700 : 3 * MIB] = pattern(1, 2 * MIB + 700)
    path = folder / "a.vhdx"
    if kind == "raw":
        path = folder / "a.raw"
        path.write_bytes(content)
        return path, content
    vhdx.create(path, SIZE, block_size=MIB, disk_type="fixed" if kind == "fixed" else "dynamic")
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(content[MIB - 700 : 3 * MIB], MIB - 700)
    if kind != "differencing":
        return path, content
    vhdx.create(folder / "b.vhdx", parent=path, block_size=MIB)
    with vhdx.open(folder / "b.vhdx", "r+") as disk:
        content[2 * MIB - 512 : 2 * MIB + 512] = pattern(2, 1024)
        disk.pwrite(pattern(2, 1024), 2 * MIB - 512)
    return folder / "b.vhdx", content


@pytest.mark.parametrize("kind", KINDS)
@given(steps=st.lists(STEPS, max_size=12))
@settings(max_examples=12)
def test_it_does_what_a_file_of_that_size_does(kind: str, steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        path, twin = make(kind, Path(folder))
        with open_any(str(path), mode="r+") as disk:
            directory = directory_of(disk)
            for number, step in enumerate(steps):
                take(directory, twin, step, number)
            assert disk.pread(SIZE, 0) == bytes(twin)
            stored = sum(e.length for e in disk.extents() if e.file_offset is not None)
            assert directory.getattr(FILE)["st_blocks"] * 512 == stored
        with open_any(str(path)) as again:
            assert again.pread(SIZE, 0) == bytes(twin)


def take(directory: DiskDirectory, twin: bytearray, step: Step, seed: int) -> None:
    what, offset, length = step
    end = min(offset + length, SIZE)
    if what == "read":
        assert directory.read(FILE, length, offset, 0) == bytes(twin[offset:end])
    elif what == "write":
        data = pattern(7, length, seed=seed)
        if offset >= SIZE:
            assert number_of(lambda: directory.write(FILE, data, offset, 0)) == errno.ENOSPC
        else:
            assert directory.write(FILE, data, offset, 0) == end - offset
            twin[offset:end] = data[: end - offset]
    elif what in ("hole", "zero"):
        mode = HOLE if what == "hole" else ZERO_RANGE | KEEP_SIZE
        assert directory.fallocate(FILE, mode, offset, length, 0) == 0
        twin[offset:end] = bytes(max(0, end - offset))
    elif offset >= SIZE:
        assert number_of(lambda: directory.lseek(FILE, offset, os.SEEK_DATA)) == errno.ENXIO
        assert number_of(lambda: directory.lseek(FILE, offset, os.SEEK_HOLE)) == errno.ENXIO
    elif what == "data":
        data_at = next_data(directory, offset)
        assert offset <= data_at <= SIZE
        assert not any(twin[offset:data_at])
        if data_at < SIZE:
            assert directory.lseek(FILE, data_at, os.SEEK_HOLE) > data_at
    else:
        hole_at = directory.lseek(FILE, offset, os.SEEK_HOLE)
        assert offset <= hole_at <= SIZE
        assert hole_at in (offset, SIZE) or next_data(directory, hole_at) > hole_at


def next_data(directory: DiskDirectory, offset: int) -> int:
    try:
        return directory.lseek(FILE, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return SIZE


# Holes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dynamic", "differencing"])
def test_a_hole_gives_whole_blocks_back_and_reads_as_zeros_at_its_ends(kind: str, tmp_path: Path) -> None:
    path, content = make(kind, tmp_path)
    with vhdx.open(path, "r+") as disk:
        directory = directory_of(disk)
        directory.write(FILE, pattern(3, 3 * MIB), MIB, 0)
        assert directory.fallocate(FILE, HOLE, MIB - 10, 2 * MIB + 20, 0) == 0
        content[MIB : 4 * MIB] = pattern(3, 3 * MIB)
        content[MIB - 10 : 3 * MIB + 10] = bytes(2 * MIB + 20)
        assert disk.pread(SIZE, 0) == bytes(content)
        assert {extent.file_offset for extent in disk.extents(offset=MIB, length=2 * MIB)} == {None}


def test_a_hole_in_nothing_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    with vhdx.open(path, "r+") as disk:
        assert directory_of(disk).fallocate(FILE, HOLE, 0, SIZE, 0) == 0
    assert path.read_bytes() == before


def test_a_zeroed_range_keeps_its_space(disk: vhdx.Disk) -> None:
    directory = directory_of(disk)
    directory.write(FILE, pattern(1, 2 * MIB), 0, 0)
    before = directory.getattr(FILE)["st_blocks"]
    assert directory.fallocate(FILE, ZERO_RANGE, 0, 2 * MIB, 0) == 0
    assert directory.getattr(FILE)["st_blocks"] == before == 2 * MIB // 512
    assert disk.pread(2 * MIB, 0) == bytes(2 * MIB)


# What is refused ---------------------------------------------------------------------------------


def test_sizes_stay(disk: vhdx.Disk) -> None:
    directory = directory_of(disk)
    assert directory.truncate(FILE, SIZE) == 0
    for size in (0, SIZE - 512, SIZE + 512):
        assert number_of(lambda size=size: directory.truncate(FILE, size)) == errno.EPERM  # type: ignore[misc]
    assert number_of(lambda: directory.open(FILE, os.O_RDWR | os.O_TRUNC)) == errno.EPERM
    for size in (0, SIZE + 512):
        assert number_of(lambda size=size: directory.truncate(FILE, size, 0)) == errno.EPERM  # type: ignore[misc]
    assert number_of(lambda: directory.fallocate(FILE, ZERO_RANGE, SIZE - 1, 2, 0)) == errno.EPERM
    assert number_of(lambda: directory.fallocate(FILE, 0, 0, 512, 0)) == errno.EOPNOTSUPP
    assert directory.getattr(FILE)["st_size"] == SIZE


def test_a_smaller_size_through_a_descriptor_changes_nothing(disk: vhdx.Disk) -> None:
    told: list[str] = []
    directory = directory_of(disk, told)
    disk.pwrite(b"kept", SIZE - 4)
    assert directory.truncate(FILE, SIZE - 512, 0) == 0
    assert directory.getattr(FILE)["st_size"] == SIZE
    assert disk.pread(4, SIZE - 4) == b"kept"
    assert told == [f"the disk keeps its {SIZE} bytes, though a program wants {SIZE - 512} of them"]


def test_there_is_one_file(disk: vhdx.Disk) -> None:
    directory = directory_of(disk)
    assert directory.readdir("/", 0) == [".", "..", "disk.raw"]
    assert stat.S_ISDIR(directory.getattr("/")["st_mode"])
    assert number_of(lambda: directory.getattr("/other")) == errno.ENOENT
    assert number_of(lambda: directory.open("/other", os.O_RDONLY)) == errno.ENOENT
    for refused in (directory.unlink, directory.create, directory.rename, directory.chmod):
        assert number_of(lambda refused=refused: refused(FILE, 0)) == errno.EPERM  # type: ignore[misc]


def test_reading_only(path: Path) -> None:
    with vhdx.open(path) as disk:
        directory = directory_of(disk)
        assert directory.getattr(FILE)["st_mode"] == stat.S_IFREG | 0o400
        assert directory.open(FILE, os.O_RDONLY) == 0
        assert number_of(lambda: directory.open(FILE, os.O_RDWR)) == errno.EROFS
        assert number_of(lambda: directory.write(FILE, b"x", 0, 0)) == errno.EROFS
        assert number_of(lambda: directory.unlink(FILE)) == errno.EROFS
        assert directory.fsync(FILE, 0, 0) == 0


def test_what_is_wrong_with_the_image_is_told_once_in_words(path: Path) -> None:
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(b"x", 0)
        place = next(disk.extents()).file_offset
        assert place is not None
    told: list[str] = []
    with vhdx.open(path) as disk:
        os.truncate(path, place)
        directory = directory_of(disk, told)
        for _ in range(3):
            assert number_of(lambda: directory.read(FILE, 512, 0, 0)) == errno.EIO
        assert len(told) == 1
        assert str(path) in told[0]


# Blocks ------------------------------------------------------------------------------------------


class Refusing(VhdxDisk):
    """A disk whose table is damaged from its second MiB on."""

    size = SIZE
    read_only = True

    def __init__(self) -> None:
        """Nothing is opened."""

    def __del__(self) -> None:
        pass

    def extents(self, *, offset: int = 0, length: int | None = None) -> Iterator[vhdx.Extent]:
        yield vhdx.Extent(0, MIB, vhdx.ExtentKind.ZERO, vhdx.BlockState.ZERO, 1, None)
        raise vhdx.CorruptImageError("the table is damaged")


def test_what_is_damaged_is_no_hole() -> None:
    """GNU tar stores a file without blocks as one hole, and never reads it."""
    assert directory_of(Refusing()).getattr(FILE)["st_blocks"] == (SIZE - MIB) // 512


def test_no_blocks_means_that_all_were_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**6))
    monkeypatch.setattr("vhdx.mount.usage.time.monotonic", lambda: next(ticks) / 1000)
    disk, told = Hollow(), list[int]()
    directory = directory_of(disk)
    while not told or told[-1]:
        told.append(directory.getattr(FILE)["st_blocks"])
    assert disk.looked_at == disk.size // MIB
    assert len(told) > 2
    assert set(told[:-1]) == {1}


class Endless(VhdxDisk):
    """A disk of 64 TiB with two extents in each MiB."""

    size = 64 << 40
    read_only = True
    looked_at = 0

    def __init__(self) -> None:
        """Nothing is opened."""

    def __del__(self) -> None:
        pass

    def extents(self, *, offset: int = 0, length: int | None = None) -> Iterator[vhdx.Extent]:
        length = self.size - offset if length is None else length
        for start in range(offset, offset + length, MIB // 2):
            self.looked_at += 1
            place = start if start % MIB else None
            yield vhdx.Extent(start, MIB // 2, vhdx.ExtentKind.DATA, vhdx.BlockState(6), 1, place)


class Hollow(Endless):
    """A disk of 256 GiB, an extent in each MiB, nothing stored."""

    size = 256 << 30

    def extents(self, *, offset: int = 0, length: int | None = None) -> Iterator[vhdx.Extent]:
        length = self.size - offset if length is None else length
        for start in range(offset, offset + length, MIB):
            self.looked_at += 1
            yield vhdx.Extent(start, MIB, vhdx.ExtentKind.ZERO, vhdx.BlockState.ZERO, 1, None)


def test_the_blocks_of_a_huge_disk_are_counted_a_little_at_each_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A clock that moves only when it is looked at stands for the patience of whoever asks."""
    ticks = iter(range(10**6))
    monkeypatch.setattr("vhdx.mount.usage.time.monotonic", lambda: next(ticks) / 1000)
    disk = Endless()
    directory = directory_of(disk)
    counted, most = 0, 0
    for _ in range(8):
        before = disk.looked_at
        blocks = directory.getattr(FILE)["st_blocks"]
        most = max(most, disk.looked_at - before)
        assert counted < blocks * 512 <= disk.looked_at * MIB // 4
        counted = blocks * 512
    assert most <= 51 * 256


def test_blocks_are_exact_after_changes_while_they_were_counted(disk: vhdx.Disk) -> None:
    directory = directory_of(disk)
    for block in (0, 1, 3):
        directory.write(FILE, b"x", block * MIB, 0)
        stored = sum(extent.length for extent in disk.extents() if extent.file_offset is not None)
        assert directory.getattr(FILE)["st_blocks"] * 512 == stored == (min(block, 2) + 1) * MIB
