"""What `ops.files.target` makes below a directory on hosts of POSIX: each name relative to one that is open.

No symbolic link is followed on the way, whatever somebody puts there meanwhile. `windows_below` is the same.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import TYPE_CHECKING

from vhdx.storage.looks import Found, Looks

assert sys.platform != "win32"

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_DIRECTORY = _ROOT | os.O_NOFOLLOW
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PLAIN_MODE = 0o777
"""What is kept of a mode where the owner is not: no file may act as somebody whom the guest chose."""


def open_root(path: str) -> int:
    """A directory by its path, links followed."""
    return os.open(path, _ROOT)


def open_directory(name: str, above: int) -> int:
    """A directory in another one. Raises OSError, also for a link."""
    return os.open(name, _DIRECTORY, dir_fd=above)


def make_directory(name: str, above: int) -> None:
    """A new directory. Raises FileExistsError, OSError."""
    os.mkdir(name, 0o700, dir_fd=above)


def found(name: str, above: int) -> Found:
    """What stands under a name. Raises FileNotFoundError, OSError."""
    return _found(os.stat(name, dir_fd=above, follow_symlinks=False))


def opened(descriptor: int) -> Found:
    """The same of what is open."""
    return _found(os.fstat(descriptor))


def _found(status: os.stat_result) -> Found:
    return Found((status.st_dev, status.st_ino), stat.S_ISDIR(status.st_mode))


def create(name: str, above: int) -> int:
    """A new file. Raises FileExistsError, OSError."""
    return os.open(name, _NEW, 0o600, dir_fd=above)


def withdraw(descriptor: int, name: str, above: int) -> None:  # noqa: ARG001  as of Windows
    """Take a new file away that is open still."""
    os.unlink(name, dir_fd=above)


def remove(name: str, above: int) -> None:
    """Take a file or a link away."""
    os.unlink(name, dir_fd=above)


def truncate(descriptor: int, size: int) -> None:
    """Make a file as long as this; what is added is a hole."""
    os.ftruncate(descriptor, size)


def link(name: str, above: int, first: str, first_above: int) -> None:
    """Another name for a file."""
    os.link(first, name, src_dir_fd=first_above, dst_dir_fd=above, follow_symlinks=False)


def symlink(name: str, above: int, target: str, is_directory: Callable[[], bool]) -> None:  # noqa: ARG001
    """A symbolic link. Other hosts must know whether it leads to a directory."""
    os.symlink(target, name, dir_fd=above)


def make_node(name: str, above: int, mode: int, device: tuple[int, int]) -> None:
    """A device or FIFO."""
    os.mknod(name, mode, os.makedev(*device), dir_fd=above)


def give(descriptor: int, owner: tuple[int, int]) -> None:
    """Another owner and group for what is open."""
    os.fchown(descriptor, *owner)


def set_attribute(descriptor: int, name: str, value: bytes) -> None:
    """An extended attribute of what is open. Raises OSError."""
    if not hasattr(os, "setxattr"):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    os.setxattr(descriptor, os.fsencode(name), value)


def dress(descriptor: int, looks: Looks) -> None:
    """Mode and times of what is open, behind its owner and attributes, which change them."""
    os.fchmod(descriptor, looks.permissions & (_PLAIN_MODE if looks.owner is None else 0o7777))
    if looks.modified is not None:
        os.utime(descriptor, ns=_times(looks))


def dress_name(name: str, above: int, looks: Looks) -> None:
    """Owner, mode and times of what cannot be opened."""
    if looks.owner is not None:
        os.chown(name, *looks.owner, dir_fd=above, follow_symlinks=False)
    if not stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
        os.chmod(name, looks.permissions & _PLAIN_MODE, dir_fd=above)
    if looks.modified is not None:
        os.utime(name, ns=_times(looks), dir_fd=above, follow_symlinks=False)


def _times(looks: Looks) -> tuple[int, int]:
    modified = looks.modified or 0
    return (modified if looks.accessed is None else looks.accessed), modified
