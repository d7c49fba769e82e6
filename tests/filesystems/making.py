"""Vocabulary of tests of guests' file systems: filled, half emptied, examined, free bytes spoilt."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.tools import REQUIRED
from vhdx.filesystems.base import examine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vhdx.filesystems.base import Examined, Read, Recognised

    Recognise = Callable[[Read, int], Recognised | None]

KIB, MIB = 1 << 10, 1 << 20


def need(*programs: str) -> None:
    """Skips where a program is missing; where the project is tested for all, that is a failure."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        unavailable(f"not installed: {', '.join(missing)}")


def unavailable(reason: str) -> None:
    """What cannot be tested here: a skip with its reason, a failure under CI."""
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


def run(*words: str | Path, codes: Iterable[int] = (0,), text: str | None = None) -> str:
    """What a program says. Fails with that where its exit code is none of ``codes``."""
    done = subprocess.run(words, capture_output=True, text=True, input=text, check=False)
    assert done.returncode in set(codes), f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def raw_file(path: Path, size: int) -> Path:
    """A file of zeros, which takes no space."""
    with open(path, "wb") as file:
        file.truncate(size)
    return path


def mounts(image: Path) -> bool:
    """Whether this machine mounts the file system in a file, for writing."""
    if os.geteuid():
        return False
    with tempfile.TemporaryDirectory(prefix="mount-", dir=image.parent) as point:
        done = subprocess.run(["mount", "-o", "loop", image, point], capture_output=True, check=False)
        if done.returncode == 0:
            run("umount", point)
    return done.returncode == 0


@contextlib.contextmanager
def mounted(image: Path, *options: str) -> Iterator[Path]:
    """The file system in a file, mounted while the block runs."""
    with tempfile.TemporaryDirectory(prefix="mount-", dir=image.parent) as point:
        run("mount", "-o", ",".join(("loop", *options)), image, point)
        try:
            yield Path(point)
        finally:
            run("umount", point)


def fill(folder: Path, seed: int, total: int, most: int = 200) -> dict[str, str]:
    """Files of log-normal sizes with random bytes, in some folders: name and hash of each."""
    rng = random.Random(seed)
    hashes, written = {}, 0
    for number in range(most):
        size = min(int(rng.lognormvariate(9.5, 2)), total // 8)
        if written + size > total:
            break
        name = f"d{rng.randrange(5)}/f{number}"
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data := rng.randbytes(size))
        hashes[name] = hashlib.sha256(data).hexdigest()
        written += size
    return hashes


def half(names: Iterable[str], seed: int) -> list[str]:
    """Half of the names, at random."""
    chosen = sorted(names)
    return random.Random(seed).sample(chosen, len(chosen) // 2)


def hashes_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """The hashes of the files' contents now; a file that cannot be read says so."""
    return {name: _hash(folder / name) for name in names}


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return str(error)


def look(recognise: Recognise, image: Path) -> Examined:
    """Both passes over the file system that fills a file. Free ranges may be asked as long as it is there."""

    def read(length: int, offset: int) -> bytes:
        with open(image, "rb") as file:
            data = os.pread(file.fileno(), length, offset)
        assert len(data) == length, f"read of {length} bytes at {offset} leaves the file"
        return data

    size = image.stat().st_size
    found = recognise(read, size)
    assert found is not None
    return examine(found, size)


def spoil(image: Path, ranges: Iterable[tuple[int, int]], seed: int = 1) -> int:
    """The noise test's noise: random bytes over all ranges; how many."""
    noise, total = random.Random(seed).randbytes(MIB), 0
    with open(image, "r+b") as file:
        for offset, length in ranges:
            total += length
            for begin in range(0, length, MIB):
                os.pwrite(file.fileno(), noise[: min(MIB, length - begin)], offset + begin)
    return total
