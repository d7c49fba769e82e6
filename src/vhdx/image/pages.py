"""Pages of 4 KiB of a file's structures: read when needed, kept in bounded memory, changed here first."""

from __future__ import annotations

from _thread import RLock  # as `threading` has it, which takes longer to import
from collections import OrderedDict

from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.storage.base import ReadableStorage

PAGE_SIZE = 4096
CACHED_PAGES = 2048
"""8 MiB, for the tables and bitmaps of one file."""


class Pages:
    """The pages of one file's tables and bitmaps, by file offset.

    A page that was changed is dirty until `settle` says that it stands in the file; until then its new
    bytes are what everybody reads. ``lock`` is held for moments only, never while anything is flushed.

    A signal handler may read at any moment, also in the middle of a change by its own thread, which holds
    the lock. So each change is one step for whoever reads, and keeps what is kept right if a read comes
    between any two.
    """

    def __init__(self, storage: ReadableStorage) -> None:
        self._storage = storage
        self._clean: OrderedDict[int, bytes] = OrderedDict()
        self._dirty: dict[int, bytes] = {}
        self.lock = RLock()

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
        with self.lock:
            data = self._storage.read(length, file_offset)
            if not self._dirty:
                return data
            patched = bytearray(data)
            for offset, page in self._dirty.items():
                if file_offset - PAGE_SIZE < offset < file_offset + length:
                    start, stop = max(offset, file_offset), min(offset + PAGE_SIZE, file_offset + length)
                    patched[start - file_offset : stop - file_offset] = page[start - offset : stop - offset]
            return bytes(patched)

    def data_ranges(self, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
        """The (offset, length) runs of a range that the host does not know to be holes."""
        return self._storage.data_ranges(file_offset, length)

    def is_hole(self, file_offset: int, length: int) -> bool:
        """Whether the host knows a range to be zeros, and nothing in it was changed in memory."""
        with self.lock:
            if any(file_offset - PAGE_SIZE < dirty < file_offset + length for dirty in self._dirty):
                return False
            return next(self._storage.data_ranges(file_offset, length), None) is None

    def _page(self, file_offset: int) -> bytes:
        page = self._dirty.get(file_offset) or self._clean.get(file_offset)
        return page if page is not None else self._load(file_offset)

    def _load(self, file_offset: int) -> bytes:
        with self.lock:  # a page that is loaded while it changes must not replace its new bytes
            page = self._dirty.get(file_offset) or self._clean.get(file_offset)
            if page is None:
                page = self._storage.read(PAGE_SIZE, file_offset)
                self._keep(file_offset, page)
            return page

    def _keep(self, file_offset: int, page: bytes) -> None:
        if len(self._clean) >= CACHED_PAGES:
            self._clean.popitem(last=False)  # in one step, as another read may be kept meanwhile
        self._clean[file_offset] = page

    def put(self, data: bytes, file_offset: int) -> None:
        """Change bytes of one page, in memory. One that is replaced is not read: perhaps it cannot be."""
        start = file_offset % PAGE_SIZE
        with self.lock:
            page = self._page(file_offset - start) if len(data) < PAGE_SIZE else b""
            self._dirty[file_offset - start] = page[:start] + data + page[start + len(data) :]
            self._clean.pop(file_offset - start, None)  # last: a read in between keeps nothing old

    def put_all(self, data: bytes, file_offset: int) -> None:
        """Change bytes that may reach over several pages, in memory; pages that stay alike stay clean."""
        start = 0
        while start < len(data):
            length = min(PAGE_SIZE - (file_offset + start) % PAGE_SIZE, len(data) - start)
            piece = data[start : start + length]
            if self.read(length, file_offset + start) != piece:
                self.put(piece, file_offset + start)
            start += length

    def forget(self, file_offset: int, length: int) -> None:
        """Drop what is kept of space that gets another owner; it holds no pages that were changed."""
        with self.lock:
            for offset in range(file_offset, file_offset + length, PAGE_SIZE):
                self._clean.pop(offset, None)

    @property
    def dirty_count(self) -> int:
        """How many pages were changed and do not stand in the file yet."""
        return len(self._dirty)

    def dirty(self) -> list[tuple[int, bytes]]:
        """(file offset, bytes) of the pages that were changed, by file offset, highest first."""
        with self.lock:
            return sorted(self._dirty.items(), reverse=True)

    def settle(self, pages: list[tuple[int, bytes]]) -> None:
        """Say that these pages stand in the file as given."""
        with self.lock:
            for file_offset, page in pages:
                if self._dirty.get(file_offset) is page:
                    self._keep(file_offset, page)
                    del self._dirty[file_offset]
