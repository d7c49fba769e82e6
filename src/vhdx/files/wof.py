"""Files that Windows compressed by itself ("CompactOS"): in a stream beside them, as WIM archives keep files.

First stands where each chunk but the first begins, counted from the end of these numbers, then the chunks.
"""

from __future__ import annotations

from vhdx.errors import FileSystemError
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdx.files.library import LibraryTree
    from vhdx.filesystems.ntfs_volume import Stream, Value


class Codec(NamedTuple):
    """How chunks are compressed: how long they are, and what makes one of so many bytes of what is stored."""

    chunk: int
    decompressed: Callable[[bytes, int], bytes]


class WofContent:
    """The bytes of such a file, a chunk of them kept."""

    def __init__(self, tree: LibraryTree, name: str, size: int, stored: Stream | Value, codec: Codec) -> None:
        self.size = size
        self._tree, self._name, self._stored, self._codec = tree, name, stored, codec
        self._count = -(-size // codec.chunk)
        self._width = 4 if size < 1 << 32 else 8
        self._chunks_at = max(0, self._count - 1) * self._width
        self._kept = (-1, b"")
        if not stored.is_as_stored or stored.initialised < stored.length:
            raise FileSystemError(f"the compressed contents of {name!r} are not stored as they always are")

    def sent(self, output: int, length: int, offset: int) -> int:  # noqa: ARG002  as of other contents
        """None: they stand there in other bytes."""
        return 0

    def pread(self, length: int, offset: int) -> bytes:
        """The bytes of a range, as far as the file reaches."""
        end = min(offset + length, self.size)
        pieces = []
        while offset < end:
            number, inner = divmod(offset, self._codec.chunk)
            piece = self._one(number)[inner : inner + end - offset]
            pieces.append(piece)
            offset += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """All of it."""
        if self.size:
            yield 0, self.size

    def _one(self, number: int) -> bytes:
        """A chunk as it was."""
        kept, data = self._kept
        if kept == number:
            return data
        size = min(self._codec.chunk, self.size - number * self._codec.chunk)
        start, end = self._boundary(number), self._boundary(number + 1)
        if not 0 < end - start <= size or end > self._stored.length:
            raise FileSystemError(f"the compressed contents of {self._name!r} are damaged")
        stored = self._read(end - start, start)
        data = stored if len(stored) == size else self._codec.decompressed(stored, size)
        self._kept = number, data
        return data

    def _boundary(self, number: int) -> int:
        """Where in the stream a chunk begins, or the last one ends."""
        if number == self._count:
            return self._stored.length
        if number == 0:
            return self._chunks_at
        raw = self._read(self._width, (number - 1) * self._width)
        return self._chunks_at + int.from_bytes(raw, "little")

    def _read(self, length: int, offset: int) -> bytes:
        with self._tree.asking(f"the file {self._name!r}"):
            return self._stored.read(length, offset)
