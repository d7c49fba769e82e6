"""The vocabulary of reading tests: ranges worth reading, disks that agree, extents that tell the truth."""

import hashlib
import io
import os
import random
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import vhdx
from vhdx import BlockState, Extent, ExtentKind

from .build import ImageBuilder
from .calls import OPEN_FLAGS, pread

Range = tuple[int, int]


def in_memory(image: ImageBuilder) -> vhdx.Disk:
    """The image opened from a file object, without touching the host's disk."""
    return vhdx.open(io.BytesIO(image.build()))


def whole(disk: vhdx.Disk, step: int = 1 << 20) -> bytes:
    """The whole disk, read in steps."""
    return b"".join(disk.pread(min(step, disk.size - at), at) for at in range(0, disk.size, step))


def around(borders: Iterable[int], size: int) -> Iterator[Range]:
    """(length, offset) of ranges at, before, behind and across borders, as far as they are in the disk."""
    for border in borders:
        for before, behind in ((1, 1), (0, 1), (1, 0), (512, 512), (513, 4097), (0, 512), (4096, 0)):
            start, end = max(0, border - before), min(size, border + behind)
            if start < end:
                yield end - start, start


def scattered(size: int, longest: int, count: int = 40, seed: int = 0) -> list[Range]:
    """(length, offset) of pseudo-random ranges of a disk, of any alignment."""
    chance = random.Random(seed)
    ranges = []
    for _ in range(count):
        offset = chance.randrange(size)
        ranges.append((chance.randint(0, min(longest, size - offset)), offset))
    return ranges


def assert_reads(disk: vhdx.Disk, expected: bytes, ranges: Iterable[Range]) -> None:
    """Both ways of reading give exactly the expected bytes of the ranges."""
    for length, offset in ranges:
        want = expected[offset : offset + length]
        got = disk.pread(length, offset)
        assert got == want, f"pread({length}, {offset}): {first_difference(got, want)}"
        buffer = bytearray(b"\xa5" * length)
        disk.preadinto(buffer, offset)
        assert buffer == want, f"preadinto of {length} bytes at {offset}: {first_difference(buffer, want)}"


def first_difference(got: bytes | bytearray, want: bytes | bytearray) -> str:
    """Where two runs of bytes begin to differ, in words."""
    if len(got) != len(want):
        return f"{len(got)} bytes instead of {len(want)}"
    at = next((at for at, (one, other) in enumerate(zip(got, want, strict=True)) if one != other), None)
    return (
        "no difference" if at is None else f"differs at {at}: {got[at : at + 8]!r} for {want[at : at + 8]!r}"
    )


def assert_extents_are_true(disk: vhdx.Disk, expected: bytes) -> None:
    """Extents cover the disk, in order and merged, and what each says is what a read returns."""
    extents = list(disk.extents())
    assert_cover(extents, 0, disk.size)
    descriptors = [os.open(name, os.O_RDONLY | OPEN_FLAGS) for name in disk.chain]
    try:
        for extent in extents:
            assert_true(extent, expected[extent.offset : extent.end], descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def assert_cover(extents: list[Extent], start: int, end: int) -> None:
    """Extents cover a range exactly, in order, and neighbours that continue each other are one."""
    for extent in extents:
        assert extent.offset == start, extent
        assert extent.length > 0, extent
        start = extent.end
    assert start == end
    for before, after in pairwise(extents):
        same = (before.kind, before.state, before.depth) == (after.kind, after.state, after.depth)
        places = before.file_offset, after.file_offset
        both = before.file_offset is not None and after.file_offset is not None
        follows = both and after.file_offset == (before.file_offset or 0) + before.length
        assert not (same and (follows or places == (None, None))), f"{before} and {after} should be one"


def assert_true(extent: Extent, expected: bytes, descriptors: list[int]) -> None:
    """One extent says the truth about the bytes of its range; descriptors are the chain's files."""
    if extent.kind is ExtentKind.DATA:
        assert extent.file_offset is not None, extent
        assert extent.state in (BlockState.FULLY_PRESENT, BlockState.PARTIALLY_PRESENT), extent
        assert pread(descriptors[extent.depth - 1], extent.length, extent.file_offset) == expected, extent
        return
    assert not any(expected), extent
    if extent.kind is ExtentKind.ZERO:
        assert 1 <= extent.depth <= len(descriptors), extent
        assert extent.state in (1, 2, 3, 5), extent
    else:
        assert (extent.depth, extent.state, extent.file_offset) == (0, BlockState.NOT_PRESENT, None), extent


def footprint(directory: Path) -> dict[str, tuple[str, int, int, int]]:
    """Every file of a directory tree: content hash, time of change, mode and inode."""
    found = {}
    for path in sorted(directory.rglob("*")):
        status = path.stat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "directory"
        found[str(path)] = content, status.st_mtime_ns, status.st_mode, status.st_ino
    return found
