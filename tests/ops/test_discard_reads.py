"""A conversion without free space neither reads nor stores it: every read of the source is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import vhdx
from tests.filesystems.noise import MIB, empty, looked_at, piece, run, spoil
from tests.support.tools import needs
from vhdx.storage.file import FileStorage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    Range = tuple[int, int]

pytestmark = needs("mkfs.ext4", "mkfs.xfs", "mkfs.vfat")
SIZE, UNIT = 64 * MIB, 512
LOOKED_AT = 160 << 10
"""Where signatures may stand, free or not: at the front and at the end of the disk."""
MAKERS = {
    "ext4": ("mkfs.ext4", "-q", "-b", "4096"),
    "XFS": ("mkfs.xfs", "-q"),
    "FAT32": ("mkfs.vfat", "-F", "32"),
}


def sectors(ranges: Iterable[Range]) -> set[int]:
    """The sectors that ranges have something of."""
    return {at for start, length in ranges for at in range(start // UNIT, -(-(start + length) // UNIT))}


def counted(source: Path, monkeypatch: pytest.MonkeyPatch) -> list[Range]:
    """What is read of a file from now on, as ranges that are added."""
    reads: list[Range] = []

    def count(name: str) -> None:
        original = getattr(FileStorage, name)

        def read(self: FileStorage, what: int | memoryview, file_offset: int) -> bytes | None:
            if self.name == str(source):
                reads.append((file_offset, what if isinstance(what, int) else len(what)))
            result: bytes | None = original(self, what, file_offset)
            return result

        monkeypatch.setattr(FileStorage, name, read)

    count("read")
    count("read_into")
    return reads


@pytest.mark.parametrize("kind", MAKERS)
def test_free_space_is_neither_read_nor_stored(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, image = empty(tmp_path / "disk.raw", SIZE), tmp_path / "disk.vhdx"
    run(*MAKERS[kind], raw)
    with looked_at(raw) as (volume,):
        free = list(volume.free_ranges())
    spoil(raw)
    vhdx.convert(raw, image, options=vhdx.ImageOptions(block_size=MIB))
    used = SIZE - sum(length for _, length in free)
    bookkeeping = 3 * used  # the passes over it before its turn comes to be copied
    for source in (raw, image):
        with monkeypatch.context() as patched:
            reads = counted(source, patched)
            done = vhdx.convert(source, tmp_path / "small.vhdx", discard_free=True, overwrite=True)
        assert done.data_size <= used
        assert sum(length for _, length in reads) <= used + bookkeeping + MIB < SIZE
        if source is raw:
            seen, holes = sectors(reads), sectors(free)
            assert len(seen & holes) * UNIT <= LOOKED_AT
    with vhdx.open(tmp_path / "small.vhdx") as small:
        end = 0
        for offset, length in [*free, (SIZE, 0)]:
            assert small.pread(offset - end, end) == piece(raw, end, offset - end)
            assert not any(small.pread(length, offset))
            end = offset + length
