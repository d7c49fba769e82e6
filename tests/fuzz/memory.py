"""A file in memory that can be written to, sparse also where a range of many TiB is zeroed."""

from typing_extensions import Buffer

from tests.support.layout import SECTOR
from tests.support.sparse import Content, ContentStorage


class Written(ContentStorage):
    """A content that keeps what is written to it; the content that it is made from stays as it is."""

    def __init__(self, content: Content, name: str = "image.vhdx") -> None:
        super().__init__(content.copy(), name)

    def write_at(self, data: Buffer, file_offset: int) -> None:
        """Put bytes there."""
        self.content.write(bytes(memoryview(data).cast("B")), file_offset)

    def flush(self) -> None:
        """Nothing is lost in memory."""

    def resize(self, size: int) -> None:
        """Cut or extend."""
        self.content.resize(size)

    def zero(self, file_offset: int, length: int) -> None:
        """Make zeros of a range inside the file."""
        assert file_offset + length <= self.content.size
        start, stop = -(-file_offset // SECTOR), (file_offset + length) // SECTOR
        for page in [page for page in self.content.pages if start <= page < stop]:
            self.content.put_page(page, bytes(SECTOR))
        self.content.zero(file_offset, min(length, start * SECTOR - file_offset))
        if stop >= start:
            self.content.zero(stop * SECTOR, file_offset + length - stop * SECTOR)

    def punch(self, file_offset: int, length: int) -> bool:
        """Give a range back, as far as the file has it: a host does not mind what lies behind its end."""
        self.zero(file_offset, max(0, min(length, self.content.size - file_offset)))
        return True

    def reserve(self, file_offset: int, length: int) -> bool:
        """There is no host that could reserve anything."""
        return False
