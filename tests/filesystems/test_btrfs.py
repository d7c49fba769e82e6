"""btrfs: what Debian's tools and the kernel make, overwritten wherever it is called free; hostile ones."""

import hashlib
import os
import random
import re
from pathlib import Path

import pytest

from tests.filesystems.btrfs_block_groups import add_block_group_tree
from tests.filesystems.noise import (
    MIB,
    aged,
    empty,
    examined,
    hashes,
    loop_device,
    mounted,
    only,
    overlaid,
    patch,
    piece,
    reader_of,
    run,
    spoil,
)
from tests.support.tools import needs
from vhdx.filesystems import btrfs
from vhdx.filesystems.base import FileSystem, examine
from vhdx.format.checksum import crc32c

pytestmark = needs("mkfs.btrfs", "btrfs")
SUPERBLOCK = 65536
KINDS = {
    "single": ("-d", "single", "-m", "single"),
    "dup": ("-d", "dup", "-m", "dup", "-L", "label"),
    "mixed": ("--mixed",),
    "large metadata items": ("-O", "^skinny-metadata,^no-holes"),
    "space cache of version 1": ("-R", "^free-space-tree"),
    "sha256": ("--csum", "sha256"),
    "blake2": ("--csum", "blake2"),
    "xxhash": ("--csum", "xxhash"),
    "small nodes": ("-n", "4096"),
}
"""The Debian of these tests makes no block-group tree: that one is built by hand."""
ORDINARY = ("dup", "mixed", "xxhash")


def made(path: Path, *options: str, size: int = 240 * MIB) -> Path:
    run("mkfs.btrfs", "-q", *options, empty(path, size))
    return path


def used(image: Path) -> int:
    """Bytes of all extents by a listing of the extent tree, each copy counted."""
    tree = run("btrfs", "inspect-internal", "dump-tree", "-t", "extent", image)
    chunks = run("btrfs", "inspect-internal", "dump-tree", "-t", "chunk", image)
    node = int(re.findall(r"nodesize\s+(\d+)", run("btrfs", "inspect-internal", "dump-super", image))[0])
    copies = [
        (int(start), int(length), int(stripes))
        for start, length, stripes in re.findall(
            r"CHUNK_ITEM (\d+)\).*?length (\d+) .*?num_stripes (\d+)", chunks, re.DOTALL
        )
    ]
    total = 0
    for start, kind, length in set(re.findall(r"key \((\d+) (EXTENT_ITEM|METADATA_ITEM) (\d+)\)", tree)):
        times = [n for first, size, n in copies if first <= int(start) < first + size]
        assert len(times) == 1
        total += (int(length) if kind == "EXTENT_ITEM" else node) * times[0]
    return total


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind in ORDINARY else pytest.mark.slow) for kind in KINDS],
)
def test_noise_in_free_space_changes_no_file(kind: str, tmp_path: Path) -> None:
    image = made(tmp_path / "disk.raw", *KINDS[kind])
    before = aged(image, 2, 24 * MIB)
    found = only(image)
    assert (found.kind, found.state, found.reasons) == ("btrfs", "clean", ())
    assert found.label == ("label" if kind == "dup" else None)
    assert found.used == used(image) + MIB + 65536
    assert spoil(image) == found.free
    run("btrfs", "check", "--check-data-csum", image)
    with mounted(image) as folder:
        assert hashes(folder) == before


def test_one_with_a_block_group_tree(tmp_path: Path) -> None:
    image = made(tmp_path / "disk.raw", *KINDS["single"])
    fresh = only(image)
    add_block_group_tree(image)
    found = only(image)
    assert (found.state, found.free) == ("clean", (fresh.free or 0) - 16384)
    before = aged(image, 3, 24 * MIB)
    said = run("btrfs", "inspect-internal", "dump-tree", image)
    assert "block group tree key (BLOCK_GROUP_TREE ROOT_ITEM 0)" in said or "(11 ROOT_ITEM 0)" in said
    found = only(image)
    assert (found.state, found.reasons) == ("clean", ())
    assert spoil(image) == found.free
    run("btrfs", "check", "--check-data-csum", image)
    with mounted(image) as folder:
        assert hashes(folder) == before


def test_a_copy_of_superblock_inside_a_chunk_is_kept(tmp_path: Path) -> None:
    """On a disk of more than 256 GiB both copies are there."""
    image = made(tmp_path / "disk.raw", size=300 << 30)
    found = only(image)
    assert found.used == used(image) + MIB + 2 * 65536
    copies = [piece(image, place, 4096) for place in (64 * MIB, 256 << 30)]
    assert all(copy[64:72] == b"_BHRfS_M" for copy in copies)


