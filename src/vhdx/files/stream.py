"""The contents of a guest's file as a file object."""

from __future__ import annotations

import io

from vhdx.errors import FileSystemError
from vhdx.files.sending import PIECE
from vhdx.storage.cursor import Cursor
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.files.base import Content


class ContentStream(Cursor):
    """A cursor over a file, read-only."""

    name_of_it = "file"

    def __init__(self, content: Content) -> None:
        super().__init__()
        self._content = content

    @property
    def length(self) -> int:
        """The size of the file."""
        return self._content.size

    def fill(self, view: memoryview, position: int) -> None:
        """Read exactly as many bytes as a buffer has."""
        data = self._content.pread(len(view), position)
        if len(data) != len(view):
            raise FileSystemError(f"the file ends at {position + len(data)}, before its size")
        view[:] = data


def opened(content: Content) -> io.BufferedReader:
    """A buffered file object over a file's contents."""
    return io.BufferedReader(ContentStream(content), PIECE)
