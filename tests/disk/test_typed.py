"""What other people's programs look like to their type checkers, on the oldest Python that is supported."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import array

import numpy as np

import vhdx

with vhdx.open("disk.vhdx", "r+") as disk:
    values = np.empty(4096, dtype=np.uint8)
    disk.preadinto(values, 0)
    disk.preadinto(np.empty((8, 512), dtype=np.uint32), 0)
    disk.preadinto(memoryview(bytearray(512)), 0)
    disk.preadinto(array.array("I", bytes(512)), 0)
    disk.pwrite(values, 0)
    disk.preadinto(4096, 0)  # pyright: ignore[reportArgumentType]
    part: vhdx.Disk = disk.partition(1)
    boot: bytes = part.stream().read(512)
    titles: list[str] = [volume.title for volume in disk.volumes()]
    sizes: list[int] = [extent.length for extent in disk.extents()]
digest: str = vhdx.content_hash("disk.vhdx").digest
format_name: str = vhdx.info("disk.vhdx").format
"""


def test_pyright_knows_arrays_and_results(tmp_path: Path) -> None:
    """And refuses what is no buffer. What mypy knows it says of our own tests."""
    (tmp_path / "program.py").write_text(PROGRAM)
    words = [
        sys.executable,
        "-m",
        "basedpyright",
        "--pythonpath",
        sys.executable,
        "--pythonversion",
        "3.11",
        "--level",
        "error",
        "program.py",
    ]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