def test_one_that_is_mounted_is_whole_at_every_commit_but_not_with_a_log(tmp_path: Path) -> None:
    image = made(tmp_path / "disk.raw")
    with mounted(image) as folder:
        (folder / "file").write_bytes(random.Random(1).randbytes(MIB))
        run("sync", "-f", folder / "file")
        committed = only(image)
        for _ in range(2):  # the first one may still be a whole commit
            with open(folder / "file", "r+b") as file:
                file.write(b"x" * 100000)
                os.fsync(file.fileno())
        logged = only(image)
    assert (committed.state, committed.reasons) == ("clean", ())
    assert logged.state == "unclean"
    assert "log of what was synced last" in logged.reasons[0]
    assert only(image).state == "clean"


def test_several_devices_are_refused(tmp_path: Path) -> None:
    images = [empty(tmp_path / f"{n}.raw", 160 * MIB) for n in (1, 2)]
    run("mkfs.btrfs", "-q", "-d", "single", "-m", "raid1", *images)
    for image in images:
        assert "spreads over 2 devices" in only(image).reasons[0]


def test_chunks_of_another_device_are_refused(small: Path) -> None:
    """As on a device that was added to a seed, and whose superblock forgot that."""
    assert "stands on another device" in changed(small, (0xC9, b"\2")).reasons[0]


def test_one_that_moved_to_another_device(tmp_path: Path) -> None:
    """Its only device is number 2 then."""
    image, new = made(tmp_path / "disk.raw"), empty(tmp_path / "new.raw", 240 * MIB)
    with mounted(image) as folder, loop_device(new) as device:
        (folder / "file").write_bytes(content := random.Random(1).randbytes(MIB))
        run("btrfs", "device", "add", "-f", device, folder)
        run("btrfs", "device", "remove", "1", folder)
    assert (only(new).state, only(new).reasons) == ("clean", ())
    spoil(new)
    run("btrfs", "check", "--check-data-csum", new)
    with mounted(new) as folder:
        assert (folder / "file").read_bytes() == content


@needs("btrfstune")
def test_a_seed_is_refused(tmp_path: Path) -> None:
    image = made(tmp_path / "disk.raw")
    run("btrfstune", "-S", "1", image)
    assert "it is a seed" in only(image).reasons[0]


@needs("btrfstune")
def test_another_identity_is_followed(tmp_path: Path) -> None:
    image = made(tmp_path / "disk.raw")
    before = only(image)
    run("btrfstune", "-m", image)
    after = only(image)
    assert (after.state, after.free) == ("clean", before.free)
    assert after.uuid != before.uuid


# Damage and hostility ----------------------------------------------------------------------------


@pytest.fixture(scope="module", name="small")
def _small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("btrfs") / "disk.raw", "--mixed", size=16 * MIB)


def reseal(image: bytearray, start: int, length: int) -> None:
    image[start : start + 4] = crc32c(bytes(image[start + 32 : start + length])).to_bytes(4, "little")


def changed(image: Path, *changes: tuple[int, bytes]) -> FileSystem:
    """The superblock with other bytes and a checksum that fits, examined."""
    data = bytearray(image.read_bytes())
    for place, new in changes:
        data[SUPERBLOCK + place : SUPERBLOCK + place + len(new)] = new
    reseal(data, SUPERBLOCK, 4096)
    found = btrfs.recognise(reader_of(data), len(data))
    assert found is not None
    return examine(found, len(data)).file_system


