"""A million files on 1 TiB: the same free space, in bounded memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .ntfs_making import DATA, Volume, record, resident, stored
from .scribble import number

pytestmark = pytest.mark.slow

FILES = 1_000_000
CLUSTERS = 1 << 28
TABLE_AT, PLACEHOLDER = 1000, 0x7FFFFF

PROGRAM = """
import os, sys
from vhdx.filesystems import ntfs
from vhdx.filesystems.base import examine

with open(sys.argv[1], "rb") as file:
    size = os.fstat(file.fileno()).st_size
    result = examine(ntfs.recognise(lambda n, at: os.pread(file.fileno(), n, at), size), size).file_system
print("reasons", result.reasons, "free", result.free)
print(open("/proc/self/status").read())
"""


def many(path: Path) -> int:
    """A volume whose files have two clusters and, behind one that is free, one; and how many are free."""
    volume = Volume(CLUSTERS)
    volume.table = [(FILES // 4, TABLE_AT)]
    first = TABLE_AT + FILES // 4 + 10_000
    volume.bitmap = [(CLUSTERS // 8 // 4096, first - 9_000)]
    bits = np.zeros(CLUSTERS // 8, np.uint8)
    for count, cluster in (*volume.table, *volume.log, *volume.bitmap, (4, 0)):
        assert cluster is not None
        _set(bits, cluster, count)
    _set(bits, first, 4 * FILES)
    bits[first // 8 : (first + 4 * FILES) // 8] &= 0b10111011
    with open(path, "wb") as file:
        file.truncate(CLUSTERS * 4096 + 512)
        file.write(volume.boot())
        file.seek(100 * 4096)
        file.write(b"\xff" * 65536)
        file.seek(TABLE_AT * 4096)
        at_once = 10_000
        file.writelines(_files(first, start, at_once) for start in range(0, FILES, at_once))
        for index, data in volume.usual().items():
            file.seek(TABLE_AT * 4096 + index * 1024)
            file.write(data)
        file.seek((first - 9_000) * 4096)
        file.write(bits.tobytes())
    of_its_own = sum(count for count, _ in (*volume.table, *volume.log, *volume.bitmap, (4, 0)))
    return CLUSTERS - of_its_own - 3 * FILES


def _set(bits: np.ndarray[tuple[int], np.dtype[np.uint8]], first: int, count: int) -> None:
    edge = (
        range(first, min(-(-first // 8) * 8, first + count)),
        range((first + count) // 8 * 8, first + count),
    )
    for bit in (bit for part in edge for bit in part):
        bits[bit >> 3] |= 1 << (bit & 7)
    bits[-(-first // 8) : (first + count) // 8] = 0xFF


def _files(first: int, start: int, count: int) -> bytes:
    one = record(
        resident(0x10, bytes(72)),
        resident(0x30, bytes(90)),
        stored(DATA, [(2, PLACEHOLDER), (1, PLACEHOLDER + 3)], length=9000),
    )
    at = one.index(PLACEHOLDER.to_bytes(3, "little"))
    records = np.tile(np.frombuffer(one, np.uint8), (count, 1))
    clusters = first + 4 * np.arange(start, start + count)
    for byte in range(3):
        records[:, at + byte] = clusters >> 8 * byte & 0xFF
    return records.tobytes()


def test_a_million_files(tmp_path: Path) -> None:
    free = many(tmp_path / "n")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "n"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert done.stdout.startswith(f"reasons () free {free * 4096}\n")
    assert number(done.stdout, r"VmHWM:\s+(\d+) kB") < 256 << 10
