"""A volume as the file object that libraries read from, with a bounded cache for their many small reads."""

from __future__ import annotations

import io
from collections import OrderedDict

from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[int, int], bytes]
    Send = Callable[[int, int, int], int]
    """To a descriptor, so many bytes from an offset on; how many of them were copied."""

_PAGE = 32 << 10
_MOST_PAGES = 512
"""16 MiB: libraries read inodes and directories in pieces of some hundred bytes, again and again."""


class VolumeSource:
    """``read``, ``seek`` and ``tell`` over a volume.

    A library turns whatever a read raises into words of its own; ``failure`` keeps the first of it, so that
    whoever called the library can say what really happened.
    """

    def __init__(self, read: Read, size: int, send: Send | None = None) -> None:
        self._read = read
        self._send = send
        self._size = size
        self._position = 0
        self._pages: OrderedDict[int, bytes] = OrderedDict()
        self.failure: BaseException | None = None

    def get_size(self) -> int:
        """Bytes of the volume; the libraries ask for it by this name."""
        return self._size

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to where the next read begins."""
        base = (0, self._position, self._size)[whence]
        if base + offset < 0:
            raise ValueError(f"negative position: {base + offset}")
        self._position = base + offset
        return self._position

    def read(self, length: int) -> bytes:
        """Up to ``length`` bytes; nothing at the end of the volume."""
        try:
            data = self.pread(length, self._position)
        except BaseException as error:  # Ctrl-C, too
            self.failure = self.failure or error
            raise
        self._position += len(data)
        return data

    def pread(self, length: int, offset: int) -> bytes:
        """Up to ``length`` bytes at ``offset``."""
        length = max(0, min(length, self._size - offset))
        if length > _PAGE:
            return self._read(length, offset)
        first = offset // _PAGE
        inner = offset - first * _PAGE
        page = self._page(first)
        if inner + length <= len(page):
            return page[inner : inner + length]
        return page[inner:] + self._page(first + 1)[: length - (len(page) - inner)]

    def sent(self, output: int, length: int, offset: int) -> int:
        """How many bytes of a range, from its start on, were copied to a descriptor without reading them."""
        if self._send is None or offset + length > self._size:
            return 0
        return self._send(output, length, offset)

    def _page(self, number: int) -> bytes:
        page = self._pages.get(number)
        if page is not None:
            self._pages.move_to_end(number)
            return page
        start = number * _PAGE
        page = self._pages[number] = self._read(max(0, min(_PAGE, self._size - start)), start)
        if len(self._pages) > _MOST_PAGES:
            self._pages.popitem(last=False)
        return page
