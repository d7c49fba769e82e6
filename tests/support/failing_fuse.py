"""A file system of one file that cannot be read everywhere: `failing_fuse MOUNTPOINT FILE START END`."""

import errno
import os
import stat
import sys
from typing import Any

import mfusepy


class Failing(mfusepy.Operations):  # type: ignore[misc]
    """`/image` is FILE, and reads that touch bytes START to END of it fail."""

    def __init__(self, path: str, start: int, end: int) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        self._start, self._end = start, end

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        """The directory or the file."""
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path != "/image":
            raise mfusepy.FuseOSError(errno.ENOENT)
        size = os.fstat(self._descriptor).st_size
        return {"st_mode": stat.S_IFREG | 0o444, "st_nlink": 1, "st_size": size}

    def readdir(self, path: str, fh: int) -> list[str]:
        """The names."""
        return [".", "..", "image"]

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """Bytes, or an error of the drive."""
        if offset < self._end and offset + size > self._start:
            raise mfusepy.FuseOSError(errno.EIO)
        return os.pread(self._descriptor, size, offset)


if __name__ == "__main__":
    mountpoint, file, first, last = sys.argv[1:]
    mfusepy.FUSE(Failing(file, int(first), int(last)), mountpoint, foreground=True, direct_io=False)
