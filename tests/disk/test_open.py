"""Opening: what may be given, what is refused, what a disk says of itself, and what closing means."""

import errno
import io
import os
import re
import tempfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.calls import files_held
from tests.support.describe import DiskType
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.reading import assert_reads, in_memory, scattered, whole
from tests.support.vhd import FIXED, VhdBuilder
from vhdx.disk.open import lone_disk, open_disk, readable_disk, writable_disk
from vhdx.disk.places import ParentPolicy
from vhdx.disk.vhd import vhd_disk
from vhdx.storage.file import open_for_writing

IMAGE = ImageBuilder(4 * MIB, blocks={n: Block(pattern(n, MIB)) for n in (0, 2, 3)})
CONTENT = IMAGE.content()


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return IMAGE.write(tmp_path / "image.vhdx")


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_text_or_pathlike(path: Path, kind: Callable[[Path], Any]) -> None:
    with vhdx.open(kind(path)) as disk:
        assert whole(disk) == CONTENT
        assert disk.chain == (str(path),)


def bytes_io(path: Path) -> Any:
    return io.BytesIO(path.read_bytes())


def buffered_file(path: Path) -> Any:
    return path.open("rb")


def raw_file(path: Path) -> Any:
    return path.open("rb", buffering=0)


def spooled_file(path: Path) -> Any:
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115  the test closes it
    file.write(path.read_bytes())
    return file


def stored_member(path: Path) -> Any:
    return member(path, zipfile.ZIP_STORED)


def deflated_member(path: Path) -> Any:
    return member(path, zipfile.ZIP_DEFLATED)


def member(path: Path, compression: int) -> Any:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression, compresslevel=1) as archive:
        archive.write(path, "image.vhdx")
    return zipfile.ZipFile(packed).open("image.vhdx")


FILE_OBJECTS = [bytes_io, buffered_file, raw_file, spooled_file, stored_member, deflated_member]


@pytest.mark.parametrize("kind", FILE_OBJECTS)
def test_any_seekable_binary_file_object_is_read(path: Path, kind: Callable[[Path], Any]) -> None:
    with kind(path) as file:
        with vhdx.open(file) as disk:
            assert whole(disk) == CONTENT
            assert_reads(disk, CONTENT, scattered(disk.size, MIB, count=8))
        assert not file.closed, "what the caller opened is the caller's to close"
        file.seek(0)


