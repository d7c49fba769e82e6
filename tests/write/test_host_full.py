"""A host that is full when a commit wants its space: nothing has begun, and later it goes on."""

import errno
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.patterns import pattern
from tests.write.checking import is_clean


def test_a_flush_without_space_for_the_log_can_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhdx"
    vhdx.create(path, 8 * MIB, block_size=MIB)
    full: Any = mock.patch("vhdx.storage.host.reserve", side_effect=OSError(errno.ENOSPC, "full"))
    with vhdx.open(path, "r+") as disk:
        disk.pwrite(pattern(1, MIB), MIB)
        with full, pytest.raises(OSError, match="full") as caught:
            disk.flush()
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
        assert disk.pread(MIB, MIB) == pattern(1, MIB)
        disk.pwrite(pattern(2, 512), 5 * MIB)
        disk.flush()
    assert is_clean(path)
    with vhdx.open(path) as disk:
        assert disk.pread(MIB, MIB) == pattern(1, MIB)
        assert disk.pread(512, 5 * MIB) == pattern(2, 512)


def test_the_log_and_the_table_have_their_space_when_a_commit_begins(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhdx"
    vhdx.create(path, 8 * MIB, block_size=MIB)
    claimed: list[tuple[int, int]] = []

    def reserve(descriptor: int, file_offset: int, length: int) -> bool:
        claimed.append((file_offset, length))
        return True

    with vhdx.open(path, "r+") as disk, mock.patch("vhdx.storage.host.reserve", reserve):
        disk.pwrite(b"x", 0)
        disk.flush()
        table = disk.layers[0].regions.bat.file_offset
        log = disk.layers[0].header.log_offset
    assert claimed == [(log, 3 * 4096), (table, 4096)]
