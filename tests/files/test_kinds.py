"""Every kind of file system: contents, names, times, modes, links, attributes against the kernel's view."""

import os
import stat
from pathlib import Path

import pytest

from tests.files.trees import (
    KINDS,
    POSIX,
    at_work,
    kernel_hashes,
    made,
    our_hashes,
    plant,
    plant_fat,
    volume_in,
)
from vhdx.files.base import TYPE_OF_KIND
from vhdx.files.volume import FileVolume
from vhdx.ops.files.listing import paths


def statuses(root: Path) -> dict[str, tuple[object, ...]]:
    """What the kernel says of each path."""
    found: dict[str, tuple[object, ...]] = {}
    for path in root.rglob("*"):
        status = path.lstat()
        is_sized = stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)
        found[str(path.relative_to(root))] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_size if is_sized else 0,
            status.st_nlink,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_ino,
            (os.major(status.st_rdev), os.minor(status.st_rdev)) if stat.S_ISCHR(status.st_mode) else None,
            os.readlink(path) if path.is_symlink() else None,
        )
    return found


def our_statuses(volume: FileVolume) -> dict[str, tuple[object, ...]]:
    return {
        "/".join(step.parts): (
            TYPE_OF_KIND[entry.kind] | entry.permissions,
            entry.uid,
            entry.gid,
            entry.size,
            entry.links,
            entry.modified,
            entry.changed,
            entry.identity,
            entry.device,
            entry.target,
        )
        for step in volume.steps(volume.tree.root)
        for entry in [step.entry]
        if step.parts
    }


_STORED_FORM = "trusted.SGI_ACL_"
"""XFS shows its lists a second time, as they are stored."""


def attributes(root: Path) -> dict[str, dict[str, bytes]]:
    found = {}
    for path in root.rglob("*"):
        names = [n for n in os.listxattr(path, follow_symlinks=False) if not n.startswith(_STORED_FORM)]
        if names:
            found[str(path.relative_to(root))] = {
                name: os.getxattr(path, name, follow_symlinks=False) for name in names
            }
    return found


def our_attributes(volume: FileVolume) -> dict[str, dict[str, bytes]]:
    steps = [step for step in volume.steps(volume.tree.root) if step.parts and not step.left]
    for step in steps:  # the second answer is the one that libraries get wrong
        list(volume.tree.attributes(step.entry))
    found = {"/".join(step.parts): dict(volume.tree.attributes(step.entry)) for step in steps}
    return {path: values for path, values in found.items() if values}


@pytest.mark.parametrize("kind", POSIX)
def test_posix(kind: str, tmp_path: Path) -> None:
    image = made(kind, tmp_path)
    with at_work(image, kind) as root:
        plant(root, kind)
        acl = bytes.fromhex(
            "0200000001000700ffffffff02000500e803000004000500ffffffff10000500ffffffff20000000ffffffff"
        )
        os.setxattr(root / "a" / "empty", "system.posix_acl_access", acl)
        os.setxattr(root / "a" / "b", "system.posix_acl_default", acl)
        os.setxattr(root / "a" / "big.bin", "security.capability", bytes.fromhex("01000002" + "00" * 16))
        os.setxattr(root / "a" / "b", "trusted.of-root", b"t")
        os.setxattr(root / "a" / "big.bin", "user.large", b"L" * 700)
    with at_work(image, kind) as root:  # nothing of it is only in the kernel's memory
        hashes, said, attached = kernel_hashes(root), statuses(root), attributes(root)
    with volume_in(image) as volume:
        assert our_hashes(volume) == hashes
        assert our_statuses(volume) == said
        assert our_attributes(volume) == attached
        assert not volume.told
        sparse = volume.tree.content(volume.find("/a/sparse").entry)
        assert sum(length for _, length in sparse.data_ranges()) <= 65536
        if kind == "ext2":
            return  # it cannot say of a block that it was never written
        unwritten = volume.tree.content(volume.find("/a/unwritten").entry)
        assert sum(length for _, length in unwritten.data_ranges()) <= 65536


@pytest.mark.parametrize("kind", ["NTFS", "exFAT"])
def test_windows(kind: str, tmp_path: Path) -> None:
    image = made(kind, tmp_path)
    with at_work(image, kind) as root:
        plant(root, kind)
    with at_work(image, kind) as root:
        hashes, said = kernel_hashes(root), statuses(root)
        attached = attributes(root) if kind == "NTFS" else {}
    with volume_in(image) as volume:
        assert our_hashes(volume) == hashes
        ours = our_statuses(volume)
        assert {path.removeprefix("/") for path, _ in paths(volume, volume.find("/"))} == set(ours)
        assert {path: (each[3], each[5]) for path, each in ours.items()} == {
            path: (each[3], each[5]) for path, each in said.items()
        }
        if kind == "NTFS":
            assert {path: each[4] for path, each in ours.items() if stat.S_ISREG(int(str(each[0])))} == {
                path: each[4] for path, each in said.items() if stat.S_ISREG(int(str(each[0])))
            }
            found = our_attributes(volume)
            assert found == {
                path: {name: value for name, value in values.items() if name.startswith("user.")}
                for path, values in attached.items()
                if any(name.startswith("user.") for name in values)
            }
        assert not volume.told


@pytest.mark.parametrize("kind", ["FAT16", "FAT32"])
def test_fat(kind: str, tmp_path: Path) -> None:
    image = made(kind, tmp_path)
    hashes = plant_fat(image, tmp_path)
    with volume_in(image) as volume:
        assert our_hashes(volume) == hashes
        times = volume.find("/a/hello.txt").entry.modified
        source = tmp_path / "source" / "a" / "hello.txt"
        assert times is not None
        assert abs(times - source.stat().st_mtime_ns) <= 2 * 10**9  # FAT keeps two seconds


@pytest.mark.parametrize("kind", ["NTFS", "FAT16", "exFAT"])
def test_either_case_and_both_separators(kind: str, tmp_path: Path) -> None:
    image = made(kind, tmp_path)
    if kind == "FAT16":
        plant_fat(image, tmp_path)
    else:
        with at_work(image, kind) as root:
            plant(root, kind)
    with volume_in(image) as volume:
        entry = volume.find("/a/b/c/two words.TXT").entry
        for path in (r"C:\A\B\c\TWO WORDS.txt", r"a\b/C\Two words.txt", r"c:/a/./b/../b/c/two words.TXT"):
            assert volume.find(path).entry.identity == entry.identity
        with pytest.raises(FileNotFoundError):
            volume.find(r"D\nothing")


def test_the_kinds_are_all_tested() -> None:
    assert set(KINDS) == {*POSIX, "NTFS", "FAT16", "FAT32", "exFAT"}
