"""The largest tables: 64 TiB of 1 MiB blocks, 513 MiB of entries, written to in bounded memory."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, GIB, MIB, TIB
from tests.support.parts import Block
from vhdx.disk.open import open_disk

from .checking import allocated, copied, is_clean

BLOCKS = 64 * TIB // MIB


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    """Two blocks of 67 million."""
    image = ImageBuilder(disk_size=64 * TIB, blocks={5: Block(b"five"), BLOCKS - 1: Block(b"last")})
    return image.write(tmp_path / "a.vhdx")


@pytest.fixture(name="memory")
def _memory() -> Iterator[None]:
    """Fails if more than 192 MiB are taken: one byte for each MiB of the file, and bounded buffers."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 192 * MIB


@pytest.mark.usefixtures("memory")
def test_writes_all_over_a_sparse_disk(path: Path, tmp_path: Path) -> None:
    offsets = [*range(3 * MIB, 64 * TIB, 997 * GIB + 12345), 64 * TIB - 512]
    with open_disk(path, "r+") as disk:
        for number, offset in enumerate(offsets):
            disk.pwrite(number.to_bytes(4, "little") * 128, offset)
        disk.flush()
        killed = copied(path, tmp_path / "killed.vhdx")
    assert is_clean(path)
    assert path.stat().st_size < GIB
    assert allocated(path) < 16 * MIB
    for file in (path, killed):
        with open_disk(file) as disk:
            assert disk.pread(4, 5 * MIB) == b"five"
            assert disk.pread(4, 64 * TIB - MIB) == b"last"
            for number, offset in enumerate(offsets):
                assert disk.pread(512, offset) == number.to_bytes(4, "little") * 128
            assert sum(extent.kind == "data" for extent in disk.extents()) <= len(offsets) + 2


@pytest.mark.usefixtures("memory")
def test_a_file_whose_blocks_are_all_present(tmp_path: Path) -> None:
    """A terabyte of blocks, each with its entry: the map of what is taken is small."""
    image = ImageBuilder(disk_size=4 * TIB, default_state=FULLY_PRESENT)
    path = image.write(tmp_path / "a.vhdx")
    size = path.stat().st_size
    with open_disk(path, "r+") as disk:
        disk.trim(length=GIB, offset=3 * TIB)
        disk.flush()
        disk.pwrite(b"again", 3 * TIB)
        disk.pwrite(b"there", 2 * TIB)
        disk.flush()
        assert path.stat().st_size == size
    with open_disk(path) as disk:
        assert disk.pread(5, 3 * TIB) == b"again"
        assert disk.pread(5, 2 * TIB) == b"there"
        assert not any(disk.pread(MIB, 3 * TIB + MIB))


def test_zeros_over_many_pages_of_the_table_commit_as_they_go(tmp_path: Path) -> None:
    """Dirty pages are bounded by the log: 1 TiB changes 2048 pages, of which half a log holds 126."""
    path = tmp_path / "a.vhdx"
    vhdx.create(path, 1 * TIB, block_size=MIB)
    with open_disk(path, "r+") as disk:
        disk.zero(length=disk.size, offset=0)
        writer = disk._writer
        assert writer is not None
        assert writer.session.pages.dirty_count < 128
        assert not is_clean(path)
        disk.flush()
        (extent,) = disk.extents()
        assert extent.state == vhdx.BlockState.ZERO
    with open_disk(path) as disk:
        (extent,) = disk.extents()
        assert (extent.state, extent.length) == (vhdx.BlockState.ZERO, TIB)
    assert path.stat().st_size < 16 * MIB
