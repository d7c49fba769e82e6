"""A cursor over a known number of bytes: what file objects of storages, disks and files have in common."""

from __future__ import annotations

import io

from vhdx.typed import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from typing import BinaryIO

    from typing_extensions import Buffer

    from vhdx.storage.base import ReadableStorage


class Cursor(io.RawIOBase):
    """A position, which may stand behind the end, where reads return nothing. Subclasses fill a buffer."""

    name_of_it = "stream"
    """What it is to whoever uses it after it was closed."""

    def __init__(self) -> None:
        self._position = 0

    @property
    def length(self) -> int:
        """Where the end is, in bytes."""
        raise NotImplementedError

    def fill(self, view: memoryview, position: int) -> None:
        """Read exactly as many bytes as a buffer has, none of which is behind the end."""
        raise NotImplementedError

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Read up to the length of the buffer; 0 at the end."""
        self.check_open()
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self.length - self._position))
        self.fill(view[:count], min(self._position, self.length))
        self._position += count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move the cursor."""
        self.check_open()
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.length}
        if whence not in bases:
            raise ValueError(f"unknown whence: {whence}")
        position = bases[whence] + offset
        if position < 0:
            raise ValueError(f"negative position: {position}")
        self._position = position
        return position

    def tell(self) -> int:
        self.check_open()
        return self._position

    def check_open(self) -> None:
        """Raise ValueError once it is closed."""
        if self.closed:
            raise ValueError(f"the {self.name_of_it} is closed")


def reader_of(storage: ReadableStorage) -> BinaryIO:
    """A buffered file object with a cursor of its own; closing it does not close the storage."""
    return cast("BinaryIO", io.BufferedReader(_StorageCursor(storage)))


class _StorageCursor(Cursor):
    def __init__(self, storage: ReadableStorage) -> None:
        super().__init__()
        self._storage = storage

    @property
    def length(self) -> int:
        return self._storage.size()

    def fill(self, view: memoryview, position: int) -> None:
        self._storage.read_into(view, position)
