"""Disks whose file systems were filled and half emptied, and noise over all that is called free of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from vhdx.disk.raw import RawDisk
from vhdx.disk.volumes import volumes
from vhdx.filesystems.base import examine
from vhdx.storage.file import open_for_reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from vhdx.disk.volumes import Volume
    from vhdx.filesystems.base import FileSystem, Read, Recognised

MIB = 1 << 20
_SMALL_XFS = {"TEST_DIR": "1", "TEST_DEV": "1", "QA_CHECK_FS": "1"}
"""With these mkfs.xfs makes file systems of less than 300 MiB, too."""


def run(*words: str | Path, code: int = 0) -> str:
    """What a program says that ends with this code."""
    environment = {**os.environ, **_SMALL_XFS, "LC_ALL": "C", "LVM_SUPPRESS_FD_WARNINGS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def empty(path: Path, size: int) -> Path:
    """A file of zeros."""
    with open(path, "wb") as file:
        file.truncate(size)
    return path


def as_root() -> None:
    """Skip where no loop device can be had: that is the machine's to give, so under CI, too."""
    if os.geteuid():
        pytest.skip("only root has loop devices")
    if subprocess.run(["losetup", "-f"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives no loop devices")


@contextlib.contextmanager
def loop_device(image: Path) -> Iterator[str]:
    """A block device of a file."""
    device = run("losetup", "--find", "--show", image).strip()
    try:
        yield device
    finally:
        run("losetup", "--detach", device)


@contextlib.contextmanager
def mounted(image: Path) -> Iterator[Path]:
    """The file system of a file; skips where the kernel has none of the kind."""
    as_root()
    folder = image.with_suffix(".mounted")
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this kernel does not mount it: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        run("umount", folder)


def age(folder: Path, seed: int, total: int) -> None:
    """Files of log-normal sizes up to some bytes in all; half of them go, then some more come."""
    chance = random.Random(seed)
    for name, share in (("first", 2), ("second", 4)):
        made: list[Path] = []
        left = total // share
        while left > 0 and len(made) < 400:
            size = min(int(chance.lognormvariate(9.5, 2)), total // 8, left)
            made.append(folder / f"{name} {len(made) % 7}" / str(len(made)))
            made[-1].parent.mkdir(exist_ok=True)
            made[-1].write_bytes(chance.randbytes(size))
            left -= max(size, 1)
        os.sync() if name == "first" else None
        for path in chance.sample(made, len(made) // 2):
            path.unlink()


def hashes(folder: Path) -> dict[str, str]:
    """Each file's hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def aged(image: Path, seed: int, total: int) -> dict[str, str]:
    """Age the file system of a file, and tell the hashes of what is in it."""
    with mounted(image) as folder:
        age(folder, seed, total)
        return hashes(folder)


@contextlib.contextmanager
def looked_at(image: Path) -> Iterator[tuple[Volume, ...]]:
    """The volumes of a raw disk, everything of them read."""
    with RawDisk(open_for_reading(str(image))) as disk:
        yield volumes(disk)


def only(image: Path) -> FileSystem:
    """The one file system on a raw disk."""
    with looked_at(image) as (volume,):
        return volume.file_system


def spoil(image: Path) -> int:
    """Write noise over every range of a raw disk that is called free; how many bytes that were."""
    with looked_at(image) as found:
        each = [list(volume.free_ranges()) for volume in found]
        free = [volume.file_system.free or 0 for volume in found]
    assert [sum(length for _, length in ranges) for ranges in each] == free
    assert all(list(ranges) == sorted(ranges) for ranges in each)
    every = sorted(one for ranges in each for one in ranges)
    assert all(before[0] + before[1] <= after[0] for before, after in pairwise(every))
    noise = random.Random(1).randbytes(MIB)
    with open(image, "r+b") as file:
        for offset, length in every:
            for at in range(offset, offset + length, MIB):
                os.pwrite(file.fileno(), noise[: min(MIB, offset + length - at)], at)
    return sum(length for _, length in every)


def patch(image: Path, offset: int, data: bytes | bytearray) -> None:
    """Change bytes of a file."""
    with open(image, "r+b") as file:
        os.pwrite(file.fileno(), data, offset)


def piece(image: Path, offset: int, length: int) -> bytes:
    """Bytes of a file."""
    with open(image, "rb") as file:
        return os.pread(file.fileno(), length, offset)


def reader_of(data: bytes | bytearray) -> Read:
    """Bytes in memory as readers want them; asking for others fails the test."""

    def read(length: int, offset: int) -> bytes:
        assert 0 <= offset <= offset + length <= len(data), f"{length} bytes at {offset} of {len(data)}"
        return bytes(data[offset : offset + length])

    return read


def overlaid(data: bytes, pieces: dict[int, bytes]) -> Read:
    """The same with other bytes at some offsets, without a copy of it all."""
    below = reader_of(data)

    def read(length: int, offset: int) -> bytes:
        result = bytearray(below(length, offset))
        for start, new in pieces.items():
            first, last = max(start, offset), min(start + len(new), offset + length)
            if first < last:
                result[first - offset : last - offset] = new[first - start : last - start]
        return bytes(result)

    return read


def examined(recognise: Callable[[Read, int], Recognised | None], image: Path) -> FileSystem:
    """Both passes of one reader over a file."""
    data = image.read_bytes()
    found = recognise(reader_of(data), len(data))
    assert found is not None
    return examine(found, len(data)).file_system


def partclone_free(program: str, image: Path) -> int:
    """The bytes that partclone would leave out of a copy."""
    domain = image.with_suffix(".domain")
    run(program, "-D", "-s", image, "-o", domain, "-L", image.with_suffix(".log"))
    rows = [line.split() for line in domain.read_text().splitlines() if line.startswith("0x")]
    return sum(int(row[1], 16) for row in rows if len(row) == 3 and row[2] == "?")


def joined(image: Path, runs: Sequence[tuple[int, int]]) -> bytes:
    """Runs (offset, length) of a file, one behind the other."""
    return b"".join(piece(image, offset, length) for offset, length in runs)


def scattered(image: Path, runs: Iterable[tuple[int, int]], data: bytes) -> None:
    """The reverse: bytes written to runs of a file."""
    at = 0
    for offset, length in runs:
        patch(image, offset, data[at : at + length])
        at += length
