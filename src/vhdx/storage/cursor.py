"""A storage as a file object to read, for whoever reads from front to back."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from vhdx.storage.base import ReadableStorage


def reader_of(storage: ReadableStorage) -> BinaryIO:
    """A buffered file object with a cursor of its own; closing it does not close the storage."""
    return cast("BinaryIO", io.BufferedReader(_Cursor(storage)))


class _Cursor(io.RawIOBase):
    def __init__(self, storage: ReadableStorage) -> None:
        self._storage = storage
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._storage.size()}[whence]
        self._at = max(0, begin + offset)
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        count = min(len(view), max(0, self._storage.size() - self._at))
        self._storage.read_into(view[:count], self._at)
        self._at += count
        return count