CHANGES = {
    "log root": (0x60, b"\1", "log of what was synced last"),
    "zoned": (0xBC, (0x1341).to_bytes(8, "little"), "zoned devices"),
    "extent tree v2": (0xBC, (0x2341).to_bytes(8, "little"), "second version of the extent tree"),
    "raid stripe tree": (0xBC, (0x4341).to_bytes(8, "little"), "RAID stripes"),
    "unknown": (0xBC, (1 << 40).to_bytes(8, "little"), "unknown features"),
    "unknown ro": (0xB4, (1 << 40).to_bytes(8, "little"), "unknown features"),
    "being changed": (0x38, (1 << 35).to_bytes(8, "little"), "was not finished"),
    "dump": (0x38, (1 << 33).to_bytes(8, "little"), "dump of metadata"),
    "checksum type": (0xC4, b"\x09\0", "checksums of an unknown type (9)"),
    "bytes used": (0x78, (12345).to_bytes(8, "little"), "its superblock counts 12345"),
    "root elsewhere": (0x50, (1 << 50).to_bytes(8, "little"), "no chunk has"),
    "root of another time": (0x48, (77).to_bytes(8, "little"), "is not the one that belongs there"),
    "chunks too many": (0xA0, (5000).to_bytes(4, "little"), "more chunks than it has room for"),
    "chunks none": (0xA0, (0).to_bytes(4, "little"), "no chunk has"),
    "copy": (0x30, (64 << 20).to_bytes(8, "little"), "belongs elsewhere"),
    "level": (0xC6, b"\x50", "has 80 levels"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_contradicts_itself_is_refused(name: str, small: Path) -> None:
    place, data, reason = CHANGES[name]
    told = changed(small, (place, data))
    assert told.free is None
    assert reason in told.reasons[0]


def nodes(image: bytes) -> list[int]:
    """Where in the file nodes of trees stand."""
    identity = image[SUPERBLOCK + 0x20 : SUPERBLOCK + 0x30]
    return [at for at in range(MIB, len(image) - 4096, 4096) if image[at + 32 : at + 48] == identity]


def test_a_broken_node_is_refused(small: Path, tmp_path: Path) -> None:
    before = only(small)
    data = small.read_bytes()
    refused = 0
    for number, at in enumerate(nodes(data)):
        copy = tmp_path / f"{number}.raw"
        copy.write_bytes(data)
        patch(copy, at + 200, b"\xff\xff\xff")
        after = only(copy)
        refused += after.free is None
        assert after.free in (None, before.free), "a node of a tree that is not needed, or one of an old time"
    assert refused >= 3


def test_other_checksums_are_verified(tmp_path: Path) -> None:
    for kind, compute in (("sha256", hashlib.sha256), ("blake2", None)):
        image = made(tmp_path / f"{kind}.raw", "--csum", kind)
        stored = piece(image, SUPERBLOCK, 32)
        content = piece(image, SUPERBLOCK + 32, 4096 - 32)
        digest = compute(content) if compute else hashlib.blake2b(content, digest_size=32)
        assert digest.digest() == stored
        patch(image, SUPERBLOCK + 0x12B, b"label")
        assert only(image).reasons == ("the checksum of its superblock is wrong",)


def test_damage_at_random_never_raises(small: Path) -> None:
    chance = random.Random(9)
    sound = small.read_bytes()
    structures = [(SUPERBLOCK, 0x32B + 100), *((at, 400) for at in nodes(sound))]
    for _ in range(1500):
        pieces = {}
        for start, interesting in [chance.choice(structures) for _ in range(chance.randint(1, 2))]:
            structure = bytearray(sound[start : start + 4096])
            for _ in range(chance.randint(1, 3)):
                structure[32 + chance.randrange(interesting)] = chance.choice((0, 1, 0xFF, 0x80))
            reseal(structure, 0, 4096)
            pieces[start] = bytes(structure)
        found = btrfs.recognise(overlaid(sound, pieces), len(sound))
        if found is not None:
            examine(found, len(sound))


def test_a_node_that_leads_to_itself_ends(small: Path) -> None:
    """Levels fall, so a loop cannot be; the same child twice has a key that does not rise."""
    data = bytearray(small.read_bytes())
    node_size = int.from_bytes(data[SUPERBLOCK + 0x94 : SUPERBLOCK + 0x98], "little")
    root = int.from_bytes(data[SUPERBLOCK + 0x50 : SUPERBLOCK + 0x58], "little")
    generation = data[SUPERBLOCK + 0x48 : SUPERBLOCK + 0x50]
    (at,) = [at for at in nodes(bytes(data)) if data[at + 48 : at + 56] == root.to_bytes(8, "little")][:1]
    for rising in (False, True):
        data[SUPERBLOCK + 0xC6] = data[at + 0x64] = 1
        data[at + 0x60 : at + 0x64] = (100).to_bytes(4, "little")
        for index in range(100):
            key = (2).to_bytes(8, "little") + bytes((132,)) + (index * rising).to_bytes(8, "little")
            row = at + 101 + 33 * index
            data[row : row + 33] = key + root.to_bytes(8, "little") + generation
        reseal(data, at, node_size)
        reseal(data, SUPERBLOCK, 4096)
        found = btrfs.recognise(reader_of(data), len(data))
        assert found is not None
        told = examine(found, len(data)).file_system
        assert told.free is None


def test_a_disk_that_is_cut_is_refused(small: Path) -> None:
    data = small.read_bytes()
    for size in (len(data) - 4096, 5 * MIB, SUPERBLOCK + 4096):
        found = btrfs.recognise(reader_of(data[:size]), size)
        assert found is not None
        assert "the space that it stands in" in examine(found, size).file_system.reasons[0]
    assert btrfs.recognise(reader_of(data[: SUPERBLOCK + 4095]), SUPERBLOCK + 4095) is None


def test_it_is_examined_alone_as_on_a_disk(small: Path) -> None:
    assert examined(btrfs.recognise, small) == only(small)
