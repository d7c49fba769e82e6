"""A directory of the host that files are written below, and nothing anywhere else.

Every name is opened from the directory before it and no symbolic link is followed, so that neither ``..`` nor
a link in the way, one that was just copied for instance, leads out. Nothing that is there is written to: a
file is made anew or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

Parts = tuple[str, ...]
_DIRECTORY = (
    os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)

_MOST_HELD = 64
"""Directories that are held open, so that deep trees need neither as many nor the whole way each time."""


class Target:
    """Makes files, directories and links below a directory; ``force`` replaces what was there before.

    ``distinct`` says that no host takes two of the names for one, so that none has to be remembered.
    """

    def __init__(self, root: str, *, force: bool = False, distinct: bool = False) -> None:
        if os.open not in os.supports_dir_fd:
            raise OSError(errno.ENOTSUP, "files are copied out only where directories can be held open", root)
        self._root = os.open(root, _DIRECTORY & ~getattr(os, "O_NOFOLLOW", 0))
        self._force = force
        self._distinct = distinct
        self._made: set[tuple[int, int]] = set()
        self._held: list[tuple[Parts, int]] = []

    def close(self) -> None:
        """Let go of it."""
        for _, descriptor in self._held:
            os.close(descriptor)
        self._held.clear()
        os.close(self._root)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def directory(self, parts: Parts) -> int:
        """A descriptor of a directory below, valid until the next call."""
        while self._held and parts[: len(self._held[-1][0])] != self._held[-1][0]:
            os.close(self._held.pop()[1])
        at, descriptor = self._held[-1] if self._held else ((), self._root)
        for part in parts[len(at) :]:
            descriptor = os.open(part, _DIRECTORY, dir_fd=descriptor)
            at = (*at, part)
            self._held.append((at, descriptor))
            if len(self._held) > _MOST_HELD:
                os.close(self._held.pop(0)[1])
        return descriptor

    def make_directory(self, parts: Parts) -> None:
        """A directory, which may be there already unless it was made under another name in this run."""
        above = self.directory(parts[:-1])
        try:
            os.mkdir(parts[-1], 0o700, dir_fd=above)
        except FileExistsError:
            status = os.stat(parts[-1], dir_fd=above, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode) or (status.st_dev, status.st_ino) in self._made:
                raise
        self._remember(os.stat(parts[-1], dir_fd=above, follow_symlinks=False))

    @contextlib.contextmanager
    def new_file(self, parts: Parts) -> Iterator[int]:
        """A descriptor of a new file; what raises in the block leaves none behind."""
        above = self.directory(parts[:-1])
        self._make_room(parts[-1], above)
        descriptor = os.open(parts[-1], _NEW, 0o600, dir_fd=above)
        try:
            yield descriptor
            self._remember(os.fstat(descriptor))
        except BaseException:
            os.unlink(parts[-1], dir_fd=self.directory(parts[:-1]))
            raise
        finally:
            os.close(descriptor)

    def new_link(self, parts: Parts, first: Parts) -> None:
        """Another name for a file that was made before."""
        source = os.dup(self.directory(first[:-1]))
        try:
            above = self.directory(parts[:-1])
            self._make_room(parts[-1], above)
            os.link(first[-1], parts[-1], src_dir_fd=source, dst_dir_fd=above, follow_symlinks=False)
        finally:
            os.close(source)

    def new_symlink(self, parts: Parts, target: str) -> int:
        """A symbolic link; a descriptor of the directory that it is in."""
        above = self.directory(parts[:-1])
        self._make_room(parts[-1], above)
        os.symlink(target, parts[-1], dir_fd=above)
        self._remember(os.stat(parts[-1], dir_fd=above, follow_symlinks=False))
        return above

    def new_node(self, parts: Parts, mode: int, device: tuple[int, int]) -> int:
        """A device or FIFO; a descriptor of the directory that it is in."""
        above = self.directory(parts[:-1])
        self._make_room(parts[-1], above)
        os.mknod(parts[-1], mode, os.makedev(*device), dir_fd=above)
        self._remember(os.stat(parts[-1], dir_fd=above, follow_symlinks=False))
        return above

    def _make_room(self, name: str, above: int) -> None:
        """Take away what was there before this run, where that is wanted."""
        try:
            status = os.stat(name, dir_fd=above, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not self._force or stat.S_ISDIR(status.st_mode) or (status.st_dev, status.st_ino) in self._made:
            raise FileExistsError(errno.EEXIST, "File exists", name)
        os.unlink(name, dir_fd=above)

    def _remember(self, status: os.stat_result) -> None:
        if not self._distinct:
            self._made.add((status.st_dev, status.st_ino))
