"""The noise test: what is called free is overwritten, and nobody may notice."""

import contextlib
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.support.tools import IS_ROOT, needs
from vhdx.filesystems.base import Examined, examine


def _reason() -> str | None:
    """Why nothing can be mounted by FUSE on this machine."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"no FUSE here: {error}"
    return None if IS_ROOT else "only root can mount here"


_NO_FUSE = _reason()
FUSE = pytest.mark.skipif(_NO_FUSE is not None, reason=str(_NO_FUSE))
"""The device is the machine's to give, so CI skips without it, too."""

needs_partclone = needs("partclone.ntfs", "partclone.fat", "partclone.exfat")


def reader(path: Path) -> Callable[[int, int], bytes]:
    """Reads of a file as readers of file systems want them."""

    def read(length: int, offset: int) -> bytes:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(length)

    return read


def over(data: bytes | bytearray) -> Callable[[int, int], bytes]:
    """The same of bytes in memory."""
    return lambda length, offset: bytes(data[offset : offset + length])


def examined(room: ModuleType, path: Path) -> Examined:
    """Both passes over the file system in a file."""
    size = path.stat().st_size
    found = room.recognise(reader(path), size)
    assert found is not None
    return examine(found, size)


def clean(room: ModuleType, path: Path) -> Examined:
    """The same, where nothing speaks against it."""
    result = examined(room, path)
    assert result.file_system.reasons == ()
    assert result.file_system.state == "clean"
    return result


def reason(room: ModuleType, path: Path) -> str:
    """Why nothing of it may be called free; then nothing is."""
    result = examined(room, path)
    assert result.file_system.free is None
    assert list(result.free_ranges()) == []
    (told,) = result.file_system.reasons
    return told


def scribble(path: Path, result: Examined) -> int:
    """Overwrite every byte that is called free with noise, and count them."""
    noise = np.random.default_rng(7).bytes((1 << 20) + 4096)
    total = end = 0
    with open(path, "r+b") as file:
        for offset, length in result.free_ranges():
            assert offset >= end
            end = offset + length
            file.seek(offset)
            for done in range(0, length, 1 << 20):
                shift = (offset + done) // 512 % 4096
                file.write(noise[shift : shift + min(1 << 20, length - done)])
            total += length
    assert end <= path.stat().st_size
    assert total == result.file_system.free
    return total


def run(*command: str | Path, stdin: bytes = b"") -> str:
    """What a program says; it must succeed."""
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout.decode(errors="replace")


def number(text: str, pattern: str) -> int:
    """The number in what a program said."""
    found = re.search(pattern, text)
    assert found, text
    return int(found[1])


def contents(seed: int, count: int, largest: int) -> list[bytes]:
    """Files of log-normal sizes."""
    random = np.random.default_rng(seed)
    sizes = np.minimum(random.lognormal(9, 1.6, count).astype(int), largest)
    return [random.bytes(int(size)) for size in sizes]


def aged(folder: Path, seed: int, count: int = 240, largest: int = 1 << 19) -> None:
    """Write files, delete half of them, and write some again."""
    for index, data in enumerate(contents(seed, count, largest)):
        where = folder / f"d{index % 7}"
        where.mkdir(exist_ok=True)
        (where / f"file {index}").write_bytes(data)
    for index in range(0, count, 2):
        (folder / f"d{index % 7}" / f"file {index}").unlink()
    for index, data in enumerate(contents(seed + 1, count // 8, largest)):
        (folder / f"again {index}").write_bytes(data)


@contextlib.contextmanager
def mounted(command: list[str | Path], folder: Path) -> Iterator[Path]:
    """A folder in which the file system is mounted by a command that takes the folder last."""
    folder.mkdir(exist_ok=True)
    run(*command, folder)
    try:
        yield folder
    finally:
        run("umount", folder)
