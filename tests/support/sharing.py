"""File systems of this host that let files share space, on loop devices. They need root."""

import contextlib
import itertools
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.layout import MIB
from tests.support.tools import needs
from vhdx.storage.file import FileStorage

MAKERS = {"xfs": ["mkfs.xfs", "-q", "-m", "reflink=1"], "btrfs": ["mkfs.btrfs", "-q"]}
SHARING = needs("mkfs.xfs", "mkfs.btrfs")
"""The mark of tests that need them."""


@contextlib.contextmanager
def mounted(kind: str, folder: Path, size: int = 400 * MIB) -> Iterator[Path]:
    """An empty file system, gone at the end."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    with open(folder / "disk", "wb") as file:
        file.truncate(size)
    subprocess.run([*MAKERS[kind], str(folder / "disk")], check=True, capture_output=True)
    place = folder / "m"
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", str(folder / "disk"), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
        (folder / "disk").unlink()


@contextlib.contextmanager
def writes() -> Iterator[list[int]]:
    """The lengths of all that is written to files, byte by byte."""
    lengths: list[int] = []
    inner = FileStorage._write

    def counted(self: FileStorage, data: bytes | bytearray | memoryview, file_offset: int) -> None:
        lengths.append(len(data))
        inner(self, data, file_offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileStorage, "_write", counted)
        yield lengths


@contextlib.contextmanager
def same_identities() -> Iterator[None]:
    """Whatever is made inside gets identities by counting, so that files can be compared byte by byte."""
    numbers = itertools.count(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=next(numbers), version=4))
        yield
