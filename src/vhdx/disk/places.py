"""Where the parent of an image may be looked for: which paths may be tried, and what is said of the others.

A path that comes out of an image is not to be trusted. By default only files at or below the child's own
directory are looked at, wherever links lead.
"""

from __future__ import annotations

import os
import stat

from vhdx.errors import VhdxError
from vhdx.storage.file import open_for_reading
from vhdx.text import brief, quoted
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeAlias

    from vhdx.storage.base import ReadableStorage

    Named = tuple[str, bool]
    """A path as an image names it, and whether it is relative to the image."""


_ON_WINDOWS = os.name == "nt"
_LONGEST_PATH = 4096
"""Characters of a path from inside an image: no host here opens longer ones."""


def open_regular_file(path: str, lock: bool) -> ReadableStorage:
    """Open a regular file to read it. Raises OSError and ValueError."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("is not a regular file")
    return open_for_reading(path, lock=lock)


@brief("files", "directories", "any_parent")
class ParentPolicy(NamedTuple):
    """Where parents are looked for beside the child's own directory.

    ``files`` are tried as they are; in ``directories`` a parent is recognised by its identity, whatever
    its name; ``any_parent`` follows every path that an image names, wherever it leads. ``open_file`` opens
    what may be a parent, with a lock or without; whoever names other things than paths brings another one.
    """

    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    any_parent: bool = False
    open_file: Callable[[str, bool], ReadableStorage] = open_regular_file


Parents: TypeAlias = "ParentPolicy | str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None"


def policy_from(parents: Parents) -> ParentPolicy:
    """The policy that a path, several paths (files or directories), a policy or None stand for."""
    if isinstance(parents, ParentPolicy):
        return parents
    if parents is None:
        return ParentPolicy()
    named = [parents] if isinstance(parents, str | os.PathLike) else parents
    paths = [os.fspath(path) for path in named]
    return ParentPolicy(
        files=tuple(path for path in paths if not os.path.isdir(path)),
        directories=tuple(path for path in paths if os.path.isdir(path)),
    )


class Places:
    """The paths to try for one child. ``refused`` keeps every path that was not taken, with the reason."""

    def __init__(self, child: ReadableStorage, policy: ParentPolicy) -> None:
        self._policy = policy
        known = child.identity() is not None
        self._home = os.path.dirname(os.path.realpath(child.name)) if known else None
        self.refused: dict[str, str] = {}
        self.outside = False
        """Whether a path was not taken that leads out of the child's directory."""

    def candidates(self, named: Iterable[Named]) -> Iterator[str]:
        """The files that the caller names, then what the image names as far as that may be tried."""
        yield from self._policy.files
        if self._home is None:
            self.refused["the paths in the image"] = "a file object has no directory to start from"
            return
        seen = set()
        for value, relative in named:
            for path in self._paths_of(value, self._home, relative=relative):
                if path not in seen and self._may_be_tried(path, self._home):
                    yield path
                seen.add(path)

    def _paths_of(self, value: str, home: str, *, relative: bool) -> Iterator[str]:
        """The host's paths for a value of the image, and the bare name beside the child."""
        if not value:
            return
        if len(value) > _LONGEST_PATH:
            self.refused[value] = f"is longer than {_LONGEST_PATH} characters"
            return
        parts = [part for part in value.replace("\\", "/").split("/") if part not in ("", ".")]
        try:
            if _ON_WINDOWS:
                from vhdx.storage.windows_paths import refuse_as_named  # noqa: PLC0415  only there

                refuse_as_named(parts)
        except ValueError as error:
            self.refused[value] = str(error)
            return
        within = None if self._policy.any_parent else home
        if relative or _is_relative(value):  # some write relative paths where absolute ones belong
            yield from same_names(home, parts, within)
        elif self._policy.any_parent:
            yield from _host_paths(value)
        else:
            self.refused[value] = "an absolute path from inside an image is only followed with --any-parent"
        if parts:
            yield from same_names(home, parts[-1:], within)

    def _may_be_tried(self, path: str, home: str) -> bool:
        try:
            if self._policy.any_parent or is_below(path, home):
                return True
        except (OSError, ValueError) as error:  # names of this host cannot have such characters
            self.refused[path] = getattr(error, "strerror", None) or str(error)
            return False
        self.outside = True
        self.refused[path] = f"leads out of {home}, which is only followed with --any-parent or when named"
        return False

    def in_directories(self, is_parent: Callable[[str], bool], named: Iterable[str]) -> list[str]:
        """The files in the directories that the caller names for which ``is_parent`` says yes.

        Those come first whose name is that of one of the paths that are ``named``, whatever the directory.
        """
        values = [value for value in named if value]
        found = [path for directory in self._policy.directories for path in self._in(directory, is_parent)]
        return sorted(found, key=lambda path: not is_named(path, values))

    def _in(self, directory: str, is_parent: Callable[[str], bool]) -> list[str]:
        """Those of one directory, by name."""
        try:
            names = sorted(entry.name for entry in os.scandir(directory) if entry.is_file())
        except OSError as error:
            self.refused[directory] = error.strerror or str(error)
            return []
        refused = dict(self.refused)
        paths = [os.path.join(directory, name) for name in names]
        found = [path for path in paths if is_parent(path)]
        self.refused = refused
        if not found:
            self.refused[directory] = f"none of its {len(names)} files has the parent's identity"
        return found

    def opened(self, path: str) -> ReadableStorage | None:
        """A file that may be a parent, opened without a lock; None after noting why it may not."""
        try:
            return self._policy.open_file(path, False)
        except (OSError, ValueError) as error:
            self.refused[path] = getattr(error, "strerror", None) or str(error)
            return None

    def note_failure(self, path: str, error: OSError | VhdxError) -> None:
        """Say that a file could not be read as a parent."""
        self.refused[path] = error.message if isinstance(error, VhdxError) else str(error)

    def tried(self) -> str:
        """A line for each path that was not taken."""
        lines = "".join(f"\n  {quoted(path)}: {quoted(reason)}" for path, reason in self.refused.items())
        return lines or " nothing"


