"""A mounted ext3 or ext4 at work, and its disk as it would be if the power failed now.

The file that is its disk lies in another file system. Freezing that one stops all writes between two of
them: a copy made meanwhile is what a power cut would leave.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import threading
from typing import TYPE_CHECKING, NamedTuple

from tests.filesystems.making import MIB, mounted, raw_file, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 40 * MIB
_HELD = 6
_MOST_FILES = 60


class Load(NamedTuple):
    """How the file system is made and mounted."""

    name: str
    make: str
    mount: str


LOADS = (
    Load("ext4, 1 KiB", "-t ext4 -b 1024 -J size=4", "commit=1"),
    Load("ext4, 4 KiB, as WSL", "-t ext4 -b 4096 -G 4096 -J size=4", "commit=1,discard"),
    Load("ext3, 1 KiB", "-t ext3 -b 1024 -J size=1", "commit=1"),
    Load(
        "ext4, 32 bits, uninit_bg", "-t ext4 -O ^64bit,^metadata_csum,uninit_bg -b 1024 -J size=2", "commit=1"
    ),
    Load("journal_checksum", "-t ext4 -O ^metadata_csum -b 1024 -J size=2", "commit=1,journal_checksum"),
    Load("journal_async_commit", "-t ext4 -b 1024 -J size=4", "commit=1,journal_async_commit,data=writeback"),
    Load("data=journal", "-t ext4 -b 1024 -J size=8", "commit=1,data=journal"),
    Load("bigalloc, orphan file", "-t ext4 -O bigalloc,orphan_file -b 1024 -C 4096 -J size=4", "commit=1"),
)


class Cut(NamedTuple):
    """A disk at a moment, and the files that were durable then and not being deleted."""

    image: Path
    hashes: dict[str, str]


class Machine:
    """A file system that a thread keeps busy until its disk has been copied often enough."""

    def __init__(self, outer: Path, disk: Path, point: Path, seed: int) -> None:
        self._outer, self._disk, self._point = outer, disk, point
        self._rng = random.Random(seed)
        self._durable: dict[str, str] = {}
        self._files: list[str] = []
        self._held: list[int] = []
        self._stop = threading.Event()
        self.failure: BaseException | None = None
        self.steps = 0

    def cut(self, image: Path) -> Cut:
        """The disk as it is now."""
        before = dict(self._durable)
        run("fsfreeze", "-f", self._outer)
        try:
            shutil.copyfile(self._disk, image)
        finally:
            run("fsfreeze", "-u", self._outer)
        after = dict(self._durable)
        return Cut(image, {name: digest for name, digest in before.items() if name in after})

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Work in a thread while the block runs."""
        thread = threading.Thread(target=self._work)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
            for descriptor in self._held:
                os.close(descriptor)
        if self.failure is not None:
            raise self.failure

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                self.steps += 1
                self._step()
        except BaseException as error:
            self.failure = error
            raise

    def _step(self) -> None:
        if len(self._files) > _MOST_FILES or (self._files and self._rng.random() < 0.3):
            self._delete()
        else:
            self._write()
        if self._rng.random() < 0.1:
            # Blocks of directories are metadata: deleting them makes revoke records.
            (folder := self._point / f"dir{self.steps}").mkdir()
            for number in range(40):
                (folder / f"{'long' * 40}{number}").touch()
            if self._rng.random() < 0.5:
                _sync(folder)
            shutil.rmtree(folder)

    def _write(self) -> None:
        name = f"f{self.steps}"
        data = self._rng.randbytes(min(int(self._rng.lognormvariate(9.5, 2)), MIB))
        with open(self._point / name, "wb") as file:
            file.write(data)
            file.flush()
            if durable := self._rng.random() < 0.5:
                os.fsync(file.fileno())
        self._files.append(name)
        if durable:
            self._durable[name] = hashlib.sha256(data).hexdigest()

    def _delete(self) -> None:
        name = self._files.pop(self._rng.randrange(len(self._files)))
        self._durable.pop(name, None)
        if self._rng.random() < 0.4:
            self._held.append(os.open(self._point / name, os.O_RDWR))
        (self._point / name).unlink()
        if len(self._held) > _HELD:
            os.ftruncate(self._held[0], os.fstat(self._held[0]).st_size // 2)
            os.close(self._held.pop(0))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def machine(folder: Path, load: Load, seed: int) -> Iterator[Machine]:
    """A machine at work."""
    outer = raw_file(folder / "outer", 2 * SIZE)
    run("mkfs.ext4", "-q", "-F", "-O", "^has_journal", outer)
    with mounted(outer) as below:
        disk = raw_file(below / "disk", SIZE)
        run("mkfs.ext4", "-q", "-F", *load.make.split(), disk)
        (folder / "inner").mkdir()
        run("mount", "-o", f"loop,{load.mount}", disk, folder / "inner")
        try:
            worker = Machine(below, disk, folder / "inner", seed)
            with worker.busy():
                yield worker
        finally:
            run("umount", folder / "inner")
