"""From a parent locator to a verified file [MS-VHDX 2.6.2.6]: which files may be tried, and which is it.

A path that comes out of an image is not to be trusted. By default only files at or below the child's own
directory are looked at, wherever links lead; the identity of what is found decides, never its name.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from vhdx.errors import ParentMismatchError, ParentNotFoundError, UnsupportedImageError, VhdxError
from vhdx.format import locator
from vhdx.image import image, metadata
from vhdx.storage.file import open_for_reading
from vhdx.text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from uuid import UUID

    from vhdx.image.image import Image
    from vhdx.storage.base import ReadableStorage

MAXIMUM_DEPTH = 256


def open_regular_file(path: str, lock: bool) -> ReadableStorage:
    """Open a regular file to read it. Raises OSError and ValueError."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("is not a regular file")
    return open_for_reading(path, lock=lock)


@dataclass(frozen=True, slots=True)
class ParentPolicy:
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


def open_chain(leaf: Image, policy: ParentPolicy, *, lock: bool) -> list[Image]:
    """The image and all its parents, each opened and verified. Closes what it opened if one is missing."""
    layers = [leaf]
    try:
        while layers[-1].metadata.has_parent:
            if len(layers) >= MAXIMUM_DEPTH:
                raise UnsupportedImageError(
                    f"the chain has more than {MAXIMUM_DEPTH} images", image=leaf.name
                )
            layers.append(_Search(layers, policy, lock=lock).parent())
    except BaseException:
        for layer in layers[1:]:
            layer.storage.close()
        raise
    return layers


class _Search:
    """One search for the parent of the last layer."""

    def __init__(self, layers: list[Image], policy: ParentPolicy, *, lock: bool) -> None:
        self._child = layers[-1]
        self._policy = policy
        self._lock = lock
        self._values = self._child.metadata.locator or {}
        self._linkages = metadata.linkages(self._values)
        self._in_chain = {layer.file.identity() for layer in layers}
        self._home = (
            os.path.dirname(os.path.realpath(self._child.name))
            if self._child.file.identity() is not None
            else None
        )
        self._refused: dict[str, str] = {}
        self._mismatch = False

    def parent(self) -> Image:
        """The parent, opened. Raises ParentNotFoundError or ParentMismatchError with every path tried."""
        for path in self._candidates():
            if self._is_parent(path):
                return self._opened(path)
        for directory in self._policy.directories:
            found = self._found_in(directory)
            if found is not None:
                return self._opened(found)
        raise self._failure()

    def _candidates(self) -> Iterator[str]:
        yield from self._policy.files
        if self._home is None:
            self._refused["the paths in the image"] = "a file object has no directory to start from"
            return
        seen = set()
        for key in locator.PATH_KEYS:
            for path in self._paths_of(key, self._values.get(key, ""), self._home):
                if path not in seen and self._may_be_tried(path, self._home):
                    yield path
                seen.add(path)

    def _paths_of(self, key: str, value: str, home: str) -> Iterator[str]:
        """The host's paths for a value of the locator, and the bare name beside the child."""
        if not value:
            return
        parts = [part for part in value.replace("\\", "/").split("/") if part not in ("", ".")]
        if key == locator.RELATIVE_PATH:
            yield ignoring_case(home, parts)
        elif self._policy.any_parent:
            yield from _host_paths(value)
        else:
            self._refused[value] = "an absolute path from inside an image is only followed with --any-parent"
        if parts:
            yield ignoring_case(home, parts[-1:])

    def _may_be_tried(self, path: str, home: str) -> bool:
        real = os.path.realpath(path)
        if self._policy.any_parent or os.path.commonpath([real, home]) == home:
            return True
        self._refused[path] = f"leads out of {home}, which is only followed with --any-parent or when named"
        return False

    def _is_parent(self, path: str) -> bool:
        identity = self._identity_of(path)
        if identity is None:
            return False
        if identity in self._linkages:
            return True
        self._mismatch = True
        self._refused[path] = f"is another image, or was written to: its DataWriteGuid is {identity}"
        return False

    def _identity_of(self, path: str) -> UUID | None:
        """The DataWriteGuid of a file that may be a parent; None after noting why it may not."""
        try:
            file = self._policy.open_file(path, False)
        except (OSError, ValueError) as error:
            self._refused[path] = getattr(error, "strerror", None) or str(error)
            return None
        try:
            if file.identity() in self._in_chain - {None}:
                self._refused[path] = "is in the chain already"
                return None
            return image.write_identity(file).data_write_guid
        except (OSError, VhdxError) as error:
            self._refused[path] = error.message if isinstance(error, VhdxError) else str(error)
            return None
        finally:
            file.close()

    def _found_in(self, directory: str) -> str | None:
        """The file of a directory that has the parent's identity."""
        try:
            names = sorted(entry.name for entry in os.scandir(directory) if entry.is_file())
        except OSError as error:
            self._refused[directory] = error.strerror or str(error)
            return None
        for name in names:
            path = os.path.join(directory, name)
            if self._identity_of(path) in self._linkages:
                return path
            self._refused.pop(path, None)
        self._refused[directory] = f"none of its {len(names)} files has the parent's identity"
        return None

    def _opened(self, path: str) -> Image:
        """Open what was recognised, with a lock now, and verify it again under the lock."""
        file = self._policy.open_file(path, self._lock)
        try:
            parent = image.load(file)
            if parent.header.data_write_guid not in self._linkages:
                raise ParentMismatchError("the file changed while it was opened", image=path)
            ours, theirs = self._child.geometry.logical_sector_size, parent.geometry.logical_sector_size
            if ours != theirs:
                raise ParentMismatchError(
                    f"its logical sectors have {theirs} bytes, those of its child {self._child.name} {ours}",
                    image=path,
                    rule="2.6.2.4",
                )
        except BaseException:
            file.close()
            raise
        return parent

    def _failure(self) -> VhdxError:
        kind = ParentMismatchError if self._mismatch else ParentNotFoundError
        wanted = " or ".join(str(guid) for guid in sorted(self._linkages))
        tried = "".join(f"\n  {quoted(path)}: {quoted(reason)}" for path, reason in self._refused.items())
        return kind(
            f"the parent with DataWriteGuid {wanted} was not found. Tried:{tried or ' nothing'}\n",
            image=self._child.name,
            structure="parent locator",
            rule="2.6.2.6",
            next_command=f"vhdx rebase {self._child.name} --parent FILE",
        )


def ignoring_case(directory: str, parts: list[str]) -> str:
    """The path of ``parts`` below a directory, where a part that is not there stands for one in another case.

    Images come from hosts on which case does not matter.
    """
    path = directory
    for part in parts:
        exact = os.path.join(path, part)
        path = exact if os.path.lexists(exact) else os.path.join(path, _same_but_case(path, part))
    return path


def _same_but_case(directory: str, name: str) -> str:
    try:
        matches = sorted(entry for entry in os.listdir(directory) if entry.casefold() == name.casefold())
    except OSError:
        return name
    return matches[0] if matches else name


def _host_paths(value: str) -> Iterator[str]:
    """What an absolute path of a Windows host may be here: itself, or where WSL mounts its drive."""
    plain = value.removeprefix("\\\\?\\")
    if os.name == "nt":
        yield value
    elif len(plain) > 2 and plain[1] == ":" and plain[0].isascii() and plain[0].isalpha():
        parts = [part for part in plain[2:].replace("\\", "/").split("/") if part]
        yield ignoring_case(f"/mnt/{plain[0].lower()}", parts)
    elif plain.startswith("/"):
        yield plain
