"""The volumes of a disk whose files can be read, and which of them is meant."""

from __future__ import annotations

import errno
import io
from _thread import RLock  # as `threading` has it, which takes longer to import
from collections import deque

from vhdx.disk import volumes as disk_volumes
from vhdx.errors import FileSystemError, UnsupportedImageError
from vhdx.files.glob import matcher
from vhdx.files.open import ADAPTERS, open_tree
from vhdx.files.resolve import Resolver
from vhdx.files.stream import opened
from vhdx.files.walk import until_damage, walk
from vhdx.typed import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from vhdx.disk.opened import Disk
    from vhdx.disk.volumes import FileSystemOn, Volume
    from vhdx.files.base import Entry, Tell, Tree
    from vhdx.files.resolve import Found
    from vhdx.files.walk import Step

_MOST_TOLD = 1000


class FileVolume:
    """A volume of a disk and the files in it. Only reads; lives as long as the disk is open.

    ``told`` holds the last sentences about what is damaged, unless ``tell`` hears them.
    """

    def __init__(self, disk: Disk, volume: Volume, tell: Tell | None = None) -> None:
        self._whole = disk
        self._volume = volume
        self.told: deque[str] = deque(maxlen=_MOST_TOLD)
        self.tell: Tell = tell or self.told.append
        self._opening = RLock()
        self._tree: Tree | None = None
        self._resolver: Resolver | None = None

    def __repr__(self) -> str:
        return f"<{self.title} of {self._whole!r}>"

    @property
    def summary(self) -> FileSystemOn:
        """What it says of itself: where it stands, kind, label, UUID, size, state."""
        return self._volume.summary

    @property
    def is_readable(self) -> bool:
        """Whether there is an adapter for its kind."""
        return self._volume.file_system.kind in ADAPTERS

    @property
    def title(self) -> str:
        """It in a few words: ``partition 2 (ext4, label root)``."""
        return self._volume.title

    @property
    def whole(self) -> Disk:
        """The disk on which it stands."""
        return self._whole

    @property
    def disk(self) -> Disk:
        """Its bytes, as a disk that lives as long as the whole one."""
        from vhdx.disk.parts import disk_of  # noqa: PLC0415  whoever wants its files need not wait for it

        return disk_of(self._whole, self._volume.map)

    @property
    def tree(self) -> Tree:
        """Its files, the same for all threads. Raises UnsupportedImageError, FileSystemError.

        No cached_property: from Python 3.12 on that makes several, each with a lock of its own.
        """
        with self._opening:
            if self._tree is None:
                self._tree = self._opened()
            return self._tree

    def _opened(self) -> Tree:
        file_system = self._volume.file_system
        if file_system.kind in _LOGS and file_system.state not in ("clean", "replayed"):
            why = "; ".join(file_system.reasons) or file_system.state
            self.tell(f"{self.title}: {why}; what its log holds is not seen")
        place = self._volume.map
        return open_tree(file_system.kind, place.read, place.size, self.tell, self._sent)

    def _sent(self, output: int, length: int, offset: int) -> int:
        from vhdx.disk.sending import sent  # noqa: PLC0415  it knows every format; who lists needs none more

        start, count = self._volume.map.runs(offset, length)[0]
        return sent(self._whole, output, count, start)

    @property
    def resolver(self) -> Resolver:
        """What looks its paths up."""
        with self._opening:
            if self._resolver is None:
                self._resolver = Resolver(self.tree)
            return self._resolver

    def find(self, path: str, *, follow: bool = True) -> Found:
        """The entry of a path. Raises FileNotFoundError, NotADirectoryError, OSError for a loop of links."""
        return self.resolver.find(path, follow=follow)

    @overload
    def open(self, path: str, mode: Literal["rb"] = "rb") -> io.BufferedReader: ...
    @overload
    def open(self, path: str, mode: Literal["r"], encoding: str | None = None) -> io.TextIOWrapper: ...
    def open(
        self, path: str, mode: str = "rb", encoding: str | None = None
    ) -> io.BufferedReader | io.TextIOWrapper:
        """A file of the guest as a file object, in binary unless ``mode`` is ``"r"``.

        Raises what `find` raises, IsADirectoryError, FileSystemError.
        """
        if mode not in ("r", "rb"):
            raise ValueError(f'mode is {mode!r}, must be "r" or "rb": files of guests are only read')
        found = self.find(path)
        if found.entry.is_directory:
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        stream = opened(self.tree.content(found.entry, found.stream))
        return stream if mode == "rb" else io.TextIOWrapper(stream, encoding=encoding or "utf-8")

    def walk(self, path: str = "/") -> Iterator[tuple[str, list[str], list[str]]]:
        """As `os.walk`: each directory with the names of its directories and of everything else in it."""
        start = self.find(path)
        todo = [(start.parts, start.entry)]
        seen = {start.entry.identity}
        while todo:
            parts, directory = todo.pop()
            entries = list(self.tree.entries(directory))
            below = [each for each in entries if each.is_directory and each.identity not in seen]
            seen.update(each.identity for each in below)
            names = [each.name for each in below]
            yield "/" + "/".join(parts), names, [each.name for each in entries if not each.is_directory]
            todo += [((*parts, each.name), each) for each in reversed(below) if each.name in names]

    def steps(self, start: Entry) -> Iterator[Step]:
        """An entry and everything below it; see `files.walk`."""
        return walk(self.tree, start, self.tell)

    def names(self, directory: Entry) -> Iterator[tuple[str, Entry | None]]:
        """The names in a directory, each with its entry where that is a directory itself."""
        return until_damage(self.tree.names(directory), self.tell)

    def named(self, directory: Entry) -> Iterator[tuple[str, Entry]]:
        """The entries in a directory by their names."""
        return ((entry.name, entry) for entry in until_damage(self.tree.entries(directory), self.tell))

    def glob(self, pattern: str) -> Iterator[str]:
        """The paths that match: ``*`` does not match a slash, ``**`` any number of directories."""
        matches = matcher(pattern, is_windows=self.tree.is_windows)
        for step in self.steps(self.tree.root):
            if step.parts and not step.left and matches(step.parts):
                yield "/" + "/".join(step.parts)


