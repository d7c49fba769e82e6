"""ext4 that grew and shrank: descriptors moved, in the space kept for them or in groups, and bitmaps cut."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.filesystems.ext_making import (
    Shape,
    free_bytes_by_dumpe2fs,
    free_ranges_by_dumpe2fs,
    looked,
    made,
    noised,
    shape,
)
from tests.filesystems.making import KIB, MIB, fill, half, hashes_of, mounted, mounts, need, run, unavailable
from tests.filesystems.noise import loop_device

if TYPE_CHECKING:
    from pathlib import Path


_CAP_SYS_RESOURCE = 24


class Resize(NamedTuple):
    """To which size, and whether while it is mounted, where that is allowed."""

    size: int
    online: bool = False


SMALL, LARGE = 24 * MIB, 93 * MIB + 5 * KIB
CASES: tuple[tuple[Shape, tuple[Resize, ...]], ...] = (
    (shape("grown", "-t ext4 -b 1024", SMALL), (Resize(LARGE),)),
    (shape("shrunk", "-t ext4 -b 1024", LARGE), (Resize(37 * MIB + KIB),)),
    (shape("shrunk and grown", "-t ext4 -b 1024", LARGE), (Resize(40 * MIB), Resize(LARGE - 3 * KIB))),
    (shape("grown at work", "-t ext4 -b 1024", SMALL), (Resize(LARGE, online=True),)),
    (
        shape("grown beyond what was kept for it", "-t ext4 -b 1024 -g 256 -E resize=40000", SMALL),
        (Resize(36 * MIB, online=True), Resize(LARGE, online=True)),
    ),
    (
        shape("meta_bg, grown at work", "-t ext4 -b 1024 -g 512 -O meta_bg,^resize_inode", SMALL),
        (Resize(LARGE, online=True),),
    ),
    (
        shape("meta_bg, shrunk and grown", "-t ext4 -b 1024 -g 512 -O meta_bg,^resize_inode", LARGE),
        (Resize(40 * MIB), Resize(LARGE - MIB)),
    ),
    (
        shape("grown and shrunk after meta_bg", "-t ext4 -b 1024 -g 256 -E resize=40000", SMALL),
        (Resize(LARGE, online=True), Resize(30 * MIB)),
    ),
    (
        shape("as WSL, grown", "-t ext4 -G 4096 -b 4096", SMALL),
        (Resize(LARGE, online=True), Resize(60 * MIB)),
    ),
    (shape("ext2, grown", "-t ext2 -b 1024", SMALL), (Resize(LARGE),)),
    (shape("ext3, shrunk", "-t ext3 -b 1024", LARGE), (Resize(31 * MIB),)),
    (shape("to 64 bits", "-t ext4 -O ^64bit -b 1024", SMALL), (Resize(0), Resize(LARGE))),
    (shape("sparse_super2, grown", "-t ext4 -O sparse_super2 -b 1024", SMALL), (Resize(LARGE),)),
    (shape("without flex_bg, grown", "-t ext4 -O ^flex_bg -b 1024", SMALL), (Resize(LARGE, online=True),)),
)
"""Not bigalloc: resize2fs says itself that it is not tested for that, and leaves wrong counts."""
ORDINARY = (
    "shrunk and grown",
    "grown beyond what was kept for it",
    "meta_bg, shrunk and grown",
    "to 64 bits",
)


@pytest.fixture(autouse=True)
def _programs() -> None:
    need("mkfs.ext4", "e2fsck", "dumpe2fs", "resize2fs")


@pytest.mark.parametrize(
    ("what", "steps"),
    [
        pytest.param(*case, id=case[0].name, marks=() if case[0].name in ORDINARY else pytest.mark.slow)
        for case in CASES
    ],
)
def test_what_was_resized(tmp_path: Path, what: Shape, steps: tuple[Resize, ...]) -> None:
    image = made(tmp_path, what)
    if not mounts(image):
        unavailable("this machine mounts no ext4 in a file")
    hashes = grown_older(image, "before", SMALL // 3)
    for step in steps:
        resized(image, step)
    hashes |= grown_older(image, "after", SMALL // 5)
    run("e2fsck", "-fn", image)
    listed, counted = free_ranges_by_dumpe2fs(image), free_bytes_by_dumpe2fs(image)
    fresh = looked(image)
    assert noised(image).file_system == fresh.file_system
    run("e2fsck", "-fn", image)
    with mounted(image, "ro") as point:
        assert hashes_of(point, hashes) == hashes
    assert list(fresh.free_ranges()) == listed
    assert fresh.file_system.free == counted


def grown_older(image: Path, folder: str, total: int) -> dict[str, str]:
    """Files in a folder of their own, of which half go again: the hashes of the others."""
    with mounted(image) as point:
        (point / folder).mkdir()
        hashes = fill(point / folder, 5, total)
        for name in half(hashes, 5):
            del hashes[name]
            (point / folder / name).unlink()
    return {f"{folder}/{name}": digest for name, digest in hashes.items()}


def resized(image: Path, step: Resize) -> None:
    """Size 0 stands for the change to 64 bits, which moves descriptors as growing does."""
    size = step.size // KIB
    if not size:
        run("e2fsck", "-f", "-y", image)
        run("resize2fs", "-b", image)
    elif step.online and may_resize_what_is_mounted():
        os.truncate(image, step.size)
        point = image.with_suffix(".point")
        point.mkdir(exist_ok=True)
        with loop_device(image) as device:
            run("mount", device, point)
            try:
                run("resize2fs", device, f"{size}K")
            finally:
                run("umount", point)
    else:
        os.truncate(image, max(step.size, image.stat().st_size))
        run("e2fsck", "-f", "-y", image)
        run("resize2fs", "-f", image, f"{size}K")


def may_resize_what_is_mounted() -> bool:
    """Whether the kernel lets this process: containers rarely have CAP_SYS_RESOURCE."""
    with open("/proc/self/status", encoding="ascii") as status:
        (effective,) = (line.split()[1] for line in status if line.startswith("CapEff"))
    return bool(int(effective, 16) >> _CAP_SYS_RESOURCE & 1)
