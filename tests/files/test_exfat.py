"""What is exFAT's own: long names, ends that were never written, sets of entries that make no sense."""

import struct
from pathlib import Path

import pytest

from tests.files.trees import volume_in
from tests.filesystems.making import MIB, need, raw_file, run
from vhdx.disk.open import open_any
from vhdx.errors import FileSystemError
from vhdx.files.volume import FileVolume
from vhdx.ops.files.insert import insert

STREAM = 0xC0


@pytest.fixture(name="image")
def _image(tmp_path: Path) -> Path:
    """A file of 100 000 bytes and one with the longest name, put there by us, and found sound by fsck."""
    need("mkfs.exfat", "fsck.exfat")
    image = raw_file(tmp_path / "e.raw", 8 * MIB)
    run("mkfs.exfat", image)
    files = [tmp_path / "data", tmp_path / ("ü" * 127 + "x")]
    for file in files:
        file.write_bytes(b"\xa5" * 100_000)
    with open_any(str(image), "r+") as disk:
        insert(disk, [str(file) for file in files], "/", tell=print)
    run("fsck.exfat", "-n", image)
    return image


def place_of(volume: FileVolume, name: str) -> int:
    return volume.find(f"/{name}").entry.identity


def changed(image: Path, place: int, data: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(place)
        file.write(data)


def test_names_and_ends_that_were_never_written(image: Path) -> None:
    with volume_in(image) as volume:
        names = [entry.name for entry in volume.tree.entries(volume.tree.root)]
        assert sorted(map(len, names)) == [4, 128]
        place = place_of(volume, "data")
    changed(image, place + 32 + 8, struct.pack("<Q", 70_000))
    with volume_in(image) as volume:
        content = volume.tree.content(volume.find("/data").entry)
        assert content.pread(200_000, 0) == b"\xa5" * 70_000 + bytes(30_000)
        assert content.pread(10, 69_995) == b"\xa5" * 5 + bytes(5)
        assert list(content.data_ranges()) == [(0, 70_000)]


@pytest.mark.parametrize(
    ("at", "data", "told"),
    [
        (1, b"\0", "is damaged"),
        (1, b"\x13", "cut off"),
        (32, b"\xc1", "is damaged"),
        (32 + 3, b"\xff", "cut off"),
    ],
)
def test_sets_that_make_no_sense_are_told(image: Path, at: int, data: bytes, told: str) -> None:
    with volume_in(image) as volume:
        place = place_of(volume, "data")
    changed(image, place + at, data)
    with volume_in(image) as volume:
        assert "data" not in [entry.name for entry in volume.tree.entries(volume.tree.root)]
        assert any(told in sentence for sentence in volume.told)


@pytest.mark.parametrize("first", [0, 1, 0xFFFFFFF0])
def test_clusters_that_are_not_there(image: Path, first: int) -> None:
    with volume_in(image) as volume:
        place = place_of(volume, "data")
    changed(image, place + 32 + 20, struct.pack("<I", first))
    with volume_in(image) as volume, pytest.raises(FileSystemError, match="cluster"):
        volume.tree.content(volume.find("/data").entry)
