"""Trees as large as people's, in every kind: many files in a directory, 96 MiB, fragments, deep paths."""

import contextlib
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.files.test_btrfs import mounted
from tests.files.trees import at_work, kernel_hashes, our_hashes, volume_in
from tests.filesystems.making import MIB, need, raw_file, run
from vhdx.files.volume import FileVolume

KINDS = {
    "ext2": ["mkfs.ext2", "-q", "-F"],
    "ext3": ["mkfs.ext3", "-q", "-F"],
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "ext4-1K": ["mkfs.ext4", "-q", "-F", "-b", "1024"],
    "XFS": ["mkfs.xfs", "-q"],
    "XFS-1K": ["mkfs.xfs", "-q", "-b", "size=1024"],
    "NTFS": ["mkfs.ntfs", "-F", "-q", "-Q"],
    "exFAT": ["mkfs.exfat"],
    "btrfs": ["mkfs.btrfs", "-q"],
}
SIZE = 512 * MIB
MANY = 5000
FRAGMENTS = 400


def plant(root: Path, *, has_holes: bool) -> None:
    rng = random.Random(7)
    (root / "many").mkdir()
    for number in range(MANY):
        (root / "many" / f"file with a long name, number {number}").write_bytes(
            b"%d" % number * (number % 50)
        )
    (root / "96M").write_bytes(rng.randbytes(MIB) * 96)
    deep = root
    for number in range(40):
        deep /= f"level {number}"
        deep.mkdir()
    (deep / "at the bottom").write_bytes(b"deep")
    files = [open(root / name, "wb") for name in ("left", "right")]  # noqa: SIM115  closed below
    for number in range(FRAGMENTS):
        for file in files:
            file.write(rng.randbytes(64) * (64 + number % 3))
            file.flush()
            if number % 8 == 0:
                os.fsync(file.fileno())
    for file in files:
        file.close()
    for number in range(0, MANY, 3):  # holes in the directory, and in what is free
        (root / "many" / f"file with a long name, number {number}").unlink()
    (root / "behind").write_bytes(rng.randbytes(5 * MIB))
    if has_holes:
        with open(root / "holes", "wb") as holes:
            for number in range(300):
                os.pwrite(holes.fileno(), b"piece %d" % number, number * 100_003)
            holes.truncate(40_000_000)


@contextlib.contextmanager
def at_work_on(image: Path, kind: str) -> Iterator[Path]:
    with mounted(image) if kind == "btrfs" else at_work(image, kind) as root:
        yield root


def in_holes(volume: FileVolume, path: str) -> int:
    content = volume.tree.content(volume.find(path).entry)
    return content.size - sum(length for _, length in content.data_ranges())


@pytest.mark.slow  # 150 MB each; `test_kinds` has the small twin
@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_the_same(kind: str, tmp_path: Path) -> None:
    if kind == "btrfs":
        pytest.importorskip("dissect.btrfs", reason="nothing here depends on it: its licence is the AGPL")
    program, *words = KINDS[kind]
    need(program)
    image = raw_file(tmp_path / f"{kind.lower()}.raw", SIZE)
    run(program, *words, image)
    with at_work_on(image, kind) as root:
        plant(root, has_holes=kind != "exFAT")
    with at_work_on(image, kind) as root:
        expected = kernel_hashes(root)
    with volume_in(image) as volume:
        assert our_hashes(volume) == expected
        if kind != "exFAT":
            assert in_holes(volume, "/holes") > 30_000_000
        assert not volume.told
    image.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("bits", ["16", "32"])
def test_every_file_of_a_fat_is_the_same(bits: str, tmp_path: Path) -> None:
    """Filled by mtools, which need a time that grows with the square of a directory."""
    need("mkfs.fat", "mcopy")
    tree = tmp_path / "tree"
    tree.mkdir()
    plant(tree, has_holes=False)
    for path in sorted((tree / "many").iterdir())[300:]:
        path.unlink()
    image = raw_file(tmp_path / "fat.raw", SIZE)
    run("mkfs.fat", "-F", bits, image)
    run("mcopy", "-s", "-i", image, *sorted(tree.iterdir()), "::/")
    expected = kernel_hashes(tree)
    shutil.rmtree(tree)
    with volume_in(image) as volume:
        assert our_hashes(volume) == expected
        assert not volume.told
