"""A lost entry is strong evidence where bookkeeping of the disk stood in its block, else it is weak."""

import subprocess
from pathlib import Path

import pytest

import vhdx
from tests.filesystems.making import need
from tests.partitions.tables import gpt_disk
from tests.support.damage import overwrite
from tests.support.layout import MIB
from tests.support.patterns import pattern
from vhdx.ops.compact import compact

BAT = 3 * MIB


def _image(folder: Path, content: bytes) -> Path:
    raw, path = folder / "disk.raw", folder / "disk.vhdx"
    raw.write_bytes(content)
    vhdx.convert(raw, path, options=vhdx.ImageOptions(block_size=MIB))
    return path


def _formatted(folder: Path, size: int, *command: str) -> Path:
    need(command[0])
    raw, path = folder / "disk.raw", folder / "disk.vhdx"
    with raw.open("wb") as file:
        file.truncate(size)
    subprocess.run([*command, raw], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    vhdx.convert(raw, path, options=vhdx.ImageOptions(block_size=MIB))
    return path


def _lose(path: Path, block: int) -> None:
    overwrite(path, BAT + 8 * block, bytes(8))


@pytest.mark.parametrize(
    ("command", "size", "block"),
    [
        (("mkfs.ext4", "-q"), 256 * MIB, 128),
        (("mkfs.ext4", "-q", "-b", "1024"), 64 * MIB, 24),
        (("mkfs.vfat", "-F", "32"), 64 * MIB, 0),
        (("mkfs.xfs", "-q", "-f"), 512 * MIB, 256),
        (("mkfs.ntfs", "-q", "-F"), 128 * MIB, 63),
        (("mkfs.exfat",), 64 * MIB, 0),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else str(value),
)
def test_bookkeeping_of_a_file_system(
    command: tuple[str, ...], size: int, block: int, tmp_path: Path
) -> None:
    path = _formatted(tmp_path, size, *command)
    assert vhdx.check(path).is_clean
    _lose(path, block)
    found = vhdx.check(path)
    assert found.codes["space.lost_entries"] == 1
    before = path.read_bytes()
    with pytest.raises(vhdx.CorruptImageError, match="lost entries"):
        compact(path)
    assert vhdx.repair(path).refused
    assert path.read_bytes() == before


@pytest.mark.parametrize("block", [0, 15], ids=["primary", "backup"])
def test_a_copy_of_a_gpt(block: int, tmp_path: Path) -> None:
    path = _image(tmp_path, bytes(gpt_disk(16 * MIB, [(2048, 4095)])))
    assert vhdx.check(path).is_clean
    _lose(path, block)
    assert vhdx.check(path).codes["space.lost_entries"] == 1


def test_the_first_block_of_a_partition(tmp_path: Path) -> None:
    need("mkfs.ext4")
    volume = tmp_path / "volume.raw"
    with volume.open("wb") as file:
        file.truncate(8 * MIB)
    subprocess.run(["mkfs.ext4", "-q", volume], check=True)
    content = bytearray(gpt_disk(16 * MIB, [(2 * MIB // 512, 10 * MIB // 512 - 1)]))
    content[2 * MIB : 10 * MIB] = volume.read_bytes()
    path = _image(tmp_path, bytes(content))
    _lose(path, 2)
    assert vhdx.check(path).codes["space.lost_entries"] == 1


def test_anything_else_is_weak(tmp_path: Path) -> None:
    """Also a lost block of a file: nothing tells it from what a crash leaves."""
    content = bytearray(gpt_disk(16 * MIB, [(2048, 4095)]))
    content[5 * MIB : 6 * MIB] = pattern(5, MIB)
    path = _image(tmp_path, bytes(content))
    _lose(path, 5)
    codes = vhdx.check(path).codes
    assert "space.lost_entries" not in codes
    assert codes["space.leaked"] == 1


def test_a_disk_that_was_cut_lacks_no_backup(tmp_path: Path) -> None:
    """Its GPT says that a backup stands behind the end, where nothing can be."""
    content = bytearray(gpt_disk(16 * MIB, [(2048, 4095)])[: 12 * MIB])
    content[5 * MIB : 6 * MIB] = pattern(5, MIB)
    path = _image(tmp_path, bytes(content))
    _lose(path, 5)
    assert "space.lost_entries" not in vhdx.check(path).codes
