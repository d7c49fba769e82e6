"""Damaged and hostile ext: refused, or right; never slow, never large, nothing but NotFreeError."""

from __future__ import annotations

import random
import re
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from tests.filesystems.ext_making import Shape, aged, made, shape, superblock_of, with_superblock
from tests.filesystems.journals import raw
from tests.filesystems.making import MIB, need, run
from tests.filesystems.noise import patch
from vhdx.filesystems import ext
from vhdx.filesystems.base import Examined, examine

if TYPE_CHECKING:
    from pathlib import Path

SHAPES = (
    shape("ext2", "-t ext2 -b 1024", 12 * MIB),
    shape("ext3", "-t ext3 -b 1024 -J size=1", 12 * MIB),
    shape("ext4", "-t ext4 -b 1024 -J size=1", 12 * MIB),
    shape("bigalloc", "-t ext4 -O bigalloc,^metadata_csum -b 1024 -C 4096 -J size=1", 12 * MIB),
    shape("meta_bg", "-t ext4 -O meta_bg,^resize_inode,^metadata_csum -b 1024 -g 512 -J size=1", 12 * MIB),
)
BOUND = 64 * MIB


@pytest.fixture(autouse=True)
def _programs() -> None:
    need("mkfs.ext4", "debugfs", "e2fsck")


class Disk:
    """Bytes that count how often they are read."""

    def __init__(self, data: bytes | bytearray) -> None:
        self.data = bytearray(data)
        self.reads = 0

    def read(self, length: int, offset: int) -> bytes:
        self.reads += 1
        assert self.reads < 20_000
        assert 0 <= length <= BOUND
        assert 0 <= offset <= len(self.data) - length
        return bytes(self.data[offset : offset + length])

    def examined(self) -> Examined:
        found = ext.recognise(self.read, len(self.data))
        assert found is not None
        return examine(found, len(self.data))


