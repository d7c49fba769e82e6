"""Long chains: what is remembered of who answers never changes what is read."""

import random
from pathlib import Path

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.patterns import pattern
from vhdx.disk import nearest
from vhdx.disk.open import open_disk
from vhdx.errors import CorruptImageError

SIZE = 8 * MIB
DEPTH = 5


@pytest.fixture(name="leaf")
def _leaf(tmp_path: Path) -> Path:
    """Block n of the base is written; each child writes sectors of some blocks."""
    chance = random.Random(1)
    path = tmp_path / "1.vhdx"
    vhdx.create(path, SIZE, block_size="1M")
    with open_disk(path, "r+") as disk:
        disk.pwrite(pattern(1, 4 * MIB), 0)
    for layer in range(2, DEPTH + 1):
        child = tmp_path / f"{layer}.avhdx"
        vhdx.create(child, parent=path, block_size="1M" if layer % 2 else "2M")
        with open_disk(child, "r+") as disk:
            for _ in range(3):
                disk.pwrite(chance.randbytes(512), chance.randrange(SIZE // 512) * 512)
        path = child
    return path


@pytest.mark.parametrize("remembered", [64 * 1024, 1])
def test_reads_and_writes_meet(leaf: Path, remembered: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "_REMEMBERED_PIECES", remembered)
    chance = random.Random(2)
    with open_disk(leaf) as disk:
        twin = bytearray(disk.pread(SIZE, 0))
    with open_disk(leaf, "r+") as disk:
        for _ in range(600):
            offset = chance.randrange(SIZE)
            length = chance.choice([1, 512, 4096, 3 * MIB])
            length = min(length, SIZE - offset)
            action = chance.choice(["read", "read", "read", "write", "zero", "trim"])
            if action == "write":
                data = chance.randbytes(length)
                disk.pwrite(data, offset)
                twin[offset : offset + length] = data
            elif action == "zero":
                disk.zero(length=length, offset=offset)
                twin[offset : offset + length] = bytes(length)
            elif action == "trim":
                disk.flush()
            assert disk.pread(length, offset) == twin[offset : offset + length]
            buffer = bytearray(length)
            disk.preadinto(buffer, offset)
            assert buffer == twin[offset : offset + length]


def test_a_read_over_several_small_blocks_asks_for_each(tmp_path: Path) -> None:
    """Leaf and base have all of it in one large block; of the small ones between only block 1 is there."""
    base, middle, leaf = (tmp_path / name for name in ("base.vhdx", "middle.avhdx", "leaf.avhdx"))
    vhdx.create(base, 64 * MIB, block_size="32M")
    with open_disk(base, "r+") as disk:
        disk.pwrite(pattern(1, 4 * MIB), 0)
    vhdx.create(middle, parent=base, block_size="1M")
    with open_disk(middle, "r+") as disk:
        disk.pwrite(pattern(2, MIB), MIB)
    vhdx.create(leaf, parent=middle, block_size="32M")
    expected = pattern(1, 4 * MIB)[:MIB] + pattern(2, MIB) + pattern(1, 4 * MIB)[2 * MIB :]
    with open_disk(leaf) as disk:
        for offset, length in ((0, 4 * MIB), (MIB - 512, 1024), (2 * MIB - 1, 2)):
            assert disk.pread(length, offset) == expected[offset : offset + length]
            buffer = bytearray(length)
            disk.preadinto(buffer, offset)
            assert buffer == expected[offset : offset + length]


def test_a_parent_that_is_not_asked_may_be_wrong(leaf: Path) -> None:
    """Its block 0 stands nowhere; a child over it has all of that block, and none of the next one."""
    with open_disk(leaf, "r+") as disk:
        disk.pwrite(pattern(9, 2 * MIB), 0)
    base = leaf.with_name("1.vhdx")
    with open_disk(base) as disk:
        table = disk.layers[0].regions.bat.file_offset
    with base.open("r+b") as file:
        for block in (0, 3):
            file.seek(table + 8 * block)
            file.write((1 << 40 | 6).to_bytes(8, "little"))
    with open_disk(leaf) as disk:
        assert disk.pread(4096, 0) == pattern(9, 2 * MIB)[:4096]
        for _ in range(2):
            with pytest.raises(CorruptImageError, match="block 3"):
                disk.pread(1, 4 * MIB - 1)
        disk.pread(512, 7 * MIB)
        disk.close()
        with pytest.raises(ValueError, match="closed"):
            disk.pread(512, 0)
