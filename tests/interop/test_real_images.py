"""Real images, read by everybody: who gives the right bytes, and who ignores a dirty log."""

import hashlib
import json
import lzma
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import vhdx
from tests.ops.make.making import assert_same_bytes

from .programs import QEMU, SEVEN_ZIP, by_dissect, by_pyvhdi, run

IMAGES = Path(__file__).parents[2].parent / "shared" / "images"
FACTS: dict[str, dict[str, Any]] = (
    json.loads((IMAGES / "images.json").read_text()) if (IMAGES / "images.json").exists() else {}
)
LARGEST = 128 << 20
"""Larger disks take seconds to read in every way; `tests/real` reads them in ours."""
STALE = "stale_content_sha256_when_the_log_is_ignored"
SMALL_ONES = sorted(name for name, facts in FACTS.items() if facts["virtual_size"] <= LARGEST)
DIRTY = "DiscUtils__vhdx-log-replay.vhdx"

pytestmark = [pytest.mark.skipif(not FACTS, reason="../shared/images is absent")]


def unpacked(folder: Path, name: str) -> Path:
    """An image, its parent beside it."""
    for wanted in {name, *(["dfvfs__fat-parent.vhdx"] if "differential" in name else [])}:
        path = folder / wanted.partition("__")[2]
        path.write_bytes(lzma.decompress((IMAGES / f"{wanted}.xz").read_bytes()))
    return folder / name.partition("__")[2]


def digest(pieces: Iterator[bytes]) -> str:
    """The SHA-256 of a disk that comes in pieces."""
    sha = hashlib.sha256()
    for piece in pieces:
        sha.update(piece)
    return sha.hexdigest()


def steps(size: int, step: int = 1 << 24) -> Iterator[tuple[int, int]]:
    """(length, offset) of pieces of a disk."""
    return ((min(step, size - at), at) for at in range(0, size, step))


def ours(path: Path) -> str:
    with vhdx.open(path) as disk:
        return digest(disk.pread(length, at) for length, at in steps(disk.size))


def libvhdi(path: Path) -> str:
    parents = [path.with_name("fat-parent.vhdx")] if "differential" in path.name else []
    file = by_pyvhdi(path, *parents)
    return digest(file.read_buffer_at_offset(length, at) for length, at in steps(file.get_media_size()))


def dissect(path: Path) -> str:
    with by_dissect(path) as disk:
        return digest(disk.read(length) for length, _ in steps(disk.size))


def seven_zip(path: Path) -> str:
    with subprocess.Popen(
        ["7zz", "x", "-tvhdx", "-so", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        stream = process.stdout
        assert stream is not None
        return digest(iter(lambda: stream.read(1 << 20), b""))


def qemu(path: Path) -> str:
    """Converted by QEMU after QEMU replayed the log."""
    run("qemu-img", "check", "-q", "-r", "all", "-f", "vhdx", path, code=None)
    raw = path.with_suffix(".qemu.raw")
    run("qemu-img", "convert", "-f", "vhdx", "-O", "raw", path, raw)
    with open(raw, "rb") as file:
        return digest(iter(lambda: file.read(1 << 20), b""))


EVERYBODY = [
    pytest.param(ours, id="vhdx"),
    pytest.param(libvhdi, id="libvhdi"),
    pytest.param(dissect, id="dissect"),
    pytest.param(seven_zip, id="7-Zip", marks=SEVEN_ZIP),
    pytest.param(qemu, id="QEMU", marks=QEMU),
]


@pytest.mark.parametrize("read", EVERYBODY)
@pytest.mark.parametrize("name", SMALL_ONES)
def test_clean_ones_read_alike(tmp_path: Path, name: str, read: Callable[[Path], str]) -> None:
    if read is qemu and ("differential" in name or "4096_4096" in name):
        pytest.skip("QEMU reads no such images")
    assert read(unpacked(tmp_path, name)) == FACTS[name]["content_sha256"]


@QEMU
@pytest.mark.parametrize("name", [DIRTY, "qemu__iotest-dirtylog-10G-4M.vhdx"])
def test_replaying_on_disk_and_in_memory_is_the_same(tmp_path: Path, name: str) -> None:
    """QEMU replays into the file, we beside it; it refuses a file with a dirty log that it may not change."""
    path = unpacked(tmp_path, name)
    assert "log that needs to be replayed" in run("qemu-img", "info", "-f", "vhdx", path, code=1)
    vhdx.convert(path, tmp_path / "ours.raw")
    run("qemu-img", "check", "-q", "-r", "all", "-f", "vhdx", path, code=None)
    run("qemu-img", "convert", "-f", "vhdx", "-O", "raw", path, tmp_path / "theirs.raw")
    assert_same_bytes(tmp_path / "ours.raw", tmp_path / "theirs.raw")


@pytest.mark.parametrize("read", EVERYBODY)
def test_a_dirty_one(tmp_path: Path, read: Callable[[Path], str]) -> None:
    """We read it replayed, and so does QEMU once it may write; the others show what was before the log."""
    wanted = "content_sha256" if read in (ours, qemu) else STALE
    assert read(unpacked(tmp_path, DIRTY)) == FACTS[DIRTY][wanted]
