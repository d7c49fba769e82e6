"""What every adapter gives: a tree of entries, and the bytes of each as something to read from.

An adapter knows one library and nothing of paths, hosts or terminals; whoever uses a tree knows no library.
"""

from __future__ import annotations

from enum import StrEnum

from vhdx.text import brief
from vhdx.typed import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Tell = Callable[[str], None]


class Kind(StrEnum):
    """What an entry is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    FIFO = "fifo"
    SOCKET = "socket"
    CHARACTER_DEVICE = "character device"
    BLOCK_DEVICE = "block device"

    __hash__ = str.__hash__  # what an enumeration has instead is slow, and asked for each file


@brief("name", "kind", "size")
class Entry(NamedTuple):
    """A name in a directory and what it stands for.

    Names are text; bytes that are no UTF-8 stand in it as Python's ``surrogateescape`` has them. Times are
    nanoseconds since 1970, None where the file system keeps none, as are ``mode`` (permission bits), ``uid``
    and ``gid``. ``identity`` is the same for all names of one file. ``target`` is that of a symbolic link,
    ``device`` major and minor number. ``handle`` is the adapter's own.
    """

    name: str
    kind: Kind
    size: int
    identity: int
    links: int = 1
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    modified: int | None = None
    accessed: int | None = None
    changed: int | None = None
    created: int | None = None
    target: str | None = None
    device: tuple[int, int] | None = None
    handle: Any = None

    @property
    def is_directory(self) -> bool:
        """Whether it has entries of its own."""
        return self.kind is Kind.DIRECTORY

    @property
    def permissions(self) -> int:
        """Its mode, or what stands for one where the file system keeps none."""
        return permissions_of(self.kind, self.mode)


def permissions_of(kind: Kind, mode: int | None) -> int:
    """A mode, or what stands for one where the file system keeps none."""
    if mode is not None:
        return mode
    return 0o755 if kind is Kind.DIRECTORY else 0o644


class Content(Protocol):
    """The bytes of a file."""

    @property
    def size(self) -> int:
        """How many there are."""

    def pread(self, length: int, offset: int) -> bytes:
        """The bytes of a range, as far as the file reaches. Raises FileSystemError where they cannot be."""

    def sent(self, output: int, length: int, offset: int) -> int:
        """How many bytes of a range, from its start on, were copied to where a descriptor stands.

        Nobody looks at them on the way; 0 where somebody must.
        """

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """The (offset, length) runs, ascending, outside of which all is zeros and takes no space."""


class Tree(Protocol):
    """The files of one file system; only ever read. Any number of threads may use it."""

    @property
    def root(self) -> Entry:
        """The directory that has no name."""

    @property
    def is_windows(self) -> bool:
        r"""Whether names are the same in either case, and ``\`` parts them, too."""

    def entries(self, directory: Entry) -> Iterator[Entry]:
        """What is in a directory, without ``.`` and ``..``; what cannot be read is told and left out."""

    def names(self, directory: Entry) -> Iterator[tuple[str, Entry | None]]:
        """The names in a directory, each with its entry where that is a directory itself."""

    def content(self, entry: Entry, stream: str | None = None) -> Content:
        """The bytes of a file, or of a named stream of it. Raises FileNotFoundError for no such stream."""

    def attributes(self, entry: Entry) -> Iterator[tuple[str, bytes]]:
        """Its extended attributes as Linux names and gives them."""

    def streams(self, entry: Entry) -> tuple[str, ...]:
        """The names of its named streams, which only NTFS has."""


def kind_of_mode(mode: int) -> Kind | None:
    """The kind that the high bits of a POSIX mode say; None for none."""
    return _KINDS.get(mode & 0o170000)


_KINDS = {
    0o100000: Kind.FILE,
    0o040000: Kind.DIRECTORY,
    0o120000: Kind.SYMLINK,
    0o010000: Kind.FIFO,
    0o140000: Kind.SOCKET,
    0o020000: Kind.CHARACTER_DEVICE,
    0o060000: Kind.BLOCK_DEVICE,
}
TYPE_OF_KIND = {kind: bits for bits, kind in _KINDS.items()}
"""The high bits of a POSIX mode."""
