"""The contents of a guest's file as a file object."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from vhdx.files.base import Content

BUFFER_SIZE = 1 << 20


class ContentStream(io.RawIOBase):
    """A cursor over a file, read-only."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Read up to the length of the buffer; 0 at the end."""
        self._check_open()
        view = memoryview(buffer).cast("B")
        data = self._content.pread(len(view), self._position)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move the cursor; it may stand behind the end, where reads return nothing."""
        self._check_open()
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._content.size}
        if whence not in bases:
            raise ValueError(f"unknown whence: {whence}")
        position = bases[whence] + offset
        if position < 0:
            raise ValueError(f"negative position: {position}")
        self._position = position
        return position

    def tell(self) -> int:
        self._check_open()
        return self._position

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")


def opened(content: Content) -> io.BufferedReader:
    """A buffered file object over a file's contents."""
    return io.BufferedReader(ContentStream(content), BUFFER_SIZE)
