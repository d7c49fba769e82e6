"""Blocks that no table names, as files named by their places: every byte of them, and nothing elsewhere."""

import gzip
import os
import random
import subprocess
from pathlib import Path

import pytest

import vhdx
from tests.filesystems.making import need
from tests.partitions.tables import gpt_disk
from tests.support.build import ImageBuilder
from tests.support.damage import overwrite
from tests.support.layout import MIB
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.unreadable import UnreadableHost
from vhdx.examine.carve import block_places
from vhdx.examine.looks import looks_of
from vhdx.ops.make.carve import CarvedBlock
from vhdx.ops.make.convert import ConvertResult

RANDOM = random.Random(1).randbytes(8 * MIB)
TEXT = b"Of all that was in the file this is what is left.\n" * 30000


def carved(path: Path, folder: Path, *, overwrite: bool = False) -> tuple[list[CarvedBlock], ConvertResult]:
    found: list[CarvedBlock] = []
    made = vhdx.convert(
        path,
        folder.with_suffix(".raw"),
        salvage=True,
        overwrite=overwrite,
        carve_to=folder,
        on_carved=found.append,
    )
    return found, made


def image(block_size: int = MIB, gap: int = 0) -> ImageBuilder:
    contents = [RANDOM[:block_size], TEXT[:block_size], b"x" + bytes(8192) + b"y", pattern(4, 4096)]
    blocks = {number: Block(data) for number, data in enumerate(contents)}
    return ImageBuilder(40 * block_size, block_size, blocks=blocks, gap=gap)


def without_entries(builder: ImageBuilder, path: Path, *blocks: int) -> Path:
    builder.write(path)
    for block in blocks:
        overwrite(path, builder.plan().bat_offset + 8 * block, bytes(8))
    return path


@pytest.mark.parametrize("block_size", [MIB, 2 * MIB, 8 * MIB])
def test_every_byte_is_there_once_by_its_place(block_size: int, tmp_path: Path) -> None:
    builder = image(block_size)
    path = without_entries(builder, tmp_path / "image.vhdx", 0, 1, 2)
    before = path.read_bytes()
    found, made = carved(path, tmp_path / "pieces")
    places = [builder.plan().blocks[number] for number in (0, 1, 2)]
    assert [block.file_offset for block in found] == places
    assert made.carved == 3
    assert [block.looks_like for block in found] == ["random", "text", "data"]
    assert sorted(os.listdir(tmp_path / "pieces")) == [Path(block.path).name for block in found]
    for block in found:
        assert Path(block.path).name == f"{block.file_offset:014}-{block.looks_like}"
        there = before[block.file_offset : block.file_offset + block_size]
        assert Path(block.path).read_bytes() == there
    assert path.read_bytes() == before
    assert os.stat(found[2].path).st_blocks * 512 < block_size


def test_blocks_behind_the_gap_of_qemu_stand_where_they_stand(tmp_path: Path) -> None:
    builder = image(2 * MIB, gap=3 * MIB)
    path = without_entries(builder, tmp_path / "image.vhdx", 0, 1)
    found, _ = carved(path, tmp_path / "pieces")
    assert [block.file_offset for block in found] == [builder.plan().blocks[number] for number in (0, 1)]


@pytest.mark.parametrize(
    ("filled", "block", "places"),
    [
        (b"\1\1\1", 1, [(0, 1), (1, 1), (2, 1)]),
        (b"\0\1\0\0\0\1", 2, [(0, 2), (4, 2)]),
        (b"\0\0\0\1\1", 2, [(3, 2)]),
        (b"\1\0\1\1\0", 2, [(0, 2), (2, 2)]),
        (b"\1", 8, [(0, 1)]),
        (b"\0" * 9, 4, []),
    ],
)
def test_places_in_a_run(filled: bytes, block: int, places: list[tuple[int, int]]) -> None:
    assert list(block_places(filled, block)) == places


def test_an_image_that_lost_nothing_gives_nothing(tmp_path: Path) -> None:
    path = image().write(tmp_path / "image.vhdx")
    assert carved(path, tmp_path / "pieces")[0] == []
    assert os.listdir(tmp_path / "pieces") == []


def test_nothing_is_overwritten_and_nothing_leaves_the_directory(tmp_path: Path) -> None:
    path = without_entries(image(), tmp_path / "image.vhdx", 0)
    folder, outside = tmp_path / "pieces", tmp_path / "outside"
    folder.mkdir()
    outside.write_bytes(b"mine")
    name = f"{image().plan().blocks[0]:014}-random"
    (folder / name).symlink_to(outside)
    with pytest.raises(FileExistsError):
        carved(path, folder)
    assert not folder.with_suffix(".raw").exists()
    found, _ = carved(path, folder, overwrite=True)
    assert outside.read_bytes() == b"mine"
    assert not (folder / name).is_symlink()
    assert Path(found[0].path).read_bytes() == RANDOM[:MIB]


