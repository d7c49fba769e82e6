"""A virtual disk as a file object, for everything in Python that wants one."""

from __future__ import annotations

import errno
import io

from vhdx.disk.base import bytes_in, bytes_of
from vhdx.reentry import Entrance, one_entrance
from vhdx.storage.cursor import Cursor
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.disk.base import Buffer, VirtualDisk


class DiskStream(Cursor):
    """A cursor over a disk. Closing it leaves the disk open; wrap it in io.BufferedReader for small reads."""

    def __init__(self, disk: VirtualDisk) -> None:
        super().__init__()
        self._disk = disk
        self._entrance = Entrance("the stream")  # its position would not be where the other call left it

    def __repr__(self) -> str:
        return f"<stream of {self._disk!r}>"

    @property
    def length(self) -> int:
        """The size of the disk."""
        return self._disk.size

    def fill(self, view: memoryview, position: int) -> None:
        """Read exactly as many bytes as a buffer has."""
        self._disk.preadinto(view, position)

    @one_entrance
    def readinto(self, buffer: Buffer) -> int:
        """Read up to the length of the buffer; 0 at the end of the disk."""
        return super().readinto(bytes_of(buffer))

    def writable(self) -> bool:
        return not self._disk.read_only

    @one_entrance
    def write(self, data: Buffer, /) -> int:
        """Write up to the end of the disk; how many bytes that were. Durable after ``flush`` of the disk.

        Raises io.UnsupportedOperation for a disk that is read-only, OSError (ENOSPC) at its end.
        """
        self.check_open()
        view = bytes_in(data)
        count = max(0, min(len(view), self._disk.size - self._position))
        if len(view) and not count and not self._disk.read_only:
            raise OSError(errno.ENOSPC, "the disk ends here")
        self._disk.pwrite(view[:count], min(self._position, self._disk.size))
        self._position += count
        return count

    @one_entrance
    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move the cursor; it may stand behind the end of the disk, where reads return nothing."""
        return super().seek(offset, whence)
