"""What people at Windows come for: disks of WSL shrink, chains are merged, broken images are repaired.

Linux programs judge what a process of Windows made.
"""

import random
import shutil
import subprocess
from pathlib import Path

import pytest

import vhdx
from tests.support.damage import overwrite
from tests.support.patterns import pattern
from tests.support.tools import needs
from tests.windows.test_judged import MIB, WINE, check, on_windows

pytestmark = pytest.mark.skipif(not WINE, reason="`make windows` runs it: it needs a Python under Wine")


def raw_of(image: Path) -> Path:
    """Its disk, as QEMU reads it."""
    raw = image.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-f", "vhdx", "-O", "raw", image, raw], check=True)
    return raw


@needs("mkfs.ext4", "debugfs", "e2fsck", "qemu-img")
def test_a_disk_of_wsl_gives_back_what_was_deleted(tmp_path: Path) -> None:
    """As much as on Linux; the files that are left are whole."""
    files, raw, image, twin = (tmp_path / name for name in ("files", "disk", "ext4.vhdx", "twin.vhdx"))
    files.mkdir()
    for number in range(12):
        (files / f"f{number}").write_bytes(random.Random(number).randbytes(4 * MIB))
    raw.touch()
    subprocess.run(["mkfs.ext4", "-q", "-d", files, raw, "128M"], check=True)
    vhdx.convert(raw, image, options=vhdx.ImageOptions(block_size=MIB))
    for number in range(0, 12, 2):
        subprocess.run(["debugfs", "-w", "-R", f"rm f{number}", raw], check=True, capture_output=True)
    with vhdx.open(image, "r+") as disk:
        disk.pwrite(raw.read_bytes(), 0)
    shutil.copy(image, twin)
    before = image.stat().st_size
    assert (done := on_windows("compact", "--discard-free", image)).returncode == 0, done.stdout
    vhdx.compact(twin, discard_free=True)
    assert image.stat().st_size == twin.stat().st_size < before - 20 * MIB
    check(image)
    subprocess.run(["e2fsck", "-fn", raw_of(image)], check=True, capture_output=True)
    for number in range(1, 12, 2):
        subprocess.run(["debugfs", "-R", f"dump f{number} {tmp_path / 'out'}", raw_of(image)], check=True)
        assert (tmp_path / "out").read_bytes() == (files / f"f{number}").read_bytes()


@needs("qemu-img")
def test_a_chain_is_merged(tmp_path: Path) -> None:
    vhdx.create(tmp_path / "base.vhdx", "64M", block_size="1M")
    with vhdx.open(tmp_path / "base.vhdx", "r+") as disk:
        disk.pwrite(pattern(1, 3 * MIB), 5 * MIB + 512)
    vhdx.create(tmp_path / "child.avhdx", parent=tmp_path / "base.vhdx")
    with vhdx.open(tmp_path / "child.avhdx", "r+") as disk:
        disk.pwrite(pattern(2, 3 * MIB), 6 * MIB + 512)
    with vhdx.open(tmp_path / "child.avhdx") as disk:
        expected = disk.pread(disk.size, 0)
    assert (done := on_windows("merge", tmp_path / "child.avhdx")).returncode == 0, done.stdout
    check(tmp_path / "base.vhdx")
    assert raw_of(tmp_path / "base.vhdx").read_bytes() == expected


@needs("qemu-img")
def test_a_broken_image_is_repaired_and_what_was_comes_back(tmp_path: Path) -> None:
    image, backup = tmp_path / "disk.vhdx", tmp_path / "backup"
    vhdx.create(image, "64M", block_size="1M")
    with vhdx.open(image, "r+") as disk:
        disk.pwrite(pattern(1, MIB), 5 * MIB)
    expected = raw_of(image).read_bytes()
    overwrite(image, 256 << 10, bytes(4096))
    before = image.read_bytes()
    assert (done := on_windows("repair", image, "--backup", backup)).returncode == 0, done.stdout
    check(image)
    assert raw_of(image).read_bytes() == expected
    assert (done := on_windows("repair", image, "--undo", backup)).returncode == 0, done.stdout
    assert image.read_bytes() == before
