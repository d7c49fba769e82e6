"""A directory with one file in it, the disk: what a kernel asks of a file system, answered.

The methods have the names and arguments of FUSE's operations.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from typing import TYPE_CHECKING

from vhdx.extents import ExtentKind
from vhdx.mount.answering import Answering, answering, failure
from vhdx.mount.usage import StoredBytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdx.disk.base import VirtualDisk

FILE_NAME = "disk.raw"
_ROOT, _FILE = "/", f"/{FILE_NAME}"
_BLOCK_SIZE = 4096
"""The unit of ``statfs``, which loop devices take for the smallest range worth a discard."""

# <linux/falloc.h>
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 0x01, 0x02, 0x10


class DiskDirectory(Answering):
    """The operations on a mounted disk."""

    def __init__(self, disk: VirtualDisk, *, ready: Callable[[], None], tell: Callable[[str], None]) -> None:
        super().__init__(ready=ready, tell=tell)
        self._disk = disk
        self.read_only = disk.read_only
        self._stored = StoredBytes(disk)
        self._changed_at = time.time_ns()

    @answering
    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:  # noqa: ARG002  FUSE's, here and below
        """The status of the directory or of the file."""
        write = 0 if self._disk.read_only else stat.S_IWUSR
        status = {
            "st_uid": os.getuid(),
            "st_gid": os.getgid(),
            **dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), self._changed_at),
        }
        if path == _ROOT:
            return {**status, "st_mode": stat.S_IFDIR | stat.S_IRUSR | stat.S_IXUSR | write, "st_nlink": 2}
        _expect_file(path)
        return {
            **status,
            "st_mode": stat.S_IFREG | stat.S_IRUSR | write,
            "st_nlink": 1,
            "st_size": self._disk.size,
            "st_blocks": -(-self._stored.total() // 512),
            "st_blksize": _BLOCK_SIZE,
        }

    def readdir(self, path: str, fh: int) -> list[str]:  # noqa: ARG002
        """The names in the directory."""
        return [".", "..", FILE_NAME]

    def statfs(self, path: str) -> dict[str, int]:  # noqa: ARG002
        """A file system without free space: the disk fills it."""
        return {
            "f_bsize": _BLOCK_SIZE,
            "f_frsize": _BLOCK_SIZE,
            "f_blocks": -(-self._disk.size // _BLOCK_SIZE),
            "f_namemax": 255,
        }

    @answering
    def open(self, path: str, flags: int) -> int:
        """Refuse what could not be done later; nothing needs a handle."""
        _expect_file(path)
        if self._disk.read_only and flags & (os.O_WRONLY | os.O_RDWR):
            raise failure(errno.EROFS)
        self.note_opened()
        if flags & os.O_TRUNC:
            self.truncate(path, 0)
        return 0

    @answering
    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:  # noqa: ARG002
        """The bytes of a range as far as the disk reaches."""
        length = min(size, self._disk.size - offset)
        return self._disk.pread(length, offset) if length > 0 else b""

    @answering
    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:  # noqa: ARG002
        """Write as far as the disk reaches, as a block device does; how many bytes that were."""
        room = self._disk.size - offset
        if room <= 0:
            raise failure(errno.ENOSPC)
        piece = data[:room]
        with self._changing(offset, len(piece)):
            self._disk.pwrite(piece, offset)
        return len(piece)

    @answering
    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        """Accept the size that the disk has; a disk does not change its size behind a file's back.

        A smaller one that an open file is to get is heard and has no effect: resize2fs asks for it when all
        is done, and takes it for granted. What stands behind is kept.
        """
        _expect_file(path)
        if fh is not None and 0 < length < self._disk.size and not self._disk.read_only:
            self._say(f"the disk keeps its {self._disk.size} bytes, though a program wants {length} of them")
        elif length != self._disk.size:
            raise failure(errno.EPERM)
        return 0

    @answering
    def fallocate(self, path: str, mode: int, offset: int, length: int, fh: int) -> int:  # noqa: ARG002
        """Make a range read as zeros: a hole gives its space back, a zeroed range keeps it."""
        if mode not in (PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE):
            raise failure(errno.EOPNOTSUPP)
        end = offset + length
        if end > self._disk.size and not mode & KEEP_SIZE:
            raise failure(errno.EPERM)
        length = max(0, min(end, self._disk.size) - offset)
        if length:
            with self._changing(offset, length):
                if mode & PUNCH_HOLE:
                    self._punch(length, offset)
                else:
                    self._disk.zero(length=length, offset=offset, keep_allocated=True)
        return 0

    def _punch(self, length: int, offset: int) -> None:
        """A hole: zeros for certain, which `trim` does not promise, and then its space, as far as can be.

        Only what is not zeros already is touched: a file system that lets go of everything it does not use
        is not to rewrite the table of an empty disk.
        """
        for start, count in self._data_runs(length, offset):
            self._disk.zero(length=count, offset=start)
        self._disk.trim(length=length, offset=offset)

    def _data_runs(self, length: int, offset: int) -> Iterator[tuple[int, int]]:
        """The (offset, length) of the parts of a range that hold data, neighbours made one."""
        start = end = offset
        for extent in self._disk.extents(offset=offset, length=length):
            if extent.kind is not ExtentKind.DATA:
                continue
            if extent.offset != end:
                if end > start:
                    yield start, end - start
                start = extent.offset
            end = extent.end
        if end > start:
            yield start, end - start

    @answering
    def lseek(self, path: str, offset: int, whence: int) -> int:
        """The next data or the next hole, from ``offset`` on; the end of the disk is a hole."""
        _expect_file(path)
        if not 0 <= offset < self._disk.size:
            raise failure(errno.ENXIO)
        ranges = self._disk.data_ranges(offset=offset)
        if whence == os.SEEK_DATA:
            found = next(ranges, None)
            if found is None:
                raise failure(errno.ENXIO)
            return found[0]
        if whence != os.SEEK_HOLE:
            raise failure(errno.EINVAL)
        for start, length in ranges:
            if start > offset:
                break
            offset = start + length
        return offset

    @answering
    def fsync(self, path: str, datasync: int, fh: int) -> int:  # noqa: ARG002
        """Return when everything written before is durable."""
        self._disk.flush()
        return 0

    def flush(self, path: str, fh: int) -> int:
        """Somebody closed the file: what they wrote is durable when ``close`` returns."""
        return self.fsync(path, 0, fh)

    @contextlib.contextmanager
    def _changing(self, offset: int, length: int) -> Iterator[None]:
        """Around a change: whether it succeeds or not, the range is to be counted anew."""
        try:
            yield
        finally:
            self._changed_at = time.time_ns()
            self._stored.changed(offset, length)


def _expect_file(path: str) -> None:
    if path != _FILE:
        raise failure(errno.ENOENT)
