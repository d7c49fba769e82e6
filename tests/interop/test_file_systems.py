"""A real file system lives through a compaction: its own check, its files, and what other programs read."""

import hashlib
import random
import re
from pathlib import Path

import pytest

import vhdx
from tests.support.layout import MIB
from tests.support.tools import needs
from tests.write.checking import guids_of

from .programs import by_seven_zip, dissect_bytes, pyvhdi_bytes, qemu_check, run

SIZE = 96 * MIB
BLOCK = 4096


def fill(folder: Path) -> dict[str, str]:
    """Files of many sizes; the hash of each."""
    chance = random.Random(7)
    hashes = {}
    for number in range(60):
        data = chance.randbytes(chance.choice([100, 5_000, 70_000, 2_000_000]))
        name = f"{'gone' if number % 3 else 'kept'}{number}"
        (folder / name).write_bytes(data)
        hashes[name] = hashlib.sha256(data).hexdigest()
    return hashes


def hashes_in(raw: Path, names: list[str], folder: Path) -> dict[str, str]:
    """The hashes of files, as the file system's own debugger reads them."""
    found = {}
    for name in names:
        run("debugfs", "-R", f"dump /{name} {folder / 'out'}", raw)
        found[name] = hashlib.sha256((folder / "out").read_bytes()).hexdigest()
    return found


def zero_free_blocks(raw: Path) -> None:
    """As `zerofree` does: what the file system says is free becomes zeros."""
    free = re.findall(r"^  Free blocks: (.*)$", run("dumpe2fs", raw), re.MULTILINE)
    with raw.open("r+b") as file:
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", " ".join(free)):
            file.seek(int(first) * BLOCK)
            file.write(bytes((int(last or first) - int(first) + 1) * BLOCK))


@needs("mkfs.ext4", "debugfs", "dumpe2fs", "e2fsck", "qemu-img", "7zz")
@pytest.mark.parametrize("block_size", ["1MiB", "4MiB"])
def test_ext4_with_files_deleted_and_zeroed(block_size: str, tmp_path: Path) -> None:
    folder, raw, path = tmp_path / "files", tmp_path / "a.raw", tmp_path / "a.vhdx"
    folder.mkdir()
    hashes = fill(folder)
    raw.touch()
    with raw.open("r+b") as file:
        file.truncate(SIZE)
    run("mkfs.ext4", "-q", "-b", str(BLOCK), "-O", "^has_journal", "-d", folder, raw)
    vhdx.convert(raw, path, options=vhdx.ImageOptions(block_size=block_size))
    full = path.stat().st_size
    for name in hashes:
        if name.startswith("gone"):
            run("debugfs", "-w", "-R", f"rm /{name}", raw)
    zero_free_blocks(raw)
    with vhdx.open(path, "r+") as disk, raw.open("rb") as file:  # as a guest would: zeros are written, too
        for offset in range(0, SIZE, MIB):
            disk.pwrite(file.read(MIB), offset)
    grown, identity = path.stat().st_size, guids_of(path)[1]

    done = vhdx.compact(path, scan_zeros=True, punch=True)

    assert path.stat().st_size < full <= grown
    assert done.freed_blocks
    assert done.moved_blocks
    assert guids_of(path)[1] == identity
    wanted = raw.read_bytes()
    assert qemu_check(path)["check-errors"] == 0
    run("qemu-img", "compare", "-f", "raw", "-F", "vhdx", raw, path)
    for read in (by_seven_zip, pyvhdi_bytes, dissect_bytes):
        assert read(path) == wanted, read.__name__
    back = tmp_path / "back.raw"
    vhdx.convert(path, back)
    run("e2fsck", "-f", "-n", back)
    kept = {name: value for name, value in hashes.items() if name.startswith("kept")}
    assert hashes_in(back, list(kept), tmp_path) == kept