def free_map(examined: Examined, size: int) -> int:
    """A number with a byte for each KiB that is free."""
    free = bytearray(size // 1024)
    for offset, length in examined.free_ranges():
        free[offset // 1024 : (offset + length) // 1024] = b"\1" * (length // 1024)
    return int.from_bytes(free, "little")


def places_to_damage(image: Path) -> list[tuple[int, int]]:
    """(offset, length) of the superblock's used part, the descriptors, and the journal's first two blocks."""
    journal = run("debugfs", "-R", "bmap <8> 0", image).strip()
    places = [(1024, 0x280), (2048, 1024)]
    return places + ([(int(journal) * 1024, 0x100), ((int(journal) + 1) * 1024, 1024)] if journal else [])


CASES = pytest.mark.parametrize(
    ("what", "dirty"),
    [(what, dirty) for what in SHAPES for dirty in (False, True) if not (dirty and "ext2" in what.options)],
    ids=lambda value: value.name if isinstance(value, Shape) else ("dirty" if value else "clean"),
)


@CASES
def test_mutations(tmp_path: Path, what: Shape, *, dirty: bool) -> None:
    mutations(tmp_path, what, dirty=dirty, seeds=range(40))


@pytest.mark.slow
@CASES
def test_many_mutations(tmp_path: Path, what: Shape, *, dirty: bool) -> None:
    mutations(tmp_path, what, dirty=dirty, seeds=range(40, 1500))


def mutations(folder: Path, what: Shape, *, dirty: bool, seeds: range) -> None:
    """Each is refused, or calls free what the undamaged one calls free."""
    image = aged(folder, what).image
    if dirty:
        bitmap = int.from_bytes(image.read_bytes()[2048:2052], "little")
        (block := folder / "block").write_bytes(image.read_bytes()[bitmap * 1024 :][:1024])
        # debugfs makes wrong checksums of the first kind, which e2fsck refuses as well.
        opened = "jo -c" if what.name == "ext4" else "jo"
        script = f"{opened}\njw -b {bitmap} {block}\njw -r 5000-5003\njc\n"
        run("debugfs", "-w", "-f", "-", image, text=script)
    disk = Disk(image.read_bytes())
    truth = free_map(disk.examined(), len(disk.data))
    assert truth, disk.examined().file_system.reasons
    assert disk.examined().file_system.state == ("replayed" if dirty else "clean")
    places = places_to_damage(image)
    for seed in seeds:
        mutated = mutate(disk.data, places, seed)
        assert not free_map(mutated.examined(), len(disk.data)) & ~truth, seed


def mutate(data: bytes | bytearray, places: list[tuple[int, int]], seed: int) -> Disk:
    """One to three fields changed; the checksums of superblock and journal made right again half the time."""
    rng = random.Random(seed)
    disk = Disk(data)
    for _ in range(rng.randint(1, 3)):
        begin, length = rng.choice(places)
        at = begin + rng.randrange(length // 2) * 2
        size = rng.choice((1, 2, 4))
        value = rng.choice(
            (0, 1, 0xFF, 0xFFFF, 0x8000, 0xFFFFFFFF, rng.randrange(1 << 32), rng.randrange(64))
        )
        disk.data[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, rng.choice(("little", "big")))
    disk.data[1024 + 0x38 : 1024 + 0x3A] = b"\x53\xef"  # else it is nothing
    if rng.random() < 0.7:
        reseal(disk.data, places)
    return disk


def reseal(data: bytearray, places: list[tuple[int, int]]) -> None:
    data[1024 + 0x3FC : 2048] = raw(0xFFFFFFFF, bytes(data[1024 : 1024 + 0x3FC])).to_bytes(4, "little")
    if len(places) > 2:
        journal = places[2][0]
        data[journal + 0xFC : journal + 0x100] = bytes(4)
        sealed = raw(0xFFFFFFFF, bytes(data[journal : journal + 1024])).to_bytes(4, "big")
        data[journal + 0xFC : journal + 0x100] = sealed
    seed = raw(0xFFFFFFFF, bytes(data[1024 + 0x68 : 1024 + 0x78]))
    size = int.from_bytes(data[1024 + 0xFE : 1024 + 0x100], "little") or 32
    if 32 <= size <= 256:
        for group in range(1024 // size):
            begin = 2048 + group * size
            data[begin + 0x1E : begin + 0x20] = bytes(2)
            checksum = raw(raw(seed, group.to_bytes(4, "little")), bytes(data[begin : begin + size]))
            data[begin + 0x1E : begin + 0x20] = (checksum & 0xFFFF).to_bytes(2, "little")


def test_a_huge_file_system_of_tiny_groups_takes_little_memory(tmp_path: Path) -> None:
    """Two million groups are the most; behind the superblock there is nothing."""
    image = made(tmp_path, shape("", "-t ext2 -b 1024", 12 * MIB))
    for groups, says in ((1 << 21, "the descriptor of group 0"), ((1 << 21) + 1, "more than 2097152 groups")):
        blocks = groups * 256 + 1
        with_superblock(
            image,
            [
                (0x04, 4, blocks),
                (0x20, 4, 256),
                (0x24, 4, 256),
                (0x28, 4, 8),
                (0, 4, groups * 8),
                (0x0C, 4, 0),
            ],
        )
        superblock = bytes(superblock_of(image))

        def read(length: int, offset: int, superblock: bytes = superblock) -> bytes:
            return superblock if (length, offset) == (1024, 1024) else bytes(length)

        tracemalloc.start()
        found = ext.recognise(read, blocks * 1024)
        assert found is not None
        (reason,) = examine(found, blocks * 1024).file_system.reasons
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert says in reason
        assert peak < BOUND


def test_circles_in_the_list_of_the_journals_blocks(tmp_path: Path) -> None:
    image = made(tmp_path, shape("", "-t ext4 -O ^metadata_csum -b 1024 -J size=1", 12 * MIB))
    where = re.search(r"block (\d+), offset 0x(\w+)", run("debugfs", "-R", "imap <8>", image))
    assert where is not None
    inode = int(where[1]) * 1024 + int(where[2], 16)
    node = bytes.fromhex("0af30400040001000000000000000000") + (100).to_bytes(4, "little") + bytes(4)
    patch(image, inode + 0x28, node)
    circle = b"\x0a\xf3" + (84).to_bytes(2, "little") + (84).to_bytes(2, "little") + b"\0\0" + bytes(4)
    patch(image, 100 * 1024, circle + bytes(84 * 12))
    for depth in (0, 1, 5, 0xFFFF):
        patch(image, inode + 0x28 + 6, min(depth + 1, 0xFFFF).to_bytes(2, "little"))
        patch(image, 100 * 1024 + 6, depth.to_bytes(2, "little"))
        disk = Disk(image.read_bytes())
        (reason,) = disk.examined().file_system.reasons
        assert "the list of its journal's blocks is damaged" in reason
