"""The content of a file in memory: pages of 4 KiB, those of zeros left out, and a digest that comes for free.

Made for many contents that differ in a few pages: a copy shares the bytes of every page, and the digest of a
changed copy costs only the changed pages. Also a storage to read one, as `vhdx` wants to have it.
"""

import errno
from collections.abc import Callable, Iterator

from .build import ImageBuilder

PAGE = 4096
SECTOR = 512
SECTORS_OF_A_PAGE = PAGE // SECTOR
ZERO_PAGE = bytes(PAGE)
ZERO_SECTOR = bytes(SECTOR)


class Content:
    """Bytes of a file by page number, and its size; pages that are missing are zeros."""

    __slots__ = ("_digest", "pages", "size")

    def __init__(self, size: int = 0) -> None:
        self.pages: dict[int, bytes] = {}
        self.size = size
        self._digest = 0

    def copy(self) -> "Content":
        """Another content with the same bytes."""
        other = Content(self.size)
        other.pages = self.pages.copy()
        other._digest = self._digest
        return other

    @property
    def digest(self) -> int:
        """Equal for equal bytes and, in all likelihood, different for others. Of this process only."""
        return self._digest ^ hash(("size", self.size))

    def page(self, number: int) -> bytes:
        """The 4096 bytes of a page; behind the end of the file they are zeros."""
        return self.pages.get(number, ZERO_PAGE)

    def put_page(self, number: int, data: bytes) -> None:
        """Replace a page; the file does not grow by it."""
        old = self.pages.get(number)
        if old is data:
            return
        if old is not None:
            self._digest ^= hash((number, old))
        if data == ZERO_PAGE:
            self.pages.pop(number, None)
        else:
            self.pages[number] = data
            self._digest ^= hash((number, data))

    def write(self, data: bytes, offset: int) -> None:
        """Put bytes anywhere; the file grows if they pass its end."""
        end = offset + len(data)
        self.size = max(self.size, end)
        for number, start, stop in touched(offset, end):
            at = number * PAGE + start - offset
            piece = data[at : at + stop - start]
            if stop - start < PAGE:
                page = self.page(number)
                piece = page[:start] + piece + page[stop:]
            self.put_page(number, piece)

    def zero(self, offset: int, length: int) -> None:
        """Make a range zeros; the size stays."""
        for number, start, stop in touched(offset, offset + length):
            page = self.pages.get(number)
            if page is not None:
                self.put_page(number, page[:start] + bytes(stop - start) + page[stop:])

    def resize(self, size: int) -> None:
        """Cut or extend; what is added is zeros."""
        if size < self.size:
            for number in [number for number in self.pages if number * PAGE >= size]:
                self.put_page(number, ZERO_PAGE)
            last = self.pages.get(size // PAGE)
            if last is not None:
                self.put_page(size // PAGE, last[: size % PAGE].ljust(PAGE, b"\0"))
        self.size = size

    def read(self, length: int, offset: int) -> bytes:
        """Exactly `length` bytes, zeros where there is nothing."""
        first, last = offset // PAGE, (offset + length - 1) // PAGE
        get = self.pages.get
        if first == last:
            return get(first, ZERO_PAGE)[offset % PAGE : offset % PAGE + length]
        joined = b"".join([get(number, ZERO_PAGE) for number in range(first, last + 1)])
        start = offset - first * PAGE
        return joined if len(joined) == length else joined[start : start + length]

    def data_ranges(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """(offset, length) of the runs of a range in which pages stand, in order."""
        end = min(offset + length, self.size)
        start = stop = offset
        for number in sorted(number for number in self.pages if offset - PAGE < number * PAGE < end):
            if number * PAGE > stop:
                if stop > start:
                    yield start, stop - start
                start = number * PAGE
            stop = min((number + 1) * PAGE, end)
        if stop > start:
            yield start, stop - start

    def whole_pages(self, offset: int, length: int) -> tuple[bytes, ...]:
        """The pages of an aligned range: something to compare and to look up by."""
        get = self.pages.get
        return tuple([get(number, ZERO_PAGE) for number in range(offset // PAGE, (offset + length) // PAGE)])


def touched(offset: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The pages that a range touches: number, and from where to where in the page."""
    while offset < end:
        number, start = divmod(offset, PAGE)
        stop = min(PAGE, end - number * PAGE)
        yield number, start, stop
        offset = number * PAGE + stop


def content_of(image: ImageBuilder) -> Content:
    """The file that a described image stands for."""
    content = Content()
    for offset, data in image.pieces():
        content.write(data, offset)
    content.resize(image.length())
    return content


def as_file(content: Content) -> tuple[Callable[[int, int], bytes], int]:
    """How the naive reader reads a content, as it would a file of the host: fewer bytes where it ends."""

    def read(length: int, offset: int) -> bytes:
        there = max(0, min(length, content.size - offset))
        return content.read(there, offset) if there else b""

    return read, content.size


class ContentStorage:
    """A content as a storage that can only be read; refuses what passes the end, as files do."""

    def __init__(self, content: Content, name: str = "image.vhdx") -> None:
        self.content = content
        self.reads = 0
        self._name = name

    @property
    def name(self) -> str:
        """What messages call it."""
        return self._name

    def identity(self) -> None:
        """No file of the host stands behind this."""

    def size(self) -> int:
        """How many bytes there are."""
        return self.content.size

    def read(self, length: int, file_offset: int) -> bytes:
        """Exactly `length` bytes."""
        self.reads += 1
        if file_offset >= 1 << 63:
            raise OverflowError("no host has such an offset, and Python says so in its own way")
        if length and file_offset + length > self.content.size:
            raise OSError(errno.EIO, f"the file ends inside {length} bytes at {file_offset}", self._name)
        return self.content.read(length, file_offset) if length else b""

    def read_into(self, buffer: memoryview, file_offset: int) -> None:
        """Fill the buffer."""
        buffer[:] = self.read(len(buffer), file_offset)

    def data_ranges(self, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
        """The runs of a range that are no holes."""
        return self.content.data_ranges(file_offset, length)

    def close(self) -> None:
        """Nothing has to be let go of."""