def is_below(path: str, directory: str) -> bool:
    """Whether a path, links resolved, is the directory or below it; untouched if its text leads out."""
    return _is_part(os.path.normpath(path), directory) and _is_part(os.path.realpath(path), directory)


def _is_part(path: str, directory: str) -> bool:
    path, directory = os.path.normcase(path), os.path.normcase(directory)
    try:
        return os.path.commonpath([path, directory]) == directory
    except ValueError:  # on another drive
        return False


def _is_relative(value: str) -> bool:
    """Whether a path begins neither at a root nor at a drive, on any host."""
    has_drive = value[1:2] == ":" and value[0].isascii() and value[0].isalpha()
    return not value.startswith(("/", "\\")) and not has_drive


def same_names(directory: str, parts: list[str], within: str | None = None) -> Iterator[str]:
    """The paths of ``parts`` below a directory, the exact one first; case and Unicode form do not matter.

    As on the hosts that images come from. Outside ``within`` nothing is looked at and no
    directory listed: that alone may wake what is mounted on demand. At most _ALIKE paths.
    """
    paths = [directory]
    for index, part in enumerate(parts):
        following: list[str] = []
        for path in paths:
            exact = os.path.join(path, part)
            if within is not None and not _is_part(os.path.normpath(exact), within):
                yield os.path.join(path, *parts[index:])
                continue
            following += [exact, *(os.path.join(path, name) for name in _same_name(path, part, within))]
        found = [path for path in following if os.path.lexists(path)]
        paths = (found or following)[:_ALIKE]
    yield from paths


_ALIKE = 16
"""How many paths one name stands for at most."""


def _same_name(directory: str, name: str, within: str | None) -> list[str]:
    """The other entries of a directory that are the name but for case and Unicode form."""
    if name in ("", ".", ".."):
        return []
    try:
        if within is not None and not is_below(directory, within):
            return []
        wanted = _folded(name)
        return sorted(entry for entry in os.listdir(directory) if entry != name and _folded(entry) == wanted)
    except (OSError, ValueError):
        return []


def _folded(name: str) -> str:
    """What names that are the same but for case and Unicode form have in common."""
    from unicodedata import normalize  # noqa: PLC0415  only who looks for parents has names to fold

    return normalize("NFC", normalize("NFC", name).casefold())


def is_named(path: str, values: Iterable[str]) -> bool:
    """Whether one of the paths that an image names ends in the name of a file."""
    name = _folded(os.path.basename(path))
    return any(_folded(value.replace("\\", "/").rpartition("/")[2]) == name for value in values)


def _host_paths(value: str) -> Iterator[str]:
    """What an absolute path of a Windows host may be here: itself, or where WSL mounts its drive."""
    plain = value.removeprefix("\\\\?\\")
    if os.name == "nt":
        from vhdx.storage.windows_paths import plain as plain_path  # noqa: PLC0415  only there

        yield plain_path(value)
    elif len(plain) > 2 and plain[1] == ":" and plain[0].isascii() and plain[0].isalpha():
        parts = [part for part in plain[2:].replace("\\", "/").split("/") if part]
        yield from same_names(f"/mnt/{plain[0].lower()}", parts)
    elif plain.startswith("/"):
        yield plain
