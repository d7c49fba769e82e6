"""ext2, ext3 and ext4 of every shape: what is called free may be anything, and no file changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.filesystems.ext_making import (
    SHAPES,
    Shape,
    aged,
    contents,
    free_bytes_by_dumpe2fs,
    free_ranges_by_dumpe2fs,
    free_ranges_by_partclone,
    looked,
    made,
    noised,
)
from tests.filesystems.making import need, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _programs() -> None:
    need("mkfs.ext4", "e2fsck", "dumpe2fs", "debugfs")


ORDINARY = (
    *("ext2, revision 0", "ext3, 4 KiB", "ext4, 64 KiB", "ext4 as WSL makes it", "WSL, many groups"),
    *("ext4, 32 bits", "ext4 with uninit_bg", "bigalloc, 1 KiB", "meta_bg, 4 KiB, 32 bits"),
    *("meta_bg and bigalloc", "sparse_super2, one copy", "quota and project", "MMP", "inline data"),
)


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(what, id=what.name, marks=() if what.name in ORDINARY else pytest.mark.slow)
        for what in SHAPES
    ],
)
def test_noise_over_everything_free_is_not_noticed(tmp_path: Path, what: Shape) -> None:
    found = aged(tmp_path, what)
    listed, counted = free_ranges_by_dumpe2fs(found.image), free_bytes_by_dumpe2fs(found.image)
    examined = noised(found.image)
    run("e2fsck", "-fn", found.image)
    assert contents(found) == found.hashes
    assert len(found.hashes) > 20
    assert examined.file_system.kind == what.options[1]
    assert examined.file_system.state == "clean"
    if "bigalloc" in str(what.options):
        # A last cluster that is cut by the end counts as a whole one, and is kept.
        assert 0 <= counted - (examined.file_system.free or 0) <= 65536
    else:
        assert list(examined.free_ranges()) == listed
        assert examined.file_system.free == counted


@pytest.mark.parametrize("what", SHAPES[8::6], ids=lambda what: what.name)
def test_what_was_never_mounted(tmp_path: Path, what: Shape) -> None:
    image = made(tmp_path, what)
    noised(image)
    run("e2fsck", "-fn", image)


@pytest.mark.parametrize(
    "name",
    [
        "meta_bg, 1 KiB",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("ext2, 4 KiB", "ext3, 1 KiB", "ext4, 1 KiB", "ext4 as WSL makes it")
        ),
    ],
)
def test_partclone_copies_the_rest(tmp_path: Path, name: str) -> None:
    """Not with bigalloc: what Debian has of it stops there."""
    need("partclone.extfs")
    (what,) = (what for what in SHAPES if what.name == name)
    found = aged(tmp_path, what)
    assert list(looked(found.image).free_ranges()) == free_ranges_by_partclone(found.image)
