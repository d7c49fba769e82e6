"""What adapters of libraries have in common: one lock, how they fail, and what most file systems have not.

Objects of the libraries are not for several threads at once: every call is made under one lock.
"""

from __future__ import annotations

import threading

from vhdx.errors import FileSystemError, VhdxError
from vhdx.filesystems.base import NotFreeError
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.files.base import Entry, Tell
    from vhdx.files.source import VolumeSource

FAILURES = (OSError, RuntimeError, SystemError, ValueError, TypeError, OverflowError, MemoryError)
"""What the libraries raise for what they do not understand; UnicodeError is a ValueError."""


class LibraryTree:
    """A volume that a library has opened. Adapters say how it lists and what its entries are."""

    is_windows = False
    failures: tuple[type[Exception], ...] = FAILURES
    """What its library raises."""

    def __init__(self, source: VolumeSource, tell: Tell) -> None:
        self.source = source
        self.tell = tell
        self.lock = threading.RLock()

    def entries(self, directory: Entry) -> Iterator[Entry]:
        """What is in a directory; what cannot be read is told and left out."""
        raise NotImplementedError

    def names(self, directory: Entry) -> Iterator[tuple[str, Entry | None]]:
        """The names in a directory; where they are to be had without entries an adapter does that."""
        return ((entry.name, entry if entry.is_directory else None) for entry in self.entries(directory))

    def streams(self, entry: Entry) -> tuple[str, ...]:  # noqa: ARG002  adapters need it
        """None, except where an adapter knows better."""
        return ()

    def attributes(self, entry: Entry) -> Iterator[tuple[str, bytes]]:  # noqa: ARG002  adapters need it
        """None, except where an adapter knows better."""
        yield from ()

    def asking(self, what: str) -> Asking:
        """Around calls of the library: the lock, and its failures as errors that say what cannot be read."""
        return Asking(self, what)


class Asking:
    """A question to a library; a generator in its place would take several times as long."""

    __slots__ = ("_tree", "_what")

    def __init__(self, tree: LibraryTree, what: str) -> None:
        self._tree, self._what = tree, what

    def __enter__(self) -> None:
        self._tree.lock.acquire()

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        try:
            if isinstance(error, Exception):
                self._tell(error)
        finally:
            self._tree.lock.release()

    def _tell(self, error: Exception) -> None:
        """Raise in place of a failure what says more of it."""
        tree = self._tree
        if isinstance(error, VhdxError | FileNotFoundError):
            return
        if not isinstance(error, (*tree.failures, NotFreeError)):
            return
        failure, tree.source.failure = tree.source.failure, None
        if failure is not None and _is_passed_on(failure):
            raise failure from error
        raise FileSystemError(f"{self._what} cannot be read: {_cause(failure or error)}") from error


class HeldContent:
    """Contents that are in memory already."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def sent(self, output: int, length: int, offset: int) -> int:  # noqa: ARG002  as of other contents
        """None: they are in memory."""
        return 0

    def pread(self, length: int, offset: int) -> bytes:
        """The bytes of a range, as far as there are any."""
        return self._data[offset : offset + length]

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """All of it."""
        if self._data:
            yield 0, self.size


def joined(runs: Iterator[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """Runs cut at ``size``, neighbours made one."""
    start = end = 0
    for offset, length in runs:
        if offset != end and end > start:
            yield start, end - start
        if offset != end:
            start = offset
        end = min(offset + length, size)
        if end >= size:
            break
    if end > start:
        yield start, end - start


def _is_passed_on(failure: BaseException) -> bool:
    """Whether it is no matter of the file system: errors of the image and of the host, and interrupts."""
    if isinstance(failure, OSError):
        return bool(failure.errno)
    return isinstance(failure, VhdxError) or not isinstance(failure, Exception)


def _cause(error: BaseException) -> str:
    """The innermost of the sentences that a library chains, without the name of its function."""
    sentences = str(error).split(". ")
    inner = sentences[1] if len(sentences) > 1 else sentences[0]
    return inner.split(": ", 1)[-1].rstrip(".") or type(error).__name__
