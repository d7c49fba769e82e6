"""The files that the readers of the pages have, by the names that the pages give them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import vhdx
from tests.filesystems.making import need, raw_file, run
from tests.mount.mounting import NO_FUSE
from tests.partitions.tables import gpt_disk
from tests.real.test_real_images import IMAGES, unpack
from tests.support.damage import flip, overwrite
from tests.support.layout import MIB
from tests.support.patterns import pattern
from vhdx.ops.make.formatting import Formatting


def _write(path: Path, seed: int, *places: int) -> None:
    with vhdx.open(path, "r+") as disk:
        for place in places:
            disk.pwrite(pattern(seed, 64 * 1024, seed), place)


def chain(folder: Path) -> None:
    """Three days: a base and two checkpoints."""
    names = ["sunday.vhdx", "monday.avhdx", "tuesday.avhdx"]
    vhdx.create(folder / names[0], "64M")
    _write(folder / names[0], 1, 0, 10 * MIB)
    for day in (1, 2):
        vhdx.create(folder / names[day], parent=folder / names[day - 1])
        _write(folder / names[day], day + 1, day * 7 * MIB)


def checkpoints(folder: Path) -> None:
    """A chain copied from elsewhere: the files have other names than their children know."""
    vhdx.create(folder / "vm.vhdx", "64M")
    _write(folder / "vm.vhdx", 1, 0, 10 * MIB)
    vhdx.create(folder / "before_update.avhdx", parent=folder / "vm.vhdx")
    _write(folder / "before_update.avhdx", 2, 5 * MIB)
    vhdx.create(folder / "after-update_1B2C.avhdx", parent=folder / "before_update.avhdx")
    _write(folder / "after-update_1B2C.avhdx", 3, 7 * MIB)
    (folder / "before_update.avhdx").rename(folder / "before-update_77AF.avhdx")


def dirty(folder: Path) -> None:
    """An image whose host died: everything flushed, nothing closed."""
    vhdx.create(folder / "vm.vhdx", "64M")
    program = (
        "import os, vhdx; disk = vhdx.open('vm.vhdx', 'r+'); disk.pwrite(b'x' * 70000, 5 << 20); "
        "disk.flush(); disk.pwrite(b'y' * 70000, 30 << 20); disk.flush(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)


def guest(folder: Path) -> None:
    """A disk as WSL makes it: an ext4 that fills it."""
    need("mkfs.ext4")
    tree, raw = folder / "guest", raw_file(folder / "guest.raw", 64 * MIB)
    (tree / "etc").mkdir(parents=True)
    (tree / "home" / "me" / "photos").mkdir(parents=True)
    (tree / "etc" / "fstab").write_text("LABEL=root / ext4 defaults 0 1\n")
    (tree / "home" / "me" / "notes.txt").write_text("remember the milk\n")
    (tree / "home" / "me" / "latest").symlink_to("notes.txt")
    (tree / "home" / "me" / "photos" / "cat.jpg").write_bytes(pattern(7, 300_000))
    run("mkfs.ext4", "-q", "-L", "root", "-E", "root_owner=0:0", "-d", tree, raw)
    vhdx.convert(raw, folder / "ext4.vhdx")
    raw.unlink()
    shutil.rmtree(tree)


def partitioned(folder: Path) -> None:
    """A disk of 64 MiB with a GPT and two partitions."""
    raw = folder / "disk.raw"
    raw.write_bytes(gpt_disk(64 * MIB, [(2048, 34815), (34816, 83967)]))
    vhdx.convert(raw, folder / "vm.vhdx")
    raw.unlink()


def mountable(folder: Path) -> None:
    """The same, on a host that has FUSE."""
    if NO_FUSE is not None:
        pytest.skip(NO_FUSE)
    partitioned(folder)


def guests(folder: Path) -> None:
    """A Linux and a Windows, each on the whole of its disk, on a host that has FUSE."""
    if NO_FUSE is not None:
        pytest.skip(NO_FUSE)
    need("mkfs.ext4", "mkfs.ntfs")
    vhdx.create(folder / "linux.vhdx", "64M", formatting=Formatting("ext4"))
    vhdx.create(folder / "windows.vhdx", "64M", formatting=Formatting("ntfs"))


def tutorial(folder: Path) -> None:
    """The public image of which the tutorial says where it is to be had."""
    if not IMAGES.exists():
        pytest.skip(f"there is no folder {IMAGES}")
    unpack("dfvfs__ext2.vhdx", folder)


def wsl(folder: Path) -> None:
    """A disk as WSL has them: ext4 on the whole of it, blocks of 1 MiB; three of four files were deleted."""
    files, raw = folder / "files", folder / "ext4.raw"
    files.mkdir()
    for number in range(4):
        (files / f"file{number}").write_bytes(pattern(number, 12 * MIB, number))
    raw.write_bytes(b"")
    os.truncate(raw, 1 << 30)
    subprocess.run(["mkfs.ext4", "-q", "-G", "4096", "-J", "size=4", "-d", files, raw], check=True)
    for number in (0, 2, 3):
        subprocess.run(
            ["debugfs", "-w", "-R", f"rm file{number}", raw], check=True, stderr=subprocess.DEVNULL
        )
    vhdx.convert(raw, folder / "ext4.vhdx", options=vhdx.ImageOptions(block_size="1M"))
    raw.unlink()
    shutil.rmtree(files)


def damaged(folder: Path) -> None:
    """An image for each situation; ``vm.vhdx`` loses nothing, blocks of ``worse.vhdx`` share space."""
    for name in ("vm.vhdx", "worse.vhdx"):
        vhdx.create(folder / name, "64M", block_size="8M")
        _write(folder / name, 1, 0, 10 * MIB, 40 * MIB)
    flip(folder / "vm.vhdx", 64 * 1024 + 100)
    table = 3 * MIB
    overwrite(folder / "vm.vhdx", table + 8 * 3, (7 * MIB).to_bytes(8, "little"))
    first_block = (folder / "worse.vhdx").read_bytes()[table : table + 8]
    overwrite(folder / "worse.vhdx", table + 8 * 5, first_block)
    raw = bytearray(gpt_disk(64 * MIB, [(2048, 34815), (34816, 83967)]))
    raw[MIB : 40 * MIB] = pattern(1, 39 * MIB)
    (folder / "disk.raw").write_bytes(raw)
    for name in ("begin.vhdx", "items.vhdx", "wiped.vhdx", "cut.vhdx"):
        vhdx.convert(folder / "disk.raw", folder / name, options=vhdx.ImageOptions(block_size=MIB))
    vhdx.convert(folder / "disk.raw", folder / "pieces.vhdx", options=vhdx.ImageOptions(block_size="8M"))
    raw = bytearray(gpt_disk(72 * MIB, [(2048, 34815), (34816, 83967)]))
    for block in range(1, 71):
        raw[block * MIB : block * MIB + 4096] = pattern(block, 4096)
    (folder / "disk.raw").write_bytes(raw)
    vhdx.convert(folder / "disk.raw", folder / "entries.vhdx", options=vhdx.ImageOptions(block_size=MIB))
    (folder / "disk.raw").unlink()
    for name in ("entries.vhdx", "pieces.vhdx"):
        overwrite(folder / name, table, bytes(512))
    overwrite(folder / "begin.vhdx", 0, pattern(7, MIB))
    overwrite(folder / "items.vhdx", 2 * MIB + 64 * 1024, bytes(4096))
    overwrite(folder / "wiped.vhdx", 0, pattern(8, table))
    with (folder / "cut.vhdx").open("r+b") as file:
        file.truncate(30 * MIB)


def several(folder: Path) -> None:
    """An image and a raw disk of the same size."""
    vhdx.create(folder / "vm.vhdx", "64M")
    _write(folder / "vm.vhdx", 1, 0, 10 * MIB)
    vhdx.convert(folder / "vm.vhdx", folder / "vm.raw")


def estate(folder: Path) -> None:
    """Profile disks, one of which is damaged, and a chain that has lost its base."""
    (folder / "profiles").mkdir()
    for number, name in enumerate(("anna", "berta", "carl", "dora")):
        vhdx.create(folder / "profiles" / f"{name}.vhdx", "1G", block_size=MIB)
        with vhdx.open(folder / "profiles" / f"{name}.vhdx", "r+") as disk:
            disk.pwrite(pattern(number, (number + 2) * MIB), 0)
    with vhdx.open(folder / "profiles" / "dora.vhdx", "r+") as disk:
        disk.trim(length=3 * MIB, offset=MIB)
    overwrite(
        folder / "profiles" / "carl.vhdx",
        3 * MIB + 8,
        (folder / "profiles" / "carl.vhdx").read_bytes()[3 * MIB :][:8],
    )
    chain(folder)
    (folder / "vms").mkdir()
    for name in ("sunday.vhdx", "monday.avhdx", "tuesday.avhdx"):
        (folder / name).rename(folder / "vms" / name)
    (folder / "vms" / "sunday.vhdx").rename(folder / "sunday-moved.vhdx")


SCENES: dict[str, Callable[[Path], None]] = {
    scene.__name__: scene
    for scene in (
        chain,
        checkpoints,
        damaged,
        dirty,
        estate,
        guest,
        guests,
        mountable,
        partitioned,
        several,
        tutorial,
        wsl,
    )
}
