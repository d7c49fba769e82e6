"""The files of a guest as a directory of the host, only to be read: what a kernel asks of them, answered.

The methods have the names and arguments of FUSE's operations. The kernel checks no permissions, as nobody but
whoever mounts it gets in: owners and modes are shown as the guest has them, and everything can be read.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from typing import TYPE_CHECKING, Any

from vhdx.files.base import TYPE_OF_KIND, Kind
from vhdx.files.host_names import host_name
from vhdx.files.resolve import Resolver
from vhdx.mount.answering import Answering, answering, failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdx.files.base import Content, Entry, Tree

_BLOCK_SIZE = 4096
_REMEMBERED = 3600
"""Seconds that the kernel may remember what does not change."""


class FilesDirectory(Answering):
    """The operations on the tree of a volume of ``size`` bytes. Names that no host can have are escaped."""

    def __init__(
        self,
        tree: Tree,
        *,
        size: int,
        free: int,
        ready: Callable[[], None],
        tell: Callable[[str], None],
        shared: bool = False,
    ) -> None:
        super().__init__(ready=ready, tell=tell)
        self._tree = tree
        self._size, self._free = size, free
        self._resolver = Resolver(self._tree, host_name)
        self._open: dict[int, Content] = {}
        self._numbers = itertools.count(1)
        remembered = 0 if shared else _REMEMBERED
        self.options = {
            "default_permissions": False,
            "use_ino": True,
            "attr_timeout": remembered,
            "entry_timeout": remembered,
        }

    @answering
    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:  # noqa: ARG002
        """The status of an entry, as the guest has it."""
        entry = self._entry(path)
        modified = entry.modified or 0
        status = {
            "st_mode": TYPE_OF_KIND[entry.kind] | entry.permissions,
            "st_nlink": entry.links,
            "st_uid": os.getuid() if entry.uid is None else entry.uid,
            "st_gid": os.getgid() if entry.gid is None else entry.gid,
            "st_size": entry.size,
            "st_ino": entry.identity or 1,
            "st_blocks": -(-entry.size // 512),
            "st_blksize": _BLOCK_SIZE,
            "st_mtime": modified,
            "st_atime": modified if entry.accessed is None else entry.accessed,
            "st_ctime": modified if entry.changed is None else entry.changed,
        }
        if entry.device is not None:
            status["st_rdev"] = os.makedev(*entry.device)
        return status

    @answering
    def readdir(self, path: str, fh: int) -> list[Any]:  # noqa: ARG002
        """The names in a directory, with what they are."""
        directory = self._entry(path)
        names = self._resolver.names(directory)
        kinds = [(".", stat.S_IFDIR, 0), ("..", stat.S_IFDIR, 0)]
        return kinds + [
            (name, {"st_mode": TYPE_OF_KIND[each.kind], "st_ino": each.identity or 1}, 0)
            for name, each in names.items()
        ]

    @answering
    def readlink(self, path: str) -> str:
        """Where a symbolic link leads, in the guest's words."""
        entry = self._entry(path)
        if entry.kind is not Kind.SYMLINK:
            raise failure(errno.EINVAL)
        return entry.target or ""

    @answering
    def open(self, path: str, flags: int) -> int:
        """A handle to read from."""
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise failure(errno.EROFS)
        self.note_opened()
        content = self._tree.content(self._entry(path))
        number = next(self._numbers)
        self._open[number] = content
        return number

    @answering
    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:  # noqa: ARG002
        """The bytes of a range as far as the file reaches."""
        return self._open[fh].pread(size, offset)

    def release(self, path: str, fh: int) -> int:  # noqa: ARG002
        """Nobody uses the handle any more."""
        del self._open[fh]
        return 0

    @answering
    def lseek(self, path: str, offset: int, whence: int) -> int:
        """The next data or the next hole, from ``offset`` on; the end of the file is a hole."""
        content = self._tree.content(self._entry(path))
        if not 0 <= offset < content.size:
            raise failure(errno.ENXIO)
        for start, length in content.data_ranges():
            if start + length <= offset:
                continue
            if whence == os.SEEK_DATA:
                return max(start, offset)
            if start > offset:
                return offset
            offset = start + length
        if whence == os.SEEK_DATA:
            raise failure(errno.ENXIO)
        return min(offset, content.size)

    @answering
    def listxattr(self, path: str) -> list[str]:
        """The names of its extended attributes."""
        return [name for name, _ in self._tree.attributes(self._entry(path))]

    @answering
    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:  # noqa: ARG002
        """The value of one of them."""
        for each, value in self._tree.attributes(self._entry(path)):
            if each == name:
                return value
        raise failure(errno.ENODATA)

    def statfs(self, path: str) -> dict[str, int]:  # noqa: ARG002
        """How large the volume is, and how much of it is free by its own counters."""
        free = self._free // _BLOCK_SIZE
        return {
            "f_bsize": _BLOCK_SIZE,
            "f_frsize": _BLOCK_SIZE,
            "f_blocks": self._size // _BLOCK_SIZE,
            "f_bfree": free,
            "f_bavail": free,
            "f_namemax": 255,
        }

    def _entry(self, path: str) -> Entry:
        try:
            found = self._resolver.find(path, follow=False)
        except OSError as error:  # that something is not there is nothing to tell people of
            raise (error if error.errno is None or error.filename != path else failure(error.errno)) from None
        if found.stream is not None:  # has no place in a directory of the host
            raise failure(errno.ENOENT)
        return found.entry
