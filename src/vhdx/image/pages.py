"""Pages of 4 KiB of the structures in a file, read when needed and kept in bounded memory."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.storage.base import ReadableStorage

PAGE_SIZE = 4096
CACHED_PAGES = 2048
"""8 MiB, for the tables and bitmaps of one file."""


class Pages:
    """The pages of one file's BAT and sector bitmaps, by file offset."""

    def __init__(self, storage: ReadableStorage) -> None:
        self._storage = storage
        self._pages: dict[int, bytes] = {}
        self._lock = threading.Lock()

    def read(self, length: int, file_offset: int) -> bytes:
        """A few bytes at ``file_offset``, kept for the next time."""
        start = file_offset % PAGE_SIZE
        page = self._page(file_offset - start)
        if start + length <= PAGE_SIZE:
            return page[start : start + length]
        rest = start + length - PAGE_SIZE
        return page[start:] + self.read(rest, file_offset - start + PAGE_SIZE)

    def read_many(self, length: int, file_offset: int) -> bytes:
        """Many bytes at ``file_offset``, not kept."""
        return self._storage.read(length, file_offset)

    def _page(self, file_offset: int) -> bytes:
        page = self._pages.get(file_offset)
        if page is None:
            page = self._storage.read(PAGE_SIZE, file_offset)
            with self._lock:
                if len(self._pages) >= CACHED_PAGES:
                    del self._pages[next(iter(self._pages))]
                self._pages[file_offset] = page
        return page