class FewBytes(io.BytesIO):
    """A file object that gives at most 1000 bytes at once, as sockets and pipes do."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 1000))


def test_a_file_object_may_give_fewer_bytes_than_asked(path: Path) -> None:
    with vhdx.open(FewBytes(path.read_bytes())) as disk:
        assert whole(disk) == CONTENT


def test_promise_17_a_file_object_that_ends_early_is_an_error(path: Path) -> None:
    file = io.BytesIO(path.read_bytes())
    with vhdx.open(file) as disk:
        file.truncate(6 * MIB)
        with pytest.raises(OSError, match="ends inside") as caught:
            disk.pread(MIB, 3 * MIB)
        assert caught.value.errno == errno.EIO


def test_a_pipe_is_refused_in_clear_words() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as file, pytest.raises((OSError, TypeError), match="seekable"):
        vhdx.open(file)


class Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0, /) -> int:
        raise io.UnsupportedOperation("seek")


def test_an_unseekable_file_object_is_refused_in_clear_words() -> None:
    with pytest.raises((OSError, TypeError), match="seekable"):
        vhdx.open(Unseekable(IMAGE.build()))


@pytest.mark.parametrize(
    "thing", [None, 7, object(), b"path", [], bytearray()], ids=lambda thing: type(thing).__name__
)
def test_other_things_are_a_type_error(thing: Any) -> None:
    with pytest.raises(TypeError, match="seekable binary file object"):
        vhdx.open(thing)


def test_a_text_file_object_is_a_type_error(path: Path) -> None:
    with path.open(encoding="latin-1") as file, pytest.raises(TypeError):
        vhdx.open(file)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["w", "rb", "a", "", "x", None])
def test_other_modes_are_refused_before_anything_is_opened(tmp_path: Path, mode: Any) -> None:
    with pytest.raises(ValueError, match="mode is"):
        vhdx.open(tmp_path / "is not there.vhdx", mode)


def test_a_missing_file_is_the_hosts_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        vhdx.open(tmp_path / "missing.vhdx")
    assert caught.value.filename == str(tmp_path / "missing.vhdx")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        vhdx.open(tmp_path)


def test_promise_17_a_fifo_neither_hangs_nor_opens(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ValueError, match="neither a regular file nor a block device"):
        vhdx.open(tmp_path / "fifo")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/random"])
def test_a_character_device_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match="neither a regular file nor a block device"):
        vhdx.open(device)


@pytest.mark.parametrize("data", [b"", b"vhdxfil", b"conectix" * 1000, bytes(4 * MIB)], ids=len)
def test_what_is_no_vhdx_is_said_to_be_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(vhdx.CorruptImageError, match="no VHDX file") as caught:
        open_disk(tmp_path / "file")
    assert (caught.value.structure, caught.value.file_offset) == ("file identifier", 0)
    assert files_held(tmp_path) == []


@pytest.mark.parametrize("disk_type", ["fixed", "dynamic"])
@pytest.mark.parametrize(("logical", "physical"), [(512, 512), (512, 4096), (4096, 4096), (4096, 512)])
def test_what_a_disk_says_of_itself(disk_type: DiskType, logical: int, physical: int) -> None:
    image = ImageBuilder(6 * MIB, 2 * MIB, logical, physical, disk_type, seed=77)
    with in_memory(image) as disk:
        assert (disk.size, disk.block_size, disk.disk_type) == (6 * MIB, 2 * MIB, disk_type)
        assert (disk.logical_sector_size, disk.physical_sector_size) == (logical, physical)
        assert disk.disk_id == image.guid("disk id")
        assert (disk.chain, disk.read_only, disk.files()) == (("<BytesIO>",), True, ())
        assert disk_type in repr(disk)


USES: dict[str, Callable[[vhdx.Disk], object]] = {
    "pread of data": lambda disk: disk.pread(512, 0),
    "pread of zeros": lambda disk: disk.pread(512, MIB),
    "pread across": lambda disk: disk.pread(4 * MIB, 0),
    "pread of nothing": lambda disk: disk.pread(0, 0),
    "preadinto": lambda disk: disk.preadinto(bytearray(512), 0),
    "preadinto across": lambda disk: disk.preadinto(bytearray(2 * MIB), 0),
    "preadinto of nothing": lambda disk: disk.preadinto(bytearray(), 0),
    "extents": lambda disk: list(disk.extents()),
    "extents of nothing": lambda disk: list(disk.extents(length=0)),
    "reading a stream": lambda disk: disk.stream().read(512),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("warm", [False, True])
def test_a_closed_disk_refuses_every_read(path: Path, use: str, warm: bool) -> None:
    with vhdx.open(path) as disk:
        if warm:
            whole(disk)
    with pytest.raises(ValueError, match="closed"):
        USES[use](disk)
    disk.close()
    assert files_held(path.parent) == []
    assert disk.size == 4 * MIB


def test_promise_21_leaving_by_an_exception_closes(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), vhdx.open(path) as disk:
        raise KeyboardInterrupt
    assert files_held(path.parent) == []
    with pytest.raises(ValueError, match="closed"):
        disk.pread(1, 0)


def test_an_image_that_cannot_be_written_to_keeps_no_parent_open(tmp_path: Path) -> None:
    """Nor locked: the error may be kept for long, and with it every frame that it passed through."""
    parent = IMAGE.write(tmp_path / "parent.vhdx")
    child = IMAGE.child()
    child.log_length = 0
    path = child.write(tmp_path / "child.vhdx")
    with pytest.raises(vhdx.UnsupportedImageError, match="no log") as kept:
        vhdx.open(path, "r+")
    assert files_held(tmp_path) == []
    with vhdx.open(parent, "r+"):
        assert kept.value.image == str(path)


@pytest.mark.parametrize(
    "take_over",
    [
        lambda storage: readable_disk(storage, "vhdx", ParentPolicy()),
        writable_disk,
        lone_disk,
        lambda storage: vhd_disk(storage, ParentPolicy(), lock=False),
    ],
)
def test_a_storage_that_is_taken_over_is_closed_if_no_disk_comes_of_it(
    tmp_path: Path, take_over: Callable[[Any], object]
) -> None:
    path = tmp_path / "no image"
    path.write_bytes(bytes(MIB))
    storage = open_for_writing(str(path))
    with pytest.raises(vhdx.CorruptImageError):
        take_over(storage)
    assert files_held(tmp_path) == []


def test_a_vhd_that_is_to_be_written_to_is_called_one(tmp_path: Path) -> None:
    path = VhdBuilder(16 * 1024, FIXED).write(tmp_path / "disk.vhd")
    with pytest.raises(vhdx.UnsupportedImageError, match="this is a VHD"):
        vhdx.open(path, "r+")
    assert files_held(tmp_path) == []


def test_an_iterator_of_extents_that_outlives_its_disk_gives_no_wrong_answer(path: Path) -> None:
    with vhdx.open(path) as disk:
        extents = disk.extents()
        first = next(extents)
    assert (first.offset, first.length) == (0, MIB)
    try:
        rest = list(extents)
    except (OSError, ValueError):
        return
    assert [(e.offset, e.length) for e in rest] == [(MIB, MIB), (2 * MIB, 2 * MIB)]


@pytest.mark.parametrize("as_path", [True, False])
def test_promise_1_threads_read_the_same_disk(path: Path, as_path: bool) -> None:
    ranges = scattered(4 * MIB, 100_000, count=400)
    with vhdx.open(path if as_path else io.BytesIO(path.read_bytes())) as disk, ThreadPoolExecutor(8) as pool:
        for (length, offset), data in zip(ranges, pool.map(lambda r: disk.pread(*r), ranges), strict=True):
            assert data == CONTENT[offset : offset + length]


def test_the_public_face_is_complete() -> None:
    assert set(vhdx.__all__) <= set(dir(vhdx))
    for name in vhdx.__all__:
        assert getattr(vhdx, name).__doc__, f"{name} says nothing of itself"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", vhdx.__version__)


def test_every_error_is_a_vhdx_error() -> None:
    errors = {name for name in vhdx.__all__ if name.endswith("Error")}
    assert errors == {cls.__name__ for cls in vhdx.VhdxError.__subclasses__()} | {"VhdxError"}
