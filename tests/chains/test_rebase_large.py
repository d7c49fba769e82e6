"""Rebasing a large disk costs what is stored, not what the disk has. Found by the soak."""

from pathlib import Path

import pytest

import vhdx
from tests.support.layout import MIB, TIB
from vhdx.disk.base import padded_read
from vhdx.disk.chain import VhdxDisk
from vhdx.ops import rebase

PLACES = (0, 3 * MIB + 512, TIB - 8 * MIB)


def test_what_neither_parent_stores_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, middle, leaf = (tmp_path / f"{name}.vhdx" for name in ("base", "middle", "leaf"))
    vhdx.create(base, TIB, block_size="32MiB")
    vhdx.create(middle, TIB + 4 * MIB, parent=base, block_size="32MiB")
    with vhdx.open(middle, "r+") as disk:
        for place in (*PLACES, TIB + 3 * MIB):
            disk.pwrite(b"middle", place)
    vhdx.create(leaf, parent=middle)
    with vhdx.open(leaf, "r+") as disk:
        disk.pwrite(b"leaf" * (MIB // 2), TIB)  # what is asked for next begins behind the new parent
    reads = []

    def counted(disk: VhdxDisk, length: int, offset: int) -> bytes:
        reads.append(offset)
        assert len(reads) < 1000
        return padded_read(disk, length, offset)

    monkeypatch.setattr(rebase, "padded_read", counted)
    done = vhdx.rebase(leaf, base, safe=True)
    assert done.copied_size == 4 * 512
    with vhdx.open(leaf) as disk:
        assert disk.chain == (str(leaf), str(base))
        for place in (*PLACES, TIB + 3 * MIB):
            assert disk.pread(8, place) == b"middle\0\0"
