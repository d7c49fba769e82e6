"""A page blob as bytes that are read, as long as it stays what it was when it was opened."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING

from vhdx.storage.base import ended_early
from vhdx.storage.page_blob import LARGEST_PIECE, PAGE_SIZE
from vhdx.storage.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.storage.page_blob import PageBlob

_MOST_KEPT = 20_000
"""How many runs of pages are remembered; of blobs with more they are asked for where they are needed."""


class BlobStorage:
    """The bytes of one blob; holes are not asked for."""

    def __init__(self, blob: PageBlob) -> None:
        """Raises FileNotFoundError, and ValueError for a blob that has no pages."""
        found = blob.look()
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "there is no such blob", blob.name)
        self._blob, self._found = blob, found
        self.fetched = 0
        """How many bytes were read."""
        self._lock, self._listing = threading.Lock(), threading.Lock()
        self._pages: Runs | None = None
        self._are_many = False

    @property
    def name(self) -> str:
        """Its address, without anything secret."""
        return self._blob.name

    @property
    def kind(self) -> str:
        """``PageBlob``, ``BlockBlob``, ``AppendBlob``."""
        return self._found.kind

    def size(self) -> int:
        """How many bytes it has."""
        return self._found.size

    def identity(self) -> None:
        """It is no file of this host."""
        return

    def read(self, length: int, file_offset: int) -> bytes:
        """Exactly so many bytes."""
        if file_offset < 0 or file_offset + length > self._found.size:
            raise ended_early(self.name, file_offset, length)
        end = file_offset + length
        known = self._known_pages()
        stored = [(file_offset, end)] if known is None else list(known.within(file_offset, end))
        if stored == [(file_offset, end)] and length <= LARGEST_PIECE:
            return self._fetched(length, file_offset)
        data = bytearray(length)
        for start, stop in stored:
            for at in range(start, stop, LARGEST_PIECE):
                piece = self._fetched(min(LARGEST_PIECE, stop - at), at)
                data[at - file_offset : at - file_offset + len(piece)] = piece
        return bytes(data)

    def _fetched(self, length: int, offset: int) -> bytes:
        data = self._blob.read(length, offset, self._found.etag)
        with self._lock:
            self.fetched += length
        return data

    def read_into(self, buffer: memoryview, file_offset: int) -> None:
        """Fill a buffer."""
        if len(buffer):
            buffer[:] = self.read(len(buffer), file_offset)

    def data_ranges(self, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
        """The pages that are stored; all others are zeros."""
        known, end = self._known_pages(), min(file_offset + length, self._found.size)
        if known is not None:
            yield from ((start, stop - start) for start, stop in known.within(file_offset, end))
            return
        if end > file_offset:
            yield from self._listed(file_offset, end)

    def _listed(self, offset: int, end: int) -> Iterator[tuple[int, int]]:
        """The pages between two places, asked for anew."""
        start = offset - offset % PAGE_SIZE
        stop = min(-(-end // PAGE_SIZE) * PAGE_SIZE, self._found.size)
        for at, count in self._blob.page_ranges(self._found.etag, start, stop - start):
            low, high = max(at, offset), min(at + count, end)
            if low < high:
                yield low, high - low

    def _known_pages(self) -> Runs | None:
        """All pages that are stored; None where they are too many to be kept."""
        with self._listing:
            if self._pages is None and not self._are_many:
                pages = Runs()
                for count, (start, length) in enumerate(self._blob.page_ranges(self._found.etag)):
                    if count == _MOST_KEPT:
                        self._are_many = True
                        return None
                    pages.add(start, min(start + length, self._found.size))
                self._pages = pages
            return self._pages

    def close(self) -> None:
        """Let go of the connections."""
        self._blob.close()
