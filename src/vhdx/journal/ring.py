"""Circular arithmetic of the log: sectors by position, modulo its length. Pure."""

from __future__ import annotations

from vhdx.format.log import SECTOR_SIZE
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PIECE = 1024 * 1024


class Ring(NamedTuple):
    """A log of ``length`` bytes at ``file_offset``; ``read(length, file_offset)`` gives bytes of the file."""

    file_offset: int
    length: int
    read: Callable[[int, int], bytes]

    @property
    def end(self) -> int:
        """The file offset just behind the log."""
        return self.file_offset + self.length

    def sector(self, position: int) -> bytes:
        """The 4096 bytes at a position, in bytes from the log's start; positions may run over its end."""
        return self.read(SECTOR_SIZE, self.place(position))

    def place(self, position: int) -> int:
        """The file offset of a position."""
        return self.file_offset + position % self.length

    def positions_of(self, signature: bytes) -> Iterator[int]:
        """The positions of all sectors that begin with a signature, in order."""
        for start in range(0, self.length, _PIECE):
            piece = self.read(min(_PIECE, self.length - start), self.file_offset + start)
            for offset in range(0, len(piece), SECTOR_SIZE):
                if piece.startswith(signature, offset):
                    yield start + offset

    def overlaps(self, file_offset: int, length: int) -> bool:
        """Whether a range of the file touches the log."""
        return file_offset < self.end and file_offset + length > self.file_offset
