"""File records of NTFS read many at once: the same as libfsntfs says of each; what is damaged goes to it."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.files.trees import at_work, plant, volume_in
from tests.filesystems.making import MIB, need, raw_file, run
from vhdx.files.base import Entry
from vhdx.files.ntfs import NtfsTree
from vhdx.files.volume import FileVolume
from vhdx.filesystems.ntfs_index import Name

READ_ONLY_AND_HIDDEN = struct.pack("<I", 3)
SEQUENCE_AT, USED_AT, FIRST_END = 16, 24, 510


@pytest.fixture(name="image", scope="module", params=[512, 4096])
def _image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With records of 1024 and of 4096 bytes."""
    need("mkfs.ntfs", "ntfs-3g")
    folder = tmp_path_factory.mktemp("records")
    image = raw_file(folder / "n.raw", 64 * MIB)
    run("mkfs.ntfs", "-F", "-q", "-Q", "-s", str(request.param), image)
    with at_work(image, "NTFS") as root:
        plant(root, "NTFS")
        for number in range(60):
            os.link(
                root / "a" / "empty", root / f"one of so many names that they need several records {number}"
            )
        os.setxattr(root / "a" / "big.bin", "system.ntfs_dos_name", b"BIG.BIN")
        os.setxattr(root / "a" / "hello.txt", "system.ntfs_attrib", READ_ONLY_AND_HIDDEN)
        for name in ("torn", "replaced", "overlong", "behind"):
            (root / name).write_bytes(b"small")
    return image


def both(volume: FileVolume) -> Iterator[tuple[Name, Entry | None, Entry]]:
    """Each name with what is plain of it, and what libfsntfs says."""
    tree = volume.tree
    assert isinstance(tree, NtfsTree)
    waiting = [tree.root]
    while waiting:
        for names in tree.names_in(waiting.pop()):
            for name, plain in zip(names, tree.plain(names), strict=True):
                opened = tree.opened(name)
                yield name, plain, opened
                waiting += [opened] if opened.is_directory else []


def test_plain_ones_are_what_libfsntfs_says(image: Path) -> None:
    with volume_in(image) as volume:
        found = list(both(volume))
        for _, plain, opened in found:
            if plain is not None:
                assert plain[:-1] == opened[:-1]
                assert plain.handle.flags == opened.handle.flags
                assert volume.tree.streams(plain) == volume.tree.streams(opened)
        odd = {opened.identity for _, plain, opened in found if plain is None}
        assert odd == {volume.find("/a/empty").entry.identity}
        hello = volume.find("/a/hello.txt").entry
        assert (hello.links, hello.mode, hello.handle.flags & 3) == (2, 0o444, 3)
        assert volume.find("/a/big.bin").entry.links == 1
        assert volume.find("/a/empty").entry.links == 61
        assert not volume.told


def test_what_is_damaged_is_told_and_the_rest_listed(image: Path, tmp_path: Path) -> None:
    data = bytearray(image.read_bytes())
    with volume_in(image) as volume:
        boot = volume.tree.records.boot  # type: ignore[attr-defined]
        start = boot.mft_cluster * boot.cluster_size
        at = {
            name: start + volume.find(f"/{name}").entry.identity * boot.record_size
            for name in ("torn", "replaced", "overlong")
        }
        whole = [name for name, _ in volume.tree.names(volume.tree.root)]
    data[at["torn"] + FIRST_END] ^= 1
    data[at["replaced"] + SEQUENCE_AT] ^= 0x40
    struct.pack_into("<I", data, at["overlong"] + USED_AT, 1 << 30)
    damaged = tmp_path / "damaged.raw"
    damaged.write_bytes(data)
    with volume_in(damaged) as volume:
        found = [entry.name for entry in volume.tree.entries(volume.tree.root)]
        assert found == [name for name in whole if name not in ("torn", "replaced")]
        assert len(volume.told) == 2
        for name in ("overlong", "behind"):  # libfsntfs takes a record for as long as it is
            assert volume.open(f"/{name}").read() == b"small"
