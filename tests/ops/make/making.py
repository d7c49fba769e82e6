"""The vocabulary of tests that make files: what a right image would be, raw disks, and comparing both."""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import vhdx
from tests.support.build import ImageBuilder
from tests.support.calls import pread, space_of
from tests.support.holes import data_ranges
from tests.support.layout import MIB
from tests.support.naive import naive_content, naive_size
from tests.support.structures import HEADER, bat_entry, item, value_of

CREATOR = f"vhdx {vhdx.__version__}"
Pieces = Mapping[int, bytes]


def guid_of(path: Path, field: str) -> UUID:
    """A GUID of the first header."""
    value = value_of(path, HEADER, field)
    assert isinstance(value, UUID)
    return value


def item_of(path: Path, name: str) -> int | UUID:
    """The value of a known metadata item."""
    value = value_of(path, item(name), "block_size" if name == "file_parameters" else "value")
    assert isinstance(value, int | UUID)
    return value


def should_be(path: Path, **description: Any) -> ImageBuilder:
    """The image that the file should be, byte for byte, but for the three GUIDs that are its own."""
    disk_id = item_of(path, "virtual_disk_id")
    assert isinstance(disk_id, UUID)
    identities = {
        "disk_id": disk_id,
        "file_write_guid": guid_of(path, "file_write_guid"),
        "data_write_guid": guid_of(path, "data_write_guid"),
    }
    usual = {"creator": CREATOR, "stale_slot": False, "sequence_numbers": (0, 1), **identities}
    return ImageBuilder(**{**usual, **description})


def assert_is(path: Path, image: ImageBuilder) -> None:
    """The file is the image, each of its bytes."""
    twin = image.write(path.with_name(f"{path.name}.twin"))
    try:
        assert_same_bytes(path, twin)
    finally:
        twin.unlink()


def assert_same_bytes(one: Path, other: Path) -> None:
    """Two files, maybe sparse, hold the same bytes."""
    assert one.stat().st_size == other.stat().st_size
    with open(one, "rb") as first, open(other, "rb") as second:
        spots = {*_mebibytes_with_data(first.fileno()), *_mebibytes_with_data(second.fileno())}
        for spot in sorted(spots):
            if pread(first.fileno(), MIB, spot) != pread(second.fileno(), MIB, spot):
                raise AssertionError(f"the files differ in the MiB at {spot:#x}")


def _mebibytes_with_data(descriptor: int) -> Iterator[int]:
    for start, length in data_ranges(descriptor):
        yield from range(start - start % MIB, start + length, MIB)


def write_raw(path: Path, size: int, pieces: Pieces = {}) -> Path:  # noqa: B006  read only
    """A raw disk with holes wherever no piece says something."""
    with open(path, "wb") as file:
        file.truncate(size)
        for offset, data in pieces.items():
            file.seek(offset)
            file.write(data)
    return path


def raw_bytes(size: int, pieces: Pieces) -> bytes:
    """The same disk in memory."""
    disk = bytearray(size)
    for offset, data in pieces.items():
        disk[offset : offset + len(data)] = data
    assert len(disk) == size
    return bytes(disk)


def disk_of(path: Path, *parents: Path) -> bytes:
    """The whole virtual disk of an image, read by the naive reader."""
    return naive_content(path, 0, naive_size(path), parents)


def states(path: Path, blocks: int, ratio: int = 1 << 62) -> list[int]:
    """The states of the first payload blocks."""
    return [_number(path, block + block // ratio, "state") for block in range(blocks)]


def places(path: Path, blocks: int, ratio: int = 1 << 62) -> list[int]:
    """The file offsets of the first payload blocks, in MiB."""
    return [_number(path, block + block // ratio, "file_offset_mb") for block in range(blocks)]


def _number(path: Path, index: int, field: str) -> int:
    value = value_of(path, bat_entry(index), field)
    assert isinstance(value, int)
    return value


def space_taken(path: Path) -> int:
    """How many bytes of the host's disk the file takes."""
    return space_of(path)


def names_in(folder: Path) -> list[str]:
    """What stands in a folder, hidden files included."""
    return sorted(os.listdir(folder))


def is_regular(path: Path) -> bool:
    """Whether a regular file stands under the name itself, links not followed."""
    return stat.S_ISREG(path.lstat().st_mode)


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """Another umask for a while."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mebibytes(*numbers: int) -> Iterable[int]:
    """Offsets of these MiB."""
    return (number * MIB for number in numbers)
