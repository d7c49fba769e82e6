"""Promise 1 on real images: the content hash of each, at several read sizes and alignments."""

import hashlib
import json
import lzma
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import accumulate, cycle, takewhile
from pathlib import Path
from typing import Any

import pytest

import vhdx
from tests.support.layout import GIB, MIB
from tests.support.naive import naive_content
from tests.support.reading import assert_cover, footprint, scattered
from vhdx.disk.chain import VhdxDisk
from vhdx.disk.open import open_disk

IMAGES = Path(__file__).parents[3] / "shared" / "images"
LISTED: dict[str, Any] = json.loads((IMAGES / "images.json").read_text()) if IMAGES.exists() else {}
pytestmark = pytest.mark.skipif(not LISTED, reason=f"there is no folder {IMAGES}")

Unpack = Callable[[str], Path]
PARENT_OF = {"dfvfs__fat-differential.vhdx": "dfvfs__fat-parent.vhdx"}
UP_TO_1_GIB = [name for name, facts in LISTED.items() if facts["virtual_size"] <= GIB]
DIRTY = [name for name, facts in LISTED.items() if facts["dirty_log"]]
OVER_1_GIB = [
    # Zeros of many GiB take long to hash; their extents and what stands between them is looked at below
    pytest.param(name, marks=pytest.mark.slow) if facts["virtual_size"] > 5 * GIB else name
    for name, facts in LISTED.items()
    if facts["virtual_size"] > GIB and name not in DIRTY
]


@pytest.fixture(name="unpacked", scope="session")
def _unpacked(tmp_path_factory: pytest.TempPathFactory) -> Unpack:
    """Images unpacked once, each into a folder of its own with its parent beside it, holes left out."""
    return cache(lambda name: unpack(name, tmp_path_factory.mktemp("real")))


def unpack(name: str, folder: Path) -> Path:
    for which in (name, *([PARENT_OF[name]] if name in PARENT_OF else [])):
        path = folder / which.split("__")[1]
        digest = hashlib.sha256()
        with lzma.open(IMAGES / f"{which}.xz") as packed, path.open("wb") as file:
            while data := packed.read(MIB):
                digest.update(data)
                if any(data):
                    file.write(data)
                else:
                    file.seek(len(data), 1)
            file.truncate(file.tell())
        assert digest.hexdigest() == LISTED[which]["file_sha256"], f"{which} is not the listed image"
    return folder / name.split("__")[1]


def digest_of(pieces: Iterator[bytes | bytearray | memoryview]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def by_pread(disk: VhdxDisk) -> Iterator[bytes]:
    """In pieces of many lengths, so that they begin at every alignment and cross every border."""
    lengths = cycle((1, 511, 512, 4096, 65_537, 3 * MIB + 1, 1_000_003, 8 * MIB - 5))
    starts = takewhile(lambda at: at < disk.size, accumulate(lengths, initial=0))
    start = next(starts)
    for end in (*starts, disk.size):
        yield disk.pread(end - start, start)
        start = end


def by_preadinto(disk: VhdxDisk) -> Iterator[memoryview]:
    """In pieces of 4 MiB into one buffer that is never cleared."""
    buffer = memoryview(bytearray(b"\xff" * (4 * MIB)))
    for offset in range(0, disk.size, len(buffer)):
        piece = buffer[: min(len(buffer), disk.size - offset)]
        disk.preadinto(piece, offset)
        yield piece


WAYS: list[Callable[[VhdxDisk], Iterator[Any]]] = [by_pread, by_preadinto]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", UP_TO_1_GIB)
def test_promise_1_the_content_is_what_it_should_be(
    name: str, way: Callable[[VhdxDisk], Iterator[Any]], unpacked: Unpack
) -> None:
    with open_disk(unpacked(name)) as disk:
        assert disk.size == LISTED[name]["virtual_size"]
        assert digest_of(way(disk)) == LISTED[name]["content_sha256"]


@pytest.mark.parametrize("name", OVER_1_GIB)
def test_promise_1_the_content_of_a_large_image(name: str, unpacked: Unpack) -> None:
    with open_disk(unpacked(name)) as disk:
        assert digest_of(by_preadinto(disk)) == LISTED[name]["content_sha256"]


@pytest.mark.parametrize("name", LISTED)
def test_promise_1_extents_tell_where_everything_is_and_the_rest_is_zeros(
    name: str, unpacked: Unpack
) -> None:
    path = unpacked(name)
    parents = [path.with_name("fat-parent.vhdx")] if name in PARENT_OF else []
    with open_disk(path) as disk:
        extents = list(disk.extents())
        assert_cover(extents, 0, disk.size)
        for extent in extents:
            for length, start in scattered(extent.length, 300_000, count=6, seed=extent.length):
                offset = extent.offset + start
                data = disk.pread(length, offset)
                if extent.kind is vhdx.ExtentKind.DATA:
                    assert data == naive_content(path, offset, length, parents), f"{length} at {offset}"
                else:
                    assert data == bytes(length), f"{length} at {offset}"


def test_the_extents_of_the_largest_image_are_as_many_as_its_blocks_say(unpacked: Unpack) -> None:
    with open_disk(unpacked("ExFat__exFAT-v1.vhdx")) as disk:
        extents = list(disk.extents())
    data = sum(e.length for e in extents if e.kind is vhdx.ExtentKind.DATA)
    assert data == 3 * 32 * MIB
    assert sum(e.length for e in extents if e.kind is vhdx.ExtentKind.UNALLOCATED) == disk.size - data


@pytest.mark.parametrize("name", DIRTY)
def test_promise_3_a_dirty_image_is_never_read_stale(name: str, unpacked: Unpack) -> None:
    path = unpacked(name)
    before = footprint(path.parent)
    with open_disk(path) as disk:
        found = digest_of(by_preadinto(disk))
    assert found != LISTED[name]["stale_content_sha256_when_the_log_is_ignored"]
    assert found == LISTED[name]["content_sha256"]
    assert footprint(path.parent) == before, "promise 2"


def test_promise_19_the_differencing_image_needs_its_parent(tmp_path: Path) -> None:
    path = unpack("dfvfs__fat-differential.vhdx", tmp_path)
    with open_disk(path) as disk:
        assert disk.chain == (str(path), str(tmp_path / "fat-parent.vhdx"))
        assert disk.disk_type == "differencing"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "fat-parent.vhdx").rename(elsewhere / "renamed.bin")
    with pytest.raises(vhdx.ParentNotFoundError):
        open_disk(path)
    with open_disk(path, parents=elsewhere) as disk:
        assert digest_of(by_pread(disk)) == LISTED["dfvfs__fat-differential.vhdx"]["content_sha256"]


@pytest.mark.parametrize("name", UP_TO_1_GIB)
def test_what_an_image_says_of_itself(name: str, unpacked: Unpack) -> None:
    facts = LISTED[name]
    with open_disk(unpacked(name)) as disk:
        assert facts["type"].startswith(disk.disk_type)
        assert f"{disk.block_size // MIB} MiB" == facts["block_size"]
        assert f"{disk.logical_sector_size}/{disk.physical_sector_size}" == facts["sector_sizes"]
        assert disk.layers[0].creator == facts["creator"]


def test_promise_1_threads_hash_one_image_each_the_whole(unpacked: Unpack) -> None:
    name = "goatrodeo__basic.vhdx"
    with open_disk(unpacked(name)) as disk, ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda way: digest_of(way(disk)), WAYS * 4))
    assert found == {LISTED[name]["content_sha256"]}
