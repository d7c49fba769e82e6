"""Promises 15 and 16: what a reading costs, counted in system calls and bytes, never in time."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vhdx
from tests.support.bat import Words
from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, GIB, MIB, PARTIALLY_PRESENT, TIB
from tests.support.logs import LogBuilder, Zero
from tests.support.parts import Block
from tests.support.patterns import pattern


class Calls(list[str]):
    """The names of the positional reads that were made, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        for name in ("pread", "preadv", "read", "readv", "lseek", "fstat"):
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))

    def _watched(self, name: str, really: Any) -> Any:
        def call(*arguments: Any) -> Any:
            self.append(name)
            return really(*arguments)

        return call


def chain(folder: Path) -> Path:
    parent = ImageBuilder(8 * MIB, blocks={n: Block(pattern(n, MIB)) for n in range(6)})
    parent.write(folder / "parent.vhdx")
    child = parent.child()
    child.blocks = {
        0: Block(pattern(0, MIB, 1)),
        1: Block(pattern(1, MIB, 1), PARTIALLY_PRESENT, present=range(64)),
    }
    return child.write(folder / "child.vhdx")


def dirty(folder: Path) -> Path:
    image = ImageBuilder(8 * MIB, blocks={n: Block(pattern(n, MIB)) for n in range(6)}, log=LogBuilder())
    assert isinstance(image.log, LogBuilder)
    image.log.add(Zero(image.plan().metadata_offset + MIB // 2, 4096))
    return image.write(folder / "dirty.vhdx")


PLACES = [
    (0, 4096),
    (512 * 1024 - 1, 3),
    (MIB - 512, 512),
    (0, MIB),
    (2 * MIB + 7, 4096),
    (5 * MIB, MIB),
    (MIB, 512 * 64),
]


@pytest.mark.parametrize("image", [chain, dirty])
@pytest.mark.parametrize(("offset", "length"), PLACES)
def test_promise_16_a_read_inside_one_block_is_one_system_call(
    image: Any, offset: int, length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vhdx.open(image(tmp_path)) as disk:
        first = disk.pread(length, offset)
        buffer = bytearray(length)
        calls = Calls(monkeypatch)
        assert disk.pread(length, offset) == first
        assert calls == ["pread"]
        disk.preadinto(buffer, offset)
        assert calls == ["pread", "preadv"]
        assert buffer == first


def test_a_read_of_zeros_is_no_system_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with vhdx.open(chain(tmp_path)) as disk:
        disk.pread(MIB, 6 * MIB)
        calls = Calls(monkeypatch)
        assert disk.pread(MIB, 6 * MIB) == bytes(MIB)
        assert calls == []


def test_neighbouring_blocks_that_are_neighbours_in_the_file_are_one_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vhdx.open(dirty(tmp_path)) as disk:
        disk.pread(6 * MIB, 0)
        calls = Calls(monkeypatch)
        assert len(disk.pread(6 * MIB, 0)) == 6 * MIB
        assert len(calls) == 1


class Counting(io.FileIO):
    """A file object that counts the bytes that were read."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        self.count += len(data)
        return data


def cost_of(image: ImageBuilder, path: Path) -> int:
    """The bytes read to open an image and read its first and its last sector."""
    image.write(path)
    with Counting(path) as file, vhdx.open(file) as disk:
        disk.pread(512, 0)
        disk.pread(512, disk.size - 512)
        return file.count


SIZES = [10 * MIB, 10 * GIB, 1 * TIB, 64 * TIB]


def test_promise_15_the_cost_of_opening_does_not_grow_with_the_disk(tmp_path: Path) -> None:
    block = Block(pattern(0, 4096))
    path = tmp_path / "image.vhdx"
    costs = [cost_of(ImageBuilder(size, blocks={0: block, size // MIB - 1: block}), path) for size in SIZES]
    assert max(costs) <= min(costs) + MIB + 8192, "a table of up to 1 MiB may be looked through for overlaps"
    assert costs[-1] <= MIB // 2


MEASURE = """
import resource, sys, vhdx
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with vhdx.open(sys.argv[1]) as disk:
    disk.pread(4096, 0), disk.pread(4096, disk.size - 4096)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(grown, "numpy" in sys.modules, "rich" in sys.modules)
"""


def test_promise_15_64_tib_are_opened_in_little_memory_and_without_numpy(tmp_path: Path) -> None:
    image = ImageBuilder(64 * TIB, blocks={0: Block(b"x"), 2**26 - 1: Block(b"y")}, default_state=0)
    path = image.write(tmp_path / "image.vhdx")
    done = subprocess.run([sys.executable, "-c", MEASURE, path], check=True, capture_output=True, text=True)
    grown, numpy, rich = done.stdout.split()
    assert int(grown) < 8 * 1024, "KiB"
    assert (numpy, rich) == ("False", "False")


LIST = """
import resource, sys, vhdx
with vhdx.open(sys.argv[1]) as disk:
    extents = disk.extents()
    next(extents)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = sum(1 for _ in extents)
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_promise_15_extents_of_a_full_table_take_bounded_memory(tmp_path: Path) -> None:
    def shuffled(blocks: Words) -> Words:
        return (blocks ^ np.uint64(1)) + np.uint64(64) << np.uint64(20) | np.uint64(FULLY_PRESENT)

    image = ImageBuilder(TIB // 4, fill=shuffled, file_length=TIB)
    path = image.write(tmp_path / "image.vhdx")
    done = subprocess.run([sys.executable, "-c", LIST, path], check=True, capture_output=True, text=True)
    count, grown = map(int, done.stdout.split())
    assert count == TIB // 4 // MIB - 1
    assert grown < 24 * 1024, "KiB"
