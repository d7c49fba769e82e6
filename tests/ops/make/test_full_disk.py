"""A host's disk that becomes full: told at once where space is reserved, and nothing stays behind."""

import errno
import os
import shutil
from pathlib import Path

import pytest

import vhdx
from tests.ops.conftest import SMALL
from tests.support.layout import MIB
from vhdx.ops.make.increment import create_increment

from .making import disk_of, names_in, write_raw


def free(folder: Path) -> int:
    """Bytes left in a file system."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def test_a_fixed_image_that_does_not_fit(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    pwrite = os.pwrite

    def write(descriptor: int, data: bytes, offset: int) -> int:
        written.append(offset)
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", write)
    before = free(small_disk)
    with pytest.raises(OSError) as caught:
        vhdx.create(small_disk / "a.vhdx", 2 * SMALL, block_size=MIB, disk_type="fixed")
    assert caught.value.errno == errno.ENOSPC
    assert written == []  # refused before any work was done
    assert names_in(small_disk) == []
    assert free(small_disk) == before


def test_a_fixed_image_that_fits(small_disk: Path) -> None:
    made = vhdx.create(small_disk / "a.vhdx", SMALL // 2, block_size=MIB, disk_type="fixed")
    assert made.remarks == ()
    assert free(small_disk) < SMALL // 2
    assert disk_of(small_disk / "a.vhdx") == bytes(SMALL // 2)


def test_a_fixed_conversion_that_does_not_fit_reads_nothing(small_disk: Path, tmp_path: Path) -> None:
    source = write_raw(tmp_path / "a.raw", 2 * SMALL, {0: b"x" * MIB})
    progress: list[int] = []
    with pytest.raises(OSError) as caught:
        vhdx.convert(
            source,
            small_disk / "a.vhdx",
            options=vhdx.ImageOptions("fixed", block_size=MIB),
            progress=lambda done, _: progress.append(done),
        )
    assert caught.value.errno == errno.ENOSPC
    assert progress == []
    assert names_in(small_disk) == []


@pytest.mark.parametrize("suffix", ["vhdx", "raw"])
def test_a_conversion_that_does_not_fit(small_disk: Path, tmp_path: Path, suffix: str) -> None:
    source = write_raw(tmp_path / "a.raw", 2 * SMALL, {0: b"x" * 2 * SMALL})
    before = free(small_disk)
    with pytest.raises(OSError) as caught:
        vhdx.convert(source, small_disk / f"a.{suffix}")
    assert caught.value.errno == errno.ENOSPC
    assert names_in(small_disk) == []
    assert free(small_disk) == before


def test_a_file_to_be_replaced_survives(small_disk: Path, tmp_path: Path) -> None:
    source = write_raw(tmp_path / "a.raw", 2 * SMALL, {0: b"x" * 2 * SMALL})
    (small_disk / "a.vhdx").write_bytes(b"old")
    with pytest.raises(OSError):
        vhdx.convert(source, small_disk / "a.vhdx", overwrite=True)
    assert (small_disk / "a.vhdx").read_bytes() == b"old"
    assert names_in(small_disk) == ["a.vhdx"]


def test_a_copy_that_can_be_gone_on_with_keeps_what_it_has(small_disk: Path, tmp_path: Path) -> None:
    """Also where the map cannot be written any more: the one of the beginning is there."""
    content = b"x" * 2 * SMALL
    source = write_raw(tmp_path / "a.raw", 2 * SMALL, {0: content})
    target, state = small_disk / "a.raw", small_disk / "map"
    with pytest.raises(OSError, match="had been written, and stay: the same command goes on from there"):
        vhdx.convert(source, target, salvage=True, state=state)
    assert names_in(small_disk) == ["a.raw", "map"]
    shutil.move(small_disk / "a.raw", tmp_path / "b.raw")
    vhdx.convert(source, tmp_path / "b.raw", salvage=True, state=shutil.copy(state, tmp_path))
    assert (tmp_path / "b.raw").read_bytes() == content


def test_an_increment_that_does_not_fit(small_disk: Path, tmp_path: Path) -> None:
    vhdx.create(tmp_path / "base.vhdx", 2 * SMALL)
    (tmp_path / "other.raw").write_bytes(os.urandom(2 * SMALL))
    with pytest.raises(OSError, match="nothing was made") as caught:
        create_increment(
            small_disk / "c.avhdx", parent=tmp_path / "base.vhdx", contents=tmp_path / "other.raw"
        )
    assert caught.value.errno == errno.ENOSPC
    assert names_in(small_disk) == []
