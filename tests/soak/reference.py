"""What a disk must hold: a sparse raw file. Shares no code with the library."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

PIECE = 1 << 20


class Reference:
    """The contents of a disk by the book; its descriptor stays open until `close` or `remove`."""

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self.resize(size)

    @property
    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def read(self, length: int, offset: int) -> bytes:
        data = os.pread(self._descriptor, length, offset)
        assert len(data) == length, f"the reference has {len(data)} of {length} bytes at {offset}"
        return data

    def write(self, data: bytes, offset: int) -> None:
        assert offset + len(data) <= self.size
        assert os.pwrite(self._descriptor, data, offset) == len(data)

    def resize(self, size: int) -> None:
        """Cut, or add zeros."""
        os.ftruncate(self._descriptor, size)

    def data_ranges(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, int]]:
        """(offset, length) of what the host has bytes for in a range, by default in all of it."""
        end = start
        stop = self.size if stop is None else min(stop, self.size)
        while end < stop:
            try:
                start = os.lseek(self._descriptor, end, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return
                raise
            end = min(os.lseek(self._descriptor, start, os.SEEK_HOLE), stop)
            if start < end:
                yield start, end - start

    def copied(self, path: Path) -> Self:
        """The same contents in another file."""
        other = type(self)(path, self.size)
        for start, length in self.data_ranges():
            for offset in range(start, start + length, PIECE):
                other.write(self.read(min(PIECE, start + length - offset), offset), offset)
        return other

    def close(self) -> None:
        os.close(self._descriptor)

    def remove(self) -> None:
        self.close()
        self.path.unlink()
