"""What `compact` foresees is what it does, and what it leaves a second run finds nothing in."""

import os
import random
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

import vhdx
from tests.support.layout import KIB, MIB
from tests.support.patterns import pattern
from tests.write.checking import copied

DISK = 24 * MIB


def without_the_host(result: vhdx.CompactResult) -> vhdx.CompactResult:
    """What only a real run knows."""
    return result._replace(host_size_before=0, host_size_after=0, dry_run=False)


def changed(path: Path, chance: random.Random, count: int) -> None:
    """Random writes, zeros and trims, of whole blocks and of parts, some equal to what is there."""
    with vhdx.open(path, "r+") as disk:
        for step in range(count):
            block = chance.randrange(DISK // MIB)
            offset = block * MIB + chance.choice([0, 0, 64 * KIB, chance.randrange(MIB)])
            length = min(chance.choice([MIB, 2 * MIB, 300 * KIB, 512, 9000]), DISK - offset)
            kind = chance.choice(["write", "write", "write", "again", "nothing", "zero", "trim", "flush"])
            if kind == "write":
                disk.pwrite(pattern(step, length, seed=count), offset)
            elif kind == "again":
                disk.pwrite(disk.pread(length, offset), offset)
            elif kind == "nothing":
                disk.pwrite(bytes(length), offset)
            elif kind == "zero":
                disk.zero(length=length, offset=offset, keep_allocated=chance.random() < 0.5)
            elif kind == "trim":
                disk.trim(length=length, offset=offset)
            else:
                disk.flush()


def made(folder: Path, chance: random.Random, *, child: bool) -> Path:
    block_size = chance.choice([1, 2, 4]) * MIB
    path = folder / "disk.vhdx"
    vhdx.create(path, DISK, block_size=block_size, overwrite=True)
    changed(path, chance, 12)
    if child:
        base, path = path, folder / "child.vhdx"
        block_size = chance.choice([1, 2, 8]) * MIB
        vhdx.create(path, parent=base, block_size=block_size, overwrite=True)
        changed(path, chance, 14)
    if chance.random() < 0.4:
        os.truncate(path, path.stat().st_size + chance.choice([512, 600 * KIB, MIB, 5 * MIB]))
    return path


def free_ranges(chance: random.Random) -> list[tuple[int, int]]:
    found = []
    for _ in range(chance.choice([0, 0, 1, 3])):
        offset = chance.choice([chance.randrange(DISK), chance.randrange(24) * MIB])
        found.append((offset, min(chance.choice([MIB, 3 * MIB, 5000, 700 * KIB]), DISK - offset)))
    return found


def foreseen_and_done(folder: Path, seed: int, *, child: bool, scan: bool, punch: bool) -> None:
    chance = random.Random(seed)
    path = made(folder, chance, child=child)
    free = free_ranges(chance)
    before = path.read_bytes()
    foreseen = vhdx.compact(path, scan_zeros=scan, punch=punch, free=free, dry_run=True)
    assert path.read_bytes() == before
    with vhdx.open(path) as disk:
        content = bytearray(disk.pread(disk.size, 0))
    done = vhdx.compact(path, scan_zeros=scan, punch=punch, free=free)
    assert without_the_host(foreseen) == without_the_host(done), seed
    assert done.file_size_after == path.stat().st_size
    again = vhdx.compact(path, scan_zeros=scan, punch=punch)
    assert (again.file_size_after, again.moved_blocks, again.freed_blocks) == (path.stat().st_size, 0, 0), (
        seed
    )
    assert again.file_size_after == done.file_size_after, seed
    with vhdx.open(path) as disk:
        now = bytearray(disk.pread(disk.size, 0))
    for offset, length in free:
        now[offset : offset + length] = content[offset : offset + length] = bytes(length)
    assert now == content
    assert not vhdx.check(path).errors


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 32), st.booleans(), st.booleans(), st.booleans())
def test_the_estimate_is_what_is_done(
    tmp_path_factory: pytest.TempPathFactory, seed: int, child: bool, scan: bool, punch: bool
) -> None:
    foreseen_and_done(tmp_path_factory.mktemp("estimate"), seed, child=child, scan=scan, punch=punch)


def test_of_a_dirty_image_too(tmp_path: Path) -> None:
    """A log that is not empty is replayed first: the estimate sees the table as it is then."""
    path = tmp_path / "disk.vhdx"
    vhdx.create(path, DISK, block_size=MIB)
    disk = vhdx.open(path, "r+")
    for block in range(12):
        disk.pwrite(pattern(block, MIB), block * MIB)
    disk.flush()
    disk.trim(length=5 * MIB, offset=2 * MIB)
    disk.flush()
    dirty = copied(path, tmp_path / "dirty.vhdx")
    disk.close()
    foreseen = vhdx.compact(dirty, dry_run=True)
    assert without_the_host(foreseen) == without_the_host(vhdx.compact(dirty))
    assert foreseen.moved_blocks
