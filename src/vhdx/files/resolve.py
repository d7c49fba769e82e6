r"""From a path in a guest to its entry: links, both separators and either case where that is the rule.

Links lead through the guest's own tree and never out of it.
"""

from __future__ import annotations

import errno
import re
from _thread import RLock  # as `threading` has it, which takes longer to import
from collections import OrderedDict

from vhdx.files.base import Entry, Kind
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdx.files.base import Tree

_MOST_LINKS = 40
"""As Linux."""
_MOST_NAMES = 200_000
"""Names that are remembered, over all directories."""
_DRIVE = re.compile(r"^[A-Za-z]:(?=[\\/]|$)")


class Found(NamedTuple):
    """An entry, and the names that lead to it from the root, links resolved."""

    entry: Entry
    parts: tuple[str, ...]
    stream: str | None = None


class Resolver:
    """Looks paths up; remembers a bounded number of directories. ``named`` says what names are called.

    Any number of threads may use it.
    """

    def __init__(self, tree: Tree, named: Callable[[str], str] = str) -> None:
        self._tree, self._called = tree, named
        self._known: OrderedDict[int, dict[str, Entry]] = OrderedDict()
        self._names = 0
        self._lock = RLock()  # whoever hears of damage may look something up itself

    def find(self, path: str, *, follow: bool = True) -> Found:
        """The entry of a path. Raises FileNotFoundError, NotADirectoryError, OSError (ELOOP).

        ``follow`` says whether the last name, if it is a symbolic link, stands for where that leads.
        """
        chain: list[Entry] = [self._tree.root]
        left = self.parts(path)[::-1]
        links = 0
        while left:
            part = left.pop()
            if part == "..":
                del chain[max(1, len(chain) - 1) :]
                continue
            entry, stream = self._child(chain[-1], part, path, is_last=not left)
            if stream is not None:
                return Found(entry, (*(each.name for each in chain[1:]), entry.name), stream)
            if entry.kind is Kind.SYMLINK and (left or follow):
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, "too many symbolic links", path)
                target = entry.target or ""
                if target.startswith("/") or (self._tree.is_windows and _DRIVE.match(target)):
                    del chain[1:]
                left += self.parts(target)[::-1]
                continue
            chain.append(entry)
        return Found(chain[-1], tuple(each.name for each in chain[1:]))

    def parts(self, path: str) -> list[str]:
        """The names in a path, without empty ones and ``.``."""
        return parts_of(path, is_windows=self._tree.is_windows)

    def names(self, directory: Entry) -> dict[str, Entry]:
        """The entries of a directory by name."""
        with self._lock:
            return self._entries(directory)

    def _entries(self, directory: Entry) -> dict[str, Entry]:
        known = self._known.get(directory.identity)
        if known is not None:
            self._known.move_to_end(directory.identity)
            return known
        known = {}
        for entry in self._tree.entries(directory):
            known.setdefault(self._called(entry.name), entry)
        self._known[directory.identity] = known
        self._names += len(known)
        while self._names > _MOST_NAMES and len(self._known) > 1:
            _, forgotten = self._known.popitem(last=False)
            self._names -= len(forgotten)
        return known

    def _child(self, directory: Entry, name: str, path: str, *, is_last: bool) -> tuple[Entry, str | None]:
        """The entry of a name, or the file and the stream that it names."""
        if not directory.is_directory:
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", path)
        found = self._named(directory, name)
        if found is not None:
            return found, None
        head, colon, stream = name.partition(":")
        if colon and stream and is_last and self._tree.is_windows:
            found = self._named(directory, head)
            if found is not None and stream in self._tree.streams(found):
                return found, stream
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)

    def _named(self, directory: Entry, name: str) -> Entry | None:
        names = self.names(directory)
        found = names.get(name)
        if found is None and self._tree.is_windows:
            folded = name.casefold()
            found = next((entry for each, entry in names.items() if each.casefold() == folded), None)
        return found


def parts_of(path: str, *, is_windows: bool) -> list[str]:
    """The names in a path, without empty ones and ``.``; of Windows without a drive, either slash."""
    if is_windows:
        path = _DRIVE.sub("", path).replace("\\", "/")
    return [part for part in path.split("/") if part not in ("", ".")]