_LOGS = frozenset({"XFS", "NTFS", "btrfs"})
"""Kinds with a log that no adapter replays."""


def volumes(disk: Disk, *, tell: Tell | None = None) -> tuple[FileVolume, ...]:
    """The volumes of a disk whose files can be read: the whole disk, partitions, logical volumes."""
    found = (FileVolume(disk, volume, tell) for volume in disk_volumes.volumes(disk, agree=False))
    return tuple(volume for volume in found if volume.is_readable)


def chosen(
    disk: Disk,
    *,
    partition: int | None = None,
    volume: str | None = None,
    path: str = "/",
    tell: Tell | None = None,
) -> FileVolume:
    """The one volume that is meant: of this partition, of this label, UUID or name, and that has the path.

    Raises ValueError where none or several are, with what there is.
    """
    there_are = disk_volumes.volumes(disk, agree=False)
    named = [
        FileVolume(disk, each, tell)
        for each in there_are
        if partition in (None, each.partition) and (volume is None or each.is_named(volume))
    ]
    if there_are and not named:
        there = ", ".join(each.title for each in there_are)
        raise UnsupportedImageError(f"there is no volume of this name or number, only {there}")
    readable = [each for each in named if each.is_readable]
    if not readable:
        there = ", ".join(each.title for each in named) or "no file system that is known"
        kinds = ", ".join(ADAPTERS)
        raise UnsupportedImageError(f"there is no volume whose files are read ({kinds}); there is: {there}")
    if len(readable) == 1:
        return readable[0]
    having = [each for each in readable if _has(each, path)]
    if len(having) == 1:
        return having[0]
    if not having:
        raise FileNotFoundError(errno.ENOENT, "No volume has this path", path)
    there = ", ".join(each.title for each in having)
    raise ValueError(f"several volumes have {path}: {there}; choose with --partition N or --volume NAME")


def _has(volume: FileVolume, path: str) -> bool:
    """Whether a volume has a path; one that cannot be read has none."""
    try:
        volume.find(path)
    except (OSError, FileSystemError, UnsupportedImageError):
        return False
    return True
