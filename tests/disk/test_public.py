"""What people have in hand: the same names on disks of every format, results in one line, typed buffers."""

import io
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import vhdx
from tests.partitions.tables import gpt_disk
from tests.support.build import ImageBuilder
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.support.vhd import DYNAMIC, FIXED, VhdBuilder

SIZE = 4 * MIB
NOISE = {number: bytes([number % 255 + 1]) * 512 for number in (0, 7, 4095, 4096, 8191)}


def _vhdx(folder: Path) -> Path:
    path = folder / "a.vhdx"
    vhdx.convert(VhdBuilder(SIZE, FIXED, sectors=NOISE).write(folder / "a.vhd"), path)
    return path


def _fixed_vhd(folder: Path) -> Path:
    return VhdBuilder(SIZE, FIXED, sectors=NOISE).write(folder / "fixed.vhd")


def _dynamic_vhd(folder: Path) -> Path:
    return VhdBuilder(SIZE, DYNAMIC, sectors=NOISE, junk=b"\0").write(folder / "dynamic.vhd")


def _raw(folder: Path) -> Path:
    (folder / "a.raw").write_bytes(VhdBuilder(SIZE, FIXED, sectors=NOISE).content())
    return folder / "a.raw"


MAKERS: list[tuple[Callable[[Path], Path], str, str, int | None]] = [
    (_vhdx, "vhdx", "dynamic", 8 * MIB),
    (_fixed_vhd, "vhd", "fixed", None),
    (_dynamic_vhd, "vhd", "dynamic", 2 * MIB),
    (_raw, "raw", "fixed", None),
]
CONTENT = VhdBuilder(SIZE, FIXED, sectors=NOISE).content()


@pytest.mark.parametrize(("make", "name", "disk_type", "block_size"), MAKERS)
def test_open_opens_all(
    make: Callable[[Path], Path], name: str, disk_type: str, block_size: int | None, tmp_path: Path
) -> None:
    path = make(tmp_path)
    with vhdx.open(path) as disk:
        assert isinstance(disk, vhdx.Disk)
        assert (disk.format, disk.disk_type, disk.block_size) == (name, disk_type, block_size)
        assert (disk.size, disk.logical_sector_size, disk.read_only) == (SIZE, 512, True)
        assert disk.chain == (str(path),)
        assert (disk.disk_id is None) == (name == "raw")
        assert disk.pread(SIZE, 0) == disk.stream().read() == CONTENT
        assert sum(extent.length for extent in disk.extents()) == SIZE
        assert disk.partitions() == ()
        assert list(disk.doubts) == []
        assert repr(disk) == f"<vhdx.Disk {str(path)!r}, {disk_type} {name}, {SIZE} bytes>"
        assert repr(disk.stream()) == f"<stream of {disk!r}>"
        assert {each for each in dir(disk) if not each.startswith("_")} == PUBLIC
        with pytest.raises(ValueError, match="is no differencing"):
            disk.changed_extents()
        with pytest.raises(io.UnsupportedOperation):
            disk.pwrite(b"x", 0)


@pytest.mark.parametrize(("make", "name", "disk_type", "block_size"), MAKERS)
def test_info_tells_all_alike(
    make: Callable[[Path], Path], name: str, disk_type: str, block_size: int | None, tmp_path: Path
) -> None:
    path = make(tmp_path)
    found = vhdx.info(path)
    assert (found.path, found.format, found.disk_type) == (str(path), name, disk_type)
    assert (found.virtual_size, found.file_size) == (SIZE, path.stat().st_size)
    assert found.allocated_size == path.stat().st_blocks * 512
    assert (found.logical_sector_size, found.file_systems, found.partition_table is None) == (512, (), False)
    assert getattr(found, "block_size", None) == block_size
    with pytest.raises(AttributeError):
        found.path = "x"  # type: ignore[misc]
    assert len(repr(found)) < 200


PUBLIC = {
    *("size", "format", "disk_type", "block_size", "disk_id", "logical_sector_size", "physical_sector_size"),
    *(
        "read_only",
        "chain",
        "files",
        "pread",
        "preadinto",
        "pwrite",
        "zero",
        "trim",
        "flush",
        "close",
        "stream",
    ),
    *("extents", "data_ranges", "changed_extents", "contexts", "doubts"),
    *("partition_table", "partitions", "partition", "filesystems", "volume", "volumes"),
}


def test_dir_shows_what_is_public() -> None:
    assert dir(vhdx) == sorted(vhdx.__all__)
    assert {each for each in dir(vhdx.Disk) if not each.startswith("_")} == PUBLIC
    for name in PUBLIC:
        assert getattr(vhdx.Disk, name).__doc__, name


@pytest.mark.parametrize("make", [_vhdx, _fixed_vhd, _dynamic_vhd])
def test_a_file_object_is_read_too(make: Callable[[Path], Path], tmp_path: Path) -> None:
    data = make(tmp_path).read_bytes()
    with vhdx.open(io.BytesIO(data)) as disk:
        assert disk.pread(SIZE, 0) == CONTENT
    assert vhdx.info(io.BytesIO(data)).virtual_size == SIZE
    assert vhdx.check(io.BytesIO(data)).is_clean
    assert vhdx.compare(io.BytesIO(data), io.BytesIO(data)).identical
    vhdx.convert(io.BytesIO(data), tmp_path / "b.raw")
    assert (tmp_path / "b.raw").read_bytes() == CONTENT
    assert vhdx.measure(io.BytesIO(data), target_format="raw").virtual_size == SIZE


