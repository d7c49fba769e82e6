"""A directory of the host that files are written below, and nothing anywhere else.

Every name is opened from the directory before it and no symbolic link is followed, so that neither ``..`` nor
a link in the way, one that was just copied for instance, leads out. Nothing that is there is written to: a
file is made anew or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING

if sys.platform == "win32":
    from vhdx.files.windows_names import host_name, host_target
    from vhdx.storage import windows_below as host
else:
    from vhdx.files.host_names import host_name, host_target
    from vhdx.storage import below as host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from vhdx.storage.looks import Found, Looks

__all__ = ["Target", "dress", "give", "host_name", "host_target", "set_attribute", "truncate"]

Parts = tuple[str, ...]
truncate, give, set_attribute, dress = host.truncate, host.give, host.set_attribute, host.dress
"""For what a `Target` has open."""

_MOST_HELD = 64
"""Directories that are held open, so that deep trees need neither as many nor the whole way each time."""


class Target:
    """Makes files, directories and links below a directory; ``force`` replaces what was there before.

    ``distinct`` says that no host takes two of the names for one, so that none has to be remembered.
    """

    def __init__(self, root: str, *, force: bool = False, distinct: bool = False) -> None:
        self._root = host.open_root(root)
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
            descriptor = host.open_directory(part, descriptor)
            at = (*at, part)
            self._held.append((at, descriptor))
            if len(self._held) > _MOST_HELD:
                os.close(self._held.pop(0)[1])
        return descriptor

    def make_directory(self, parts: Parts) -> None:
        """A directory, which may be there already unless it was made under another name in this run."""
        above = self.directory(parts[:-1])
        try:
            host.make_directory(parts[-1], above)
        except FileExistsError:
            there = host.found(parts[-1], above)
            if not there.is_directory or there.identity in self._made:
                raise
        self._remember(host.found(parts[-1], above))

    @contextlib.contextmanager
    def new_file(self, parts: Parts) -> Iterator[int]:
        """A descriptor of a new file; what raises in the block leaves none behind."""
        above = self.directory(parts[:-1])
        self._make_room(parts[-1], above)
        descriptor = host.create(parts[-1], above)
        try:
            yield descriptor
            self._remember(host.opened(descriptor))
        except BaseException:
            host.withdraw(descriptor, parts[-1], self.directory(parts[:-1]))
            raise
        finally:
            os.close(descriptor)

    def new_link(self, parts: Parts, first: Parts) -> None:
        """Another name for a file that was made before."""
        source = os.dup(self.directory(first[:-1]))
        try:
            above = self.directory(parts[:-1])
            self._make_room(parts[-1], above)
            host.link(parts[-1], above, first[-1], source)
        finally:
            os.close(source)

    def new_symlink(self, parts: Parts, target: str, is_directory: Callable[[], bool], looks: Looks) -> None:
        """A symbolic link; some hosts ask whether it leads to a directory."""
        above = self.directory(parts[:-1])
        self._make_room(parts[-1], above)
        host.symlink(parts[-1], above, target, is_directory)
        self._remember(host.found(parts[-1], above))
        host.dress_name(parts[-1], above, looks)

    def new_node(self, parts: Parts, mode: int, device: tuple[int, int], looks: Looks) -> None:
        """A device or FIFO."""
        above = self.directory(parts[:-1])
        self._make_room(parts[-1], above)
        host.make_node(parts[-1], above, mode, device)
        self._remember(host.found(parts[-1], above))
        host.dress_name(parts[-1], above, looks)

    def _make_room(self, name: str, above: int) -> None:
        """Take away what was there before this run, where that is wanted."""
        try:
            there = host.found(name, above)
        except FileNotFoundError:
            return
        if not self._force or there.is_directory or there.identity in self._made:
            raise FileExistsError(errno.EEXIST, "File exists", name)
        host.remove(name, above)

    def _remember(self, made: Found) -> None:
        if not self._distinct:
            self._made.add(made.identity)
