"""Small disks and block devices of the host; they need root."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SMALL = 16 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    _as_root("mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def block_device() -> Iterator[Callable[[Path], Path]]:
    """Makes a block device of a file."""
    made: list[str] = []

    def attach(file: Path) -> Path:
        made.append(_as_root("losetup", "--find", "--show", str(file)).strip())
        return Path(made[-1])

    try:
        yield attach
    finally:
        for device in made:
            subprocess.run(["losetup", "--detach", device], check=True)


def _as_root(*command: str) -> str:
    if os.geteuid() != 0:
        pytest.skip(f"{command[0]} needs root")
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip(f"not installed: {command[0]}")
    if done.returncode:
        pytest.skip(f"{command[0]} is not possible here: {done.stderr.strip()}")
    return done.stdout
