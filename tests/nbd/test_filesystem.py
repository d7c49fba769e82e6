"""A file system made, filled, checked and trimmed on a served image, which the host sees as a file."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import vhdx
from tests.interop.programs import run
from tests.support.layout import MIB
from tests.support.tools import needs

from .serving import serving

SIZE = 64 * MIB

pytestmark = [
    needs("nbdfuse", "fusermount", "mkfs.ext4", "debugfs", "e2fsck", "fallocate"),
    pytest.mark.skipif(not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="no access to /dev/fuse"),
]


@contextlib.contextmanager
def mounted(uri: str, folder: Path) -> Iterator[Path]:
    """The export as a file."""
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(["nbdfuse", f"{folder}/", uri], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 10
        while not (folder / "nbd").exists():
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield folder / "nbd"
    finally:
        subprocess.run(["fusermount", "-u", folder], check=False)
        process.communicate(timeout=20)


def test_a_file_system_on_a_served_image(tmp_path: Path) -> None:
    image, data = tmp_path / "disk.vhdx", tmp_path / "data"
    vhdx.create(image, SIZE, block_size=MIB)
    data.write_bytes(os.urandom(8 * MIB))
    with serving(image, "--write", "--socket", tmp_path / "s") as process:
        with mounted(process.uri, tmp_path / "mount") as disk:
            run("mkfs.ext4", "-q", "-F", disk)
            run("debugfs", "-w", "-R", f"write {data} kept", disk)
            run("debugfs", "-w", "-R", f"write {data} gone", disk)
            run("e2fsck", "-fn", disk)
            free = _free_tail(disk)
            run("fallocate", "--punch-hole", "--offset", str(free), "--length", str(SIZE - free), disk)
            run("e2fsck", "-fn", disk)
        assert process.end() == (0, "")
    with vhdx.open(image) as served:
        assert not any(served.pread(SIZE - free, free))
    vhdx.convert(image, tmp_path / "disk.raw")
    run("e2fsck", "-fn", tmp_path / "disk.raw")
    run("debugfs", "-R", f"dump kept {tmp_path / 'back'}", tmp_path / "disk.raw")
    assert (tmp_path / "back").read_bytes() == data.read_bytes()
    if shutil.which("qemu-img"):
        run("qemu-img", "check", "-f", "vhdx", image)


def _free_tail(disk: Path) -> int:
    """Where the last run of free space of the file system begins, in bytes."""
    said = run("dumpe2fs", disk)
    size = next(int(line.split()[-1]) for line in said.splitlines() if line.startswith("Block size"))
    runs = [line.split(":", 1)[1] for line in said.splitlines() if line.startswith("  Free blocks:")]
    last = runs[-1].split(",")[-1].split("-")
    assert len(last) == 2, "the file system is full to its end"
    assert (int(last[1]) + 1) * size == SIZE
    return int(last[0]) * size