def test_no_directory_is_made_where_nothing_is_converted(tmp_path: Path) -> None:
    path = without_entries(image(), tmp_path / "image.vhdx", 0)
    (tmp_path / "pieces.raw").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        carved(path, tmp_path / "pieces")
    with pytest.raises(ValueError, match="with salvage"):
        vhdx.convert(path, tmp_path / "new.raw", carve_to=tmp_path / "pieces")
    assert not (tmp_path / "pieces").exists()


def test_what_cannot_be_read_is_zeros_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = without_entries(image(), tmp_path / "image.vhdx", 0)
    place = image().plan().blocks[0]
    UnreadableHost(monkeypatch, path, [(place + 512, place + 1024), (place + MIB - 512, place + MIB)])
    (block, *_), _ = carved(path, tmp_path / "pieces")
    assert block.unreadable == 1024
    expected = bytearray(RANDOM[:MIB])
    expected[512:1024] = expected[-512:] = bytes(512)
    assert Path(block.path).read_bytes() == expected


def looks(data: bytes, size: int = MIB) -> tuple[str, str | None]:
    whole = data.ljust(size, b"\0")
    first = (len(whole) - len(whole.lstrip(b"\0"))) // 16384 * 16384
    found = looks_of(lambda length, offset: whole[offset : offset + length], size, first)
    return found.kind, found.detail


GPT = bytes(gpt_disk(MIB, [(64, 127)]))
SQUARES = b"".join(str(number * number * 7919).encode() for number in range(200000))
LOOKS = {
    "GPT": (GPT, ("partition table", "GPT")),
    "end of a GPT": (GPT[MIB // 2 :].rjust(MIB, b"\0"), ("partition table", "backup of a GPT")),
    "text": (TEXT[:MIB], ("text", None)),
    "UTF-8": ("Grüße aus dem Süden. ".encode() * 900, ("text", None)),
    "random": (random.Random(2).randbytes(MIB), ("random", None)),
    "gzip": (gzip.compress(SQUARES), ("compressed", "gzip")),
    "middle of a gzip": (gzip.compress(SQUARES)[70000:], ("compressed", None)),
    "NTFS directory": (b"INDX" + bytes(4092), ("directory", "NTFS")),
    "FAT directory": (b".".ljust(11) + bytes(21) + b"..".ljust(11) + bytes(21), ("directory", "FAT")),
    "records of files": (b"FILE0" + bytes(1019), ("file records", "NTFS")),
    "little": (b"\1\2\3", ("data", None)),
    "a byte at the end": (b"\1".rjust(MIB, b"\0"), ("data", None)),
}


@pytest.mark.parametrize("name", LOOKS)
def test_what_it_looks_like(name: str) -> None:
    data, expected = LOOKS[name]
    assert looks(data) == expected


MAGICS = ((b"XFSB", 0), (b"\x53\xef", 1080), (b"NTFS    ", 3), (b"\x55\xaa", 510), (b"EXFAT   ", 3))


@pytest.mark.parametrize("seed", range(20))
def test_no_bytes_are_too_strange_to_look_at(seed: int) -> None:
    noise = random.Random(seed)
    data = bytearray(noise.choice([GPT, noise.randbytes(MIB)]))
    for magic, at in MAGICS:
        if noise.random() < 0.5:
            data[at : at + len(magic)] = magic
    assert looks(bytes(data))[0]


def test_real_contents_are_told_apart(tmp_path: Path) -> None:
    need("mkfs.ext4")
    tree, raw = tmp_path / "tree", tmp_path / "disk.raw"
    tree.mkdir()
    (tree / "text").write_bytes(TEXT * 3)
    (tree / "random").write_bytes(random.Random(3).randbytes(2 * MIB))
    with raw.open("wb") as file:
        file.truncate(32 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-d", tree, raw], check=True)
    path = tmp_path / "disk.vhdx"
    vhdx.convert(raw, path, options=vhdx.ImageOptions(block_size=MIB))
    overwrite(path, 3 * MIB, bytes(4096))
    found, made = carved(path, tmp_path / "pieces")
    assert made.doubts
    assert (found[0].looks_like, found[0].detail) == ("file system superblock", "ext4")
    assert {"text", "random"} <= {block.looks_like for block in found}
    contents = raw.read_bytes()
    blocks = {contents[at : at + MIB] for at in range(0, len(contents), MIB)}
    assert {Path(block.path).read_bytes() for block in found} <= blocks
