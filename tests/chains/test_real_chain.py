"""The chain that Windows made: read, written to on a copy, rebased, flattened."""

import hashlib
from pathlib import Path

import pytest

import vhdx
from tests.interop.programs import by_seven_zip, pyvhdi_bytes
from tests.real.test_real_images import IMAGES, LISTED, unpack
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.write.checking import guids_of

from .files import digest
from .twin import assert_sound, twin_of

CHILD, PARENT = "dfvfs__fat-differential.vhdx", "fat-parent.vhdx"
pytestmark = pytest.mark.skipif(not LISTED, reason=f"there is no folder {IMAGES}")


@pytest.fixture(name="files")
def _files(tmp_path: Path) -> list[Path]:
    return [unpack(CHILD, tmp_path), tmp_path / PARENT]


def content_of(path: Path) -> bytes:
    with vhdx.open(path) as disk:
        return disk.pread(disk.size, 0)


def test_is_read_and_flattened(files: list[Path], tmp_path: Path) -> None:
    content = content_of(files[0])
    assert hashlib.sha256(content).hexdigest() == LISTED[CHILD]["content_sha256"]
    assert twin_of(*files).read(len(content), 0) == content
    vhdx.convert(files[0], tmp_path / "flat.vhdx")
    vhdx.convert(files[0], tmp_path / "flat.raw")
    assert content_of(tmp_path / "flat.vhdx") == (tmp_path / "flat.raw").read_bytes() == content


def test_is_written_to(files: list[Path]) -> None:
    content, parent = bytearray(content_of(files[0])), digest(files[1])
    with vhdx.open(files[0], "r+") as disk:
        for number, offset in enumerate((0, 700, MIB + 511, 2 * MIB - 10, 3 * MIB + 4096, 4 * MIB - 99)):
            data = pattern(number, min(5000, disk.size - offset), 77)
            disk.pwrite(data, offset)
            content[offset : offset + len(data)] = data
        disk.zero(length=10_000, offset=MIB)
        content[MIB : MIB + 10_000] = bytes(10_000)
    assert content_of(files[0]) == content
    assert twin_of(*files).read(len(content), 0) == content
    assert by_seven_zip(files[0]) == content
    assert pyvhdi_bytes(*files) == content
    assert digest(files[1]) == parent
    assert_sound(files[0])
    with vhdx.open(files[0], "r+") as disk:
        disk.trim(length=2 * MIB, offset=2 * MIB)
        content[2 * MIB :] = bytes(2 * MIB)
    assert by_seven_zip(files[0]) == content_of(files[0]) == content


def test_is_rebased_and_has_children(files: list[Path], tmp_path: Path) -> None:
    content, identity = content_of(files[0]), guids_of(files[0])[1]
    vhdx.rebase(files[0], files[1].rename(tmp_path / "moved.vhdx"))
    assert guids_of(files[0])[1] == identity
    assert content_of(files[0]) == content
    vhdx.create(tmp_path / "grandchild.vhdx", parent=files[0], block_size="256M")
    with vhdx.open(tmp_path / "grandchild.vhdx", "r+") as disk:
        disk.pwrite(b"x" * 700, MIB - 350)
    assert (
        content_of(tmp_path / "grandchild.vhdx") == content[: MIB - 350] + b"x" * 700 + content[MIB + 350 :]
    )
    with vhdx.open(tmp_path / "grandchild.vhdx") as disk:
        assert [(e.offset, e.length) for e in disk.changed_extents()] == [(MIB - 512, 1024)]
