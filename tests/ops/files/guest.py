"""A guest's tree made of values, as hostile as no file system can be made by honest programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.errors import FileSystemError
from vhdx.files.base import Entry, Kind
from vhdx.files.library import HeldContent
from vhdx.files.resolve import Found
from vhdx.files.walk import walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.files.walk import Step

Node = tuple[str, Kind, object]
"""Name, kind, and bytes, a target, or the nodes below; bytes None cannot be read."""


class Guest:
    """What jobs use of a volume."""

    is_windows = False

    def __init__(self, nodes: list[Node]) -> None:
        self.told: list[str] = []
        self.tell = self.told.append
        self.tree = self
        self._count = 1
        self.root = Entry("", Kind.DIRECTORY, 0, 1, handle=nodes)

    def steps(self, start: Entry) -> Iterator[Step]:
        return walk(self, start, self.tell)

    def find(self, path: str) -> Found:
        """As of a volume: links followed, of which these trees have none that lead to directories."""
        if path.endswith("to-directory"):
            return Found(self.root, ())
        raise FileNotFoundError(path)

    def names(self, directory: Entry) -> Iterator[tuple[str, Entry | None]]:
        return ((each.name, each if each.is_directory else None) for each in self.entries(directory))

    def entries(self, directory: Entry) -> Iterator[Entry]:
        for name, kind, what in directory.handle:
            self._count += 1
            size = len(what) if isinstance(what, bytes) else 9 if what is None else 0
            target = what if isinstance(what, str) else None
            yield Entry(
                name, kind, size, self._count, mode=0o4755, modified=10**18, target=target, handle=what
            )

    def content(self, entry: Entry, stream: str | None = None) -> HeldContent:
        if entry.handle is None:
            raise FileSystemError("it cannot be read")
        return HeldContent(entry.handle)

    def attributes(self, entry: Entry) -> Iterator[tuple[str, bytes]]:
        yield from ()

    def streams(self, entry: Entry) -> tuple[str, ...]:
        return ()

    @property
    def everything(self) -> Found:
        return Found(self.root, ())
