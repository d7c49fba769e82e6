"""A volume as a disk, by its name: a partition, or what stands in several pieces."""

import errno
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vhdx
from tests.partitions.tables import gpt_disk
from tests.support.layout import MIB
from tests.support.patterns import pattern
from vhdx.disk.parts import ScatteredDisk
from vhdx.disk.volume_map import VolumeMap

RUNS = [(5 * 512, 512), (40_960, 8192), (0, 1024)]
"""Where pieces stand on a disk, in the order of the volume."""
SIZE = sum(length for _, length in RUNS)


def swap(label: bytes) -> bytes:
    """A swap area, by its first page."""
    page = bytearray(4096)
    page[1024:1032] = (1).to_bytes(4, "little") + (15).to_bytes(4, "little")
    page[1036:1052] = bytes(range(16))
    page[1052 : 1052 + len(label)] = label
    page[-10:] = b"SWAPSPACE2"
    return bytes(page)


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    disk = bytearray(gpt_disk(MIB, [(40, 167), (168, 295)]))
    for number, label in ((40, b"one"), (168, b"two")):
        disk[number * 512 : number * 512 + 4096] = swap(label)
    (tmp_path / "a.raw").write_bytes(disk)
    return tmp_path / "a.raw"


@pytest.mark.parametrize("name", ["two", "partition 2"])
def test_by_its_name_or_label(path: Path, name: str) -> None:
    with vhdx.open(path) as disk:
        volume = disk.volume(name)
        assert (volume.size, volume.format) == (128 * 512, "raw")
        assert volume.stream().read(4096) == swap(b"two")
        assert repr(volume) == f"<{128 * 512} bytes at {168 * 512} of {disk!r}>"
        assert "volume" in dir(volume)


def test_one_that_is_not_there(path: Path) -> None:
    with vhdx.open(path) as disk:
        with pytest.raises(
            ValueError, match=r"no volume is called 'x'; there is: partition 1 \(swap, label one\)"
        ):
            disk.volume("x")
        with pytest.raises(ValueError, match="several volumes are called '00010203-"):
            disk.volume("00010203-0405-0607-0809-0a0b0c0d0e0f")


@pytest.fixture(name="twin", scope="module")
def _twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scattered") / "a.vhdx"
    (path.parent / "a.raw").write_bytes(pattern(9, MIB))
    vhdx.convert(path.parent / "a.raw", path)
    return path


def expected(data: bytes) -> bytes:
    return b"".join(data[start : start + length] for start, length in RUNS)


RANGES = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).filter(lambda pair: sum(pair) <= SIZE)


@given(RANGES)
def test_pieces_read_as_one(twin: Path, place: tuple[int, int]) -> None:
    offset, length = place
    with vhdx.open(twin) as disk:
        volume, data = ScatteredDisk(disk, VolumeMap(disk, RUNS)), expected(pattern(9, MIB))
        buffer = bytearray(length)
        volume.preadinto(buffer, offset)
        assert volume.pread(length, offset) == buffer == data[offset : offset + length]
        covered = offset
        for extent in volume.extents(offset=offset, length=length):
            assert extent.offset == covered
            covered = extent.end
        assert covered == offset + length
        for start, count in volume.data_ranges(offset=offset, length=length):
            assert offset <= start < start + count <= offset + length


@given(st.lists(st.tuples(st.sampled_from(["write", "zero"]), RANGES), max_size=4))
def test_pieces_are_written_as_one(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, tuple[int, int]]]
) -> None:
    path = tmp_path_factory.mktemp("written") / "a.raw"
    path.write_bytes(pattern(9, 65536))
    data = bytearray(expected(path.read_bytes()))
    with vhdx.open(path, "r+") as disk:
        volume = ScatteredDisk(disk, VolumeMap(disk, RUNS))
        for what, (offset, length) in steps:
            if what == "write":
                volume.pwrite(b"w" * length, offset)
                data[offset : offset + length] = b"w" * length
            elif length:
                volume.zero(length=length, offset=offset)
                data[offset : offset + length] = bytes(length)
        volume.close()
        assert volume.pread(SIZE, 0) == data
    after, outside = path.read_bytes(), bytearray(pattern(9, 65536))
    assert expected(after) == data
    for start, length in RUNS:
        outside[start : start + length] = after[start : start + length]
    assert after == outside


def test_what_pieces_refuse(twin: Path) -> None:
    with vhdx.open(twin) as disk:
        volume = ScatteredDisk(disk, VolumeMap(disk, RUNS))
        with pytest.raises(ValueError, match="not inside the volume"):
            volume.pread(1, SIZE)
        with pytest.raises(ValueError, match="is empty"):
            volume.trim(length=0, offset=0)
        with pytest.raises(io.UnsupportedOperation):
            volume.trim(length=512, offset=0)
        with pytest.raises(OSError, match=r".") as caught:
            volume.zero(length=1024, offset=0, fast_only=True)
        assert caught.value.errno == errno.ENOTSUP
        assert list(volume.doubts) == []
        assert "3 pieces" in repr(volume)
