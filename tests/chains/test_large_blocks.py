"""Children with blocks of 256 MiB: 16 pages of bits to a block, so that a log of 1 MiB fills quickly."""

from pathlib import Path

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, GIB, MIB, PARTIALLY_PRESENT
from tests.support.naive import naive_reader
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.write.checking import copied, is_clean

from .twin import Twin, twin_of

STEP = 16 * MIB
"""The disk range whose bits fill a page of 4 KiB."""


@pytest.mark.parametrize("flush_every", [1, 7, 1000])
def test_many_pages_of_bits(tmp_path: Path, flush_every: int) -> None:
    parent = ImageBuilder(GIB, 32 * MIB, blocks={n: Block(pattern(n, 9000)) for n in range(0, 32, 3)})
    parent.write(tmp_path / "parent.vhdx")
    vhdx.create(tmp_path / "child.vhdx", parent=tmp_path / "parent.vhdx", block_size="256M")
    files = [tmp_path / "child.vhdx", tmp_path / "parent.vhdx"]
    written: dict[int, bytes] = {}
    disk = vhdx.open(files[0], "r+")
    for round_ in range(24):
        for page in range(64 if round_ % 8 == 0 else 16):
            offset = page * STEP + round_ * 1536 + 100
            written[offset] = pattern(round_, 600, page)
            disk.pwrite(written[offset], offset)
        if round_ % flush_every == flush_every - 1:
            disk.flush()
    copy = copied(files[0], tmp_path / "killed.vhdx")
    disk.close()
    assert is_clean(files[0])
    twin = twin_of(*files)
    assert twin.layers[0].states == [PARTIALLY_PRESENT] * 4
    with naive_reader(files[0], files[1:]) as read:
        for offset, data in written.items():
            at, length = offset - 100, 800
            below = bytearray(Twin(twin.layers[1:]).read(length, at))
            below[100:700] = data
            assert twin.read(length, at)[:712] == bytes(below[:712])
            if offset % STEP == 100:
                assert read(at, 712) == bytes(below[:712])
    if flush_every == 1:
        with vhdx.open(copy) as killed:
            assert all(killed.pread(len(data), offset) == data for offset, data in written.items())


def test_a_whole_block_is_trimmed_and_zeroed(tmp_path: Path) -> None:
    ImageBuilder(GIB, 32 * MIB, blocks={0: Block(b"x" * 9000)}).write(tmp_path / "parent.vhdx")
    vhdx.create(tmp_path / "child.vhdx", parent=tmp_path / "parent.vhdx", block_size="256M")
    with vhdx.open(tmp_path / "child.vhdx", "r+") as disk:
        disk.pwrite(b"y" * 512, 4096)
        disk.trim(length=256 * MIB, offset=0)
        disk.zero(length=256 * MIB, offset=512 * MIB)
        disk.pwrite(b"z" * 512, 512)
        assert disk.pread(9000, 0) == bytes(512) + b"z" * 512 + bytes(9000 - 1024)
    twin = twin_of(tmp_path / "child.vhdx", tmp_path / "parent.vhdx")
    assert twin.layers[0].states == [FULLY_PRESENT, 0, 2, 0]
    assert twin.read(9000, 0) == bytes(512) + b"z" * 512 + bytes(9000 - 1024)
