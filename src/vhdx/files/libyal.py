"""What the libraries of one family, libyal, have in common: how they list, read, and fail.

Their objects are not for several threads at once: every call is made under one lock.
"""

from __future__ import annotations

import contextlib
import threading
from bisect import bisect_right
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from vhdx.errors import FileSystemError, VhdxError
from vhdx.filesystems.base import NotFreeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.files.base import Content, Entry, Tell
    from vhdx.files.source import VolumeSource

    Place = tuple[int, int, int]
    """Offset in the volume, length, flags."""

_FAILURES = (OSError, RuntimeError, SystemError, ValueError, TypeError, OverflowError, MemoryError)
"""What the libraries raise for what they do not understand; UnicodeError is a ValueError."""
_PIECE = 256 << 10
SPARSE = 1
"""The flag of an extent that reads as zeros, be it unallocated or unwritten."""


class LibyalTree:
    """A volume that one of the libraries has opened. Adapters say what an entry of theirs is."""

    is_windows = False
    reads_by_extents = False
    """Whether what extents say is all there is to know of where bytes stand."""

    def __init__(self, library: Any, source: VolumeSource, tell: Tell) -> None:
        self.source = source
        self.tell = tell
        self.lock = threading.RLock()
        self.volume = library.volume()
        with self.asking("the file system"):
            self.volume.open_file_object(source)
            self.root = self.entry(self.volume.get_root_directory(), "")

    def entry(self, handle: Any, name: str) -> Entry:
        """What an object of the library is."""
        raise NotImplementedError

    def handle_of(self, entry: Entry) -> Any:
        """The object of the library that an entry keeps."""
        return entry.handle

    def name_of(self, handle: Any, directory: Entry) -> str:  # noqa: ARG002  adapters need it
        """The name of an object of the library in its directory."""
        name: str = handle.name
        return name

    def content_handle(self, entry: Entry, stream: str | None) -> Any:
        """The object of the library that holds the bytes. Raises FileNotFoundError for no such stream."""
        if stream is not None:
            raise FileNotFoundError(f"{entry.name} has no stream {stream!r}: only files of NTFS have any")
        return self.handle_of(entry)

    def has_holes(self, entry: Entry) -> bool:  # noqa: ARG002  adapters need it
        """Whether its extents tell where nothing is stored."""
        return True

    def places(self, content: LibyalContent) -> list[Place] | None:
        """Where the bytes of a file stand, in their order; None where only the library knows."""
        return list(content.extents()) if self.reads_by_extents else None

    def streams(self, entry: Entry) -> tuple[str, ...]:  # noqa: ARG002  adapters need it
        """None, except where an adapter knows better."""
        return ()

    def attributes(self, entry: Entry) -> Iterator[tuple[str, bytes]]:  # noqa: ARG002  adapters need it
        """None, except where an adapter knows better."""
        yield from ()

    def entries(self, directory: Entry) -> Iterator[Entry]:
        """What is in a directory; what cannot be read is told and left out."""
        with self.asking(f"the directory {directory.name!r}"):
            parent = self.handle_of(directory)
            count = parent.get_number_of_sub_file_entries()
        for index in range(count):
            try:
                with self.asking(f"entry {index + 1} of the directory {directory.name!r}"):
                    handle = parent.get_sub_file_entry(index)
                    found = self.entry(handle, self.name_of(handle, directory))
            except FileSystemError as error:
                self.tell(str(error))
                continue
            if found.name not in (".", ".."):  # a sound file system has them as links, not as entries
                yield found

    def names(self, directory: Entry) -> Iterator[tuple[str, Entry | None]]:
        """The names in a directory; where they are to be had without entries an adapter does that."""
        return ((entry.name, entry if entry.is_directory else None) for entry in self.entries(directory))

    def content(self, entry: Entry, stream: str | None = None) -> Content:
        """The bytes of a file or of a stream."""
        with self.asking(f"the file {entry.name!r}"):
            handle = self.content_handle(entry, stream)
            size = handle.get_size()
        return LibyalContent(self, handle, entry, size, stream)

    @contextlib.contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Around calls of the library: the lock, and its failures as errors that say what cannot be read."""
        with self.lock:
            try:
                yield
            except (VhdxError, FileNotFoundError):
                raise
            except (*_FAILURES, NotFreeError) as error:
                failure, self.source.failure = self.source.failure, None
                if failure is not None and _is_passed_on(failure):
                    raise failure from error
                raise FileSystemError(f"{what} cannot be read: {_cause(failure or error)}") from error


class LibyalContent:
    """The bytes of a file as a library gives them."""

    def __init__(
        self, tree: LibyalTree, handle: Any, entry: Entry, size: int, stream: str | None = None
    ) -> None:
        self._tree = tree
        self._handle = handle
        self.entry = entry
        self.size = size
        self.stream = stream
        self._starts: list[int] = []

    def pread(self, length: int, offset: int) -> bytes:
        """The bytes of a range, as far as the file reaches."""
        left = max(0, min(length, self.size - offset))
        if self._placed is not None and left:
            return self._read_placed(left, offset)
        pieces = []
        while left:
            with self._tree.asking(f"the file {self.entry.name!r}"):
                data = self._handle.read_buffer_at_offset(min(left, _PIECE), offset)
            if not data:
                raise FileSystemError(f"the file {self.entry.name!r} ends at {offset}, before its size")
            pieces.append(data)
            offset += len(data)
            left -= len(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def sent(self, output: int, length: int, offset: int) -> int:
        """How many bytes of a range, from its start on, were copied to a descriptor without reading them."""
        length = min(length, self.size - offset)
        if self._placed is None or length <= 0:
            return 0
        index = bisect_right(self._starts, offset) - 1
        place, stored, flags = self._placed[index]
        inner = offset - self._starts[index]
        return (
            0
            if flags & SPARSE
            else self._tree.source.sent(output, min(length, stored - inner), place + inner)
        )

    @cached_property
    def _placed(self) -> list[Place] | None:
        """The extents, if they hold all of the file and are all that there is to know."""
        found = self._tree.places(self)
        if found is None:
            return None
        self._starts = list(accumulate((length for _, length, _ in found), initial=0))
        return found if self._starts[-1] >= self.size else None

    def _read_placed(self, left: int, offset: int) -> bytes:
        assert self._placed is not None
        pieces = []
        index = bisect_right(self._starts, offset) - 1
        while left:
            place, length, flags = self._placed[index]
            inner = offset - self._starts[index]
            count = min(left, length - inner)
            if flags & SPARSE:
                pieces.append(bytes(count))
            else:
                with self._tree.asking(f"the file {self.entry.name!r}"):
                    pieces.append(self._tree.source.pread(count, place + inner))
                if len(pieces[-1]) != count:
                    raise FileSystemError(f"the file {self.entry.name!r} lies behind the end of the volume")
            index, offset, left = index + 1, offset + count, left - count
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """The runs that are stored; all of it where the library does not say."""
        yield from joined(self._runs(), self.size)

    def _runs(self) -> Iterator[tuple[int, int]]:
        position = 0
        has_holes = self.stream is None and self._tree.has_holes(self.entry)
        for _, length, flags in self.extents() if has_holes else ():
            if not flags & SPARSE:
                yield position, length
            position += length
        if position < self.size:  # in the inode itself, for one
            yield position, self.size - position

    def extents(self) -> Iterator[tuple[int, int, int]]:
        """Place in the volume, length and flags of each."""
        handle = self._handle
        with self._tree.asking(f"the file {self.entry.name!r}"):
            try:
                count = handle.get_number_of_extents()
            except OSError:  # libfsxfs, of what it keeps in the inode
                count = 0
        for index in range(count):
            with self._tree.asking(f"the file {self.entry.name!r}"):
                extent: tuple[int, int, int] = handle.get_extent(index)
            yield extent


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