def test_a_file_object_is_raw_only_if_that_is_said() -> None:
    with pytest.raises(vhdx.CorruptImageError, match="no VHDX file"):
        vhdx.open(io.BytesIO(CONTENT))
    with vhdx.open(io.BytesIO(CONTENT), image_format="raw") as disk:
        assert disk.pread(SIZE, 0) == CONTENT


def test_an_image_that_lost_its_beginning_is_no_raw_disk(tmp_path: Path) -> None:
    path = _vhdx(tmp_path).rename(tmp_path / "copy")
    with open(path, "r+b") as file:
        file.write(bytes(4096))
    with pytest.raises(vhdx.CorruptImageError, match="goes on like a VHDX: say -f vhdx or -f raw"):
        vhdx.open(path)
    with vhdx.open(path, image_format="raw") as disk:
        assert disk.format == "raw"


def test_what_may_be_an_image_is_not_written_to_as_raw(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(CONTENT)
    with pytest.raises(ValueError, match="say that its format is raw"):
        vhdx.open(tmp_path / "disk", "r+")
    with vhdx.open(tmp_path / "disk", "r+", image_format="raw") as disk:
        disk.pwrite(b"here", 5)
    with vhdx.open(_raw(tmp_path), "r+") as disk:  # it says so itself
        disk.pwrite(b"here", 5)
    assert (tmp_path / "disk").read_bytes() == (tmp_path / "a.raw").read_bytes()
    with pytest.raises(vhdx.UnsupportedImageError, match="only read"):
        vhdx.open(_fixed_vhd(tmp_path), "r+")


@pytest.mark.parametrize("writable", [False, True])
def test_a_partition_is_a_disk(tmp_path: Path, writable: bool) -> None:
    start, length = 40 * 512, 11 * 512
    (tmp_path / "a.raw").write_bytes(bytes(gpt_disk(MIB, [(40, 50)])))
    vhdx.convert(tmp_path / "a.raw", tmp_path / "a.vhdx")
    with vhdx.open(tmp_path / "a.vhdx", "r+" if writable else "r") as disk:
        part = disk.partition(1)
        assert (part.size, part.format, part.read_only) == (length, "vhdx", not writable)
        with part:
            if writable:
                part.pwrite(b"mine", 0)
            assert part.stream().read() == disk.pread(length, start)
        assert disk.pread(4, start) == (b"mine" if writable else bytes(4))  # it is still open
        with pytest.raises(ValueError, match="partition 2"):
            disk.partition(2)


def test_remarks_of_a_raw_disk(tmp_path: Path) -> None:
    (tmp_path / "a.img").write_bytes(bytes(1000))
    found = vhdx.info(tmp_path / "a.img")
    assert (found.virtual_size, found.file_size) == (1024, 1000)
    assert found.notes == ("its last sector lacks 24 bytes, which read as zeros",)
    with pytest.raises(vhdx.UnsupportedImageError, match="a raw disk has no structures"):
        vhdx.check(tmp_path / "a.img")


def test_what_nothing_is_known_of_is_said_to_be_taken_for_raw(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"x" * 512)
    assert vhdx.info(tmp_path / "text").notes == ("nothing says what it is: it is taken for a raw disk",)
    assert vhdx.info(tmp_path / "text", image_format="raw").notes == ()
    (tmp_path / "empty").touch()
    with pytest.raises(vhdx.CorruptImageError, match="it is empty"):
        vhdx.open(tmp_path / "empty")


def test_arrays_are_buffers(tmp_path: Path) -> None:
    """Also for type checkers, before Python 3.12: mypy reads this file."""
    path = ImageBuilder(SIZE).write(tmp_path / "a.vhdx")
    numbers = np.arange(1000, dtype=np.uint32)
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(numbers, 513)
        again = np.zeros(1000, dtype=np.uint32)
        disk.preadinto(again, 513)
        assert (again == numbers).all()
        for buffer in (bytearray(4), memoryview(bytearray(4))):
            disk.preadinto(buffer, 517)
            assert bytes(buffer) == b"\1\0\0\0"


def test_results_stand_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / ("long" * 50) / "a.vhdx"
    path.parent.mkdir()
    made = vhdx.create(path, MIB, disk_id=uuid.UUID(int=5))
    converted = vhdx.convert(path, path.with_suffix(".raw"))
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(1, 512), 0)
        extents = list(disk.extents())
    results = [
        *(made, converted, vhdx.check(path), vhdx.info(path), vhdx.measure(path), vhdx.compare(path, path)),
        *(vhdx.resize(path, "+1M"), vhdx.compact(path), vhdx.set_properties(path, disk_id=uuid.uuid4())),
        *(vhdx.repair(path), *extents, vhdx.Doubt(0, 512, "x" * 500)),
    ]
    for result in results:
        assert len(repr(result)) < 200, repr(result)
        assert repr(result).startswith(f"<vhdx.{type(result).__name__} ")
    assert repr(extents[0]) == (
        "<vhdx.Extent offset=0 length=1048576 kind='DATA' state='FULLY_PRESENT' depth=1 file_offset=4194304>"
    )
