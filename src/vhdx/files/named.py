"""Trees whose directories give names by the many, and the entries of most of them without their library."""

from __future__ import annotations

from vhdx.errors import FileSystemError
from vhdx.files.handles import H, V
from vhdx.files.libyal import LibyalTree
from vhdx.typed import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vhdx.files.base import Entry

N = TypeVar("N")
"""A name as an adapter finds it in a directory."""


class NamedTree(LibyalTree[V, H], Generic[V, H, N]):
    """A volume whose library opens only what is not plain, as it opens each entry for itself."""

    def names_in(self, directory: Entry) -> Iterator[Sequence[N]]:
        """What stands in a directory, many at once; what cannot be read is told."""
        raise NotImplementedError

    def text_of(self, name: N) -> tuple[str, bool]:
        """A name as text, and whether it may be one of a directory."""
        raise NotImplementedError

    def plain(self, names: Sequence[N]) -> list[Entry | None]:
        """The entries of names; None for what wants a look of its own."""
        raise NotImplementedError

    def opened(self, name: N) -> Entry:
        """The entry of a name, whatever it is."""
        raise NotImplementedError

    def entries(self, directory: Entry) -> Iterator[Entry]:
        """What is in a directory; what cannot be read is told and left out."""
        for names in self.names_in(directory):
            for name, entry in zip(names, self._plain(names, directory), strict=True):
                found = entry or self._opened(name, directory)
                if found is not None:
                    yield found

    def names(self, directory: Entry) -> Iterator[tuple[str, Entry | None]]:
        """The names in a directory, each with its entry where that is a directory itself."""
        text_of = self.text_of
        for names in self.names_in(directory):
            for name in names:
                text, may_be_directory = text_of(name)
                if not may_be_directory:
                    yield text, None
                    continue
                (entry,) = self._plain([name], directory)
                found = entry or self._opened(name, directory)
                if found is not None:
                    yield text, found if found.is_directory else None

    def _plain(self, names: Sequence[N], directory: Entry) -> list[Entry | None]:
        try:
            with self.asking(f"the directory {directory.name!r}"):
                return self.plain(names)
        except FileSystemError:  # each by itself says which it is
            return [None] * len(names)

    def _opened(self, name: N, directory: Entry) -> Entry | None:
        """The entry of a name; None where it cannot be read, which is told."""
        try:
            with self.asking(f"entry {self.text_of(name)[0]!r} of the directory {directory.name!r}"):
                return self.opened(name)
        except FileSystemError as error:
            self.tell(str(error))
            return None
