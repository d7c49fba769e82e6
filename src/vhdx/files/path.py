"""A path in a guest's volume that behaves as `pathlib.Path`, as far as reading goes."""

from __future__ import annotations

import io
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.files.base import Entry
    from vhdx.files.volume import FileVolume


class Path(Traversable):
    """A path from the root of a volume; `importlib.resources.abc.Traversable`, and some of pathlib."""

    def __init__(self, volume: FileVolume, path: str = "/") -> None:
        self._volume = volume
        self._parts = tuple(volume.resolver.parts(path))

    @property
    def name(self) -> str:
        """The last name, empty for the root."""
        return self._parts[-1] if self._parts else ""

    @property
    def suffix(self) -> str:
        """What follows the last dot of the name, the dot included."""
        stem, dot, end = self.name.rpartition(".")
        return dot + end if stem else ""

    @property
    def parent(self) -> Path:
        """The directory that it is in; the root is in itself."""
        return Path(self._volume, "/".join(self._parts[:-1]))

    def __str__(self) -> str:
        return "/" + "/".join(self._parts)

    def __repr__(self) -> str:
        return f"Path({str(self)!r} in {self._volume.title})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Path) and (self._volume, self._parts) == (other._volume, other._parts)

    def __hash__(self) -> int:
        return hash((id(self._volume), self._parts))

    def joinpath(self, *descendants: Any) -> Path:
        """The path with names appended."""
        return Path(self._volume, "/".join([*self._parts, *map(str, descendants)]))

    def __truediv__(self, child: Any) -> Path:
        return self.joinpath(child)

    def entry(self, *, follow: bool = True) -> Entry:
        """What stands there, with sizes, times and modes. Raises FileNotFoundError."""
        return self._volume.find(str(self), follow=follow).entry

    def exists(self) -> bool:
        """Whether there is something."""
        try:
            self.entry()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def is_dir(self) -> bool:
        """Whether it is a directory, or a link to one."""
        return self.exists() and self.entry().is_directory

    def is_file(self) -> bool:
        """Whether it is anything else."""
        return self.exists() and not self.entry().is_directory

    def is_symlink(self) -> bool:
        """Whether it is a symbolic link itself."""
        try:
            return self.entry(follow=False).target is not None
        except (FileNotFoundError, NotADirectoryError):
            return False

    def iterdir(self) -> Iterator[Path]:
        """The paths in a directory. Raises NotADirectoryError."""
        found = self._volume.find(str(self))
        if not found.entry.is_directory:
            raise NotADirectoryError(f"{self} is not a directory")
        for entry in self._volume.tree.entries(found.entry):
            yield self.joinpath(entry.name)

    def read_bytes(self) -> bytes:
        """All bytes of a file."""
        with self._volume.open(str(self)) as file:
            return file.read()

    def read_text(self, encoding: str | None = None) -> str:
        """All text of a file, UTF-8 unless something else is said."""
        return self.read_bytes().decode(encoding or "utf-8")

    @overload
    def open(
        self, mode: Literal["r"] = "r", *, encoding: str | None = None, errors: str | None = None
    ) -> io.TextIOWrapper: ...
    @overload
    def open(self, mode: Literal["rb"]) -> io.BufferedReader: ...
    def open(
        self, mode: str = "r", *, encoding: str | None = None, errors: str | None = None
    ) -> io.TextIOWrapper | io.BufferedReader:
        """The file as a file object, as text unless ``mode`` is ``"rb"``."""
        if mode == "rb":
            return self._volume.open(str(self))
        if mode != "r":
            raise ValueError(f'mode is {mode!r}, must be "r" or "rb": files of guests are only read')
        return io.TextIOWrapper(self._volume.open(str(self)), encoding=encoding or "utf-8", errors=errors)
