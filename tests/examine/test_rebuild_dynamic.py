"""Lost entries of a dynamic image come back where there is one answer; nothing is ever guessed."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import vhdx
from tests.filesystems.making import need
from tests.partitions.tables import gpt_disk
from tests.support.build import ImageBuilder
from tests.support.damage import overwrite
from tests.support.layout import MIB, ZERO
from tests.support.parts import Block
from tests.support.patterns import pattern
from vhdx.ops.repair import repair

COUNT = 76
"""Blocks of the disk: more than the 64 entries of a sector."""
SECTOR = 512
FRONT, BACK = (0, SECTOR), (SECTOR, SECTOR)


def image(size: int = COUNT * MIB, block_size: int = MIB, **told: object) -> ImageBuilder:
    """A disk with a GPT of which every block is stored, in order."""
    table = gpt_disk(size, [(2048, 4095)])
    blocks = {}
    for number in range(-(-size // block_size)):
        own = bytearray(table[number * block_size : (number + 1) * block_size])
        if 0 < number < (size - 1) // block_size:
            own[:4096] = pattern(number, 4096)
        blocks[number] = Block({0: bytes(own[:65536]), len(own) - 65536: bytes(own[-65536:])})
    return ImageBuilder(size, block_size, blocks=blocks, **told)  # type: ignore[arg-type]


def lost(builder: ImageBuilder, path: Path, first: int, length: int) -> Path:
    builder.write(path)
    overwrite(path, builder.plan().bat_offset + first, bytes(length))
    return path


def refused(path: Path) -> str:
    """What a rebuild says that changes nothing."""
    before = path.read_bytes()
    result = repair(path, rebuild=True)
    assert not result.done
    assert path.read_bytes() == before
    assert "vhdx convert --salvage --carve" in (result.refused or "")
    return result.refused or ""


@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize(("first", "length"), [FRONT, BACK], ids=["front", "back"])
def test_the_order_gives_entries_back(first: int, length: int, sector_size: int, tmp_path: Path) -> None:
    builder = image(logical_sector_size=sector_size)
    sound = builder.build()
    path = lost(builder, tmp_path / "image.vhdx", first, length)
    damaged = path.read_bytes()
    dry = repair(path, rebuild=True, dry_run=True)
    assert path.read_bytes() == damaged
    result = repair(path, rebuild=True, backup=tmp_path / "backup")
    assert result.refused is None
    assert dry.done == result.done
    assert vhdx.check(path).is_clean
    table = builder.plan().bat_offset
    assert path.read_bytes()[table : table + 8 * COUNT] == sound[table : table + 8 * COUNT]
    with vhdx.open(path) as disk:
        assert disk.pread(disk.size, 0) == builder.content()
    vhdx.undo_repair(path, tmp_path / "backup")
    assert path.read_bytes() == damaged


def test_what_stands_nowhere_near_a_table_is_not_confirmed_by_it(tmp_path: Path) -> None:
    assert "confirms" in refused(lost(image(), tmp_path / "image.vhdx", 64, 8 * 50))


def test_a_short_last_block_comes_back(tmp_path: Path) -> None:
    builder = image(COUNT * MIB - MIB // 2)
    path = lost(builder, tmp_path / "image.vhdx", *BACK)
    with path.open("r+b") as file:
        file.truncate(builder.plan().end - MIB // 2)
    assert repair(path, rebuild=True).refused is None
    with vhdx.open(path) as disk:
        assert disk.pread(disk.size, 0) == builder.content()


def test_what_has_no_entry_and_no_space_stays_without(tmp_path: Path) -> None:
    """Blocks behind the last one and in front of the lost ones that were never written."""
    builder = image()
    del builder.blocks[66], builder.blocks[67]
    path = lost(builder, tmp_path / "image.vhdx", *FRONT)
    assert repair(path, rebuild=True).refused is None
    with vhdx.open(path) as disk:
        assert disk.pread(disk.size, 0) == builder.content()


def test_the_gap_of_qemu_is_no_block(tmp_path: Path) -> None:
    builder = image(gap=4 * MIB)
    path = lost(builder, tmp_path / "image.vhdx", *FRONT)
    assert repair(path, rebuild=True).refused is None
    with vhdx.open(path) as disk:
        assert disk.pread(disk.size, 0) == builder.content()


def _unstored(builder: ImageBuilder) -> None:
    del builder.blocks[30]


def _swapped(builder: ImageBuilder) -> None:
    places = builder.plan().blocks
    builder.bat = {70: places[71] | 6, 71: places[70] | 6}


def _unconfirmed(builder: ImageBuilder) -> None:
    builder.blocks[0] = builder.blocks[COUNT - 1] = Block(pattern(7, 4096))


def _one_copy_damaged(builder: ImageBuilder) -> None:
    builder.blocks[COUNT - 1] = Block(pattern(7, 4096))


def _few_left(builder: ImageBuilder) -> None:
    for number in range(66, COUNT):
        builder.blocks[number] = Block(state=ZERO)


def _leaking(builder: ImageBuilder) -> None:
    builder.tail = pattern(3, 3 * MIB)


REFUSALS: list[tuple[Callable[[ImageBuilder], None], str]] = [
    (_unstored, "are not as many as 64 blocks have"),
    (_swapped, "do not stand in the order of the disk"),
    (_unconfirmed, "no partition table and no file system confirms it"),
    (_one_copy_damaged, "the GPT would not agree"),
    (_few_left, "which tell no order"),
    (_leaking, "are not as many as 0 blocks have"),
]


@pytest.mark.parametrize(("change", "why"), REFUSALS, ids=lambda value: getattr(value, "__name__", ""))
def test_more_than_one_answer_is_refused(
    change: Callable[[ImageBuilder], None], why: str, tmp_path: Path
) -> None:
    builder = image()
    change(builder)
    assert why in refused(lost(builder, tmp_path / "image.vhdx", *FRONT))


def test_a_child_may_have_what_its_parent_has(tmp_path: Path) -> None:
    base = image()
    child = base.child()
    child.blocks = dict(base.blocks)
    base.write(tmp_path / "parent.vhdx")
    assert "parent" in refused(lost(child, tmp_path / "child.vhdx", *FRONT))


@pytest.fixture(scope="module")
def formatted(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, int]:
    """An ext4 that fills its disk, an image of it, and the first of many blocks with a file."""
    need("mkfs.ext4")
    folder = tmp_path_factory.mktemp("ext4")
    tree, raw, path = folder / "tree", folder / "disk.raw", folder / "disk.vhdx"
    tree.mkdir()
    (tree / "file").write_bytes(pattern(1, 20 * MIB))
    with raw.open("wb") as file:
        file.truncate(32 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-d", tree, raw], check=True)
    vhdx.convert(raw, path, options=vhdx.ImageOptions(block_size=MIB))
    with vhdx.open(path) as disk:
        longest = max((each for each in disk.extents() if each.file_offset), key=lambda each: each.length)
    return raw.read_bytes(), path.read_bytes(), longest.offset // MIB


def test_a_real_file_system_confirms(formatted: tuple[bytes, bytes, int], tmp_path: Path) -> None:
    content, data, first = formatted
    path = tmp_path / "image.vhdx"
    path.write_bytes(data)
    overwrite(path, 3 * MIB + 8 * (first + 1), bytes(8 * 9))
    assert "ext4" in repair(path, rebuild=True).done[0]
    with vhdx.open(path) as disk:
        assert disk.pread(disk.size, 0) == content


def test_a_real_file_system_that_would_not_agree(formatted: tuple[bytes, bytes, int], tmp_path: Path) -> None:
    _, data, first = formatted
    path = tmp_path / "image.vhdx"
    path.write_bytes(data)
    overwrite(path, 4 * MIB + 1024 + 0x3A, b"\2\0")  # errors were found, says the superblock
    overwrite(path, 3 * MIB + 8 * (first + 1), bytes(8 * 9))
    assert "the ext4 at 0 would not agree" in refused(path)
