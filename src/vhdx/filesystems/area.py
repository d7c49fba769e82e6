"""The bytes of one volume: nothing outside of it is read, whatever its file system says."""

from __future__ import annotations

from vhdx.filesystems.base import NotFreeError
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vhdx.filesystems.base import Read


class Area(NamedTuple):
    """``size`` bytes that ``read(length, offset)`` gives."""

    read: Read
    size: int

    def bytes_at(self, offset: int, length: int) -> bytes:
        """Exactly these bytes. Raises NotFreeError where they do not all lie inside, or cannot be read."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise NotFreeError(
                f"it refers to {length} bytes at {offset}, "
                f"and the space that it stands in ends at {self.size}"
            )
        data = self.read(length, offset)
        if len(data) != length:
            raise NotFreeError(f"{length} bytes at {offset} cannot be read, only {len(data)}")
        return data

    def peek(self, offset: int, length: int) -> bytes:
        """As many of these bytes as there are: what is looked for a signature may lie outside."""
        there = min(length, self.size - offset)
        return self.read(there, offset) if offset >= 0 and there > 0 else b""


def number(data: bytes, offset: int, length: int) -> int:
    """A little-endian number in a structure."""
    return int.from_bytes(data[offset : offset + length], "little")


def big_number(data: bytes, offset: int, length: int) -> int:
    """A big-endian number in a structure."""
    return int.from_bytes(data[offset : offset + length], "big")


def text_at(data: bytes, offset: int, length: int) -> str | None:
    """A label that zeros end; None where it is empty. What is no UTF-8 is escaped."""
    label = data[offset : offset + length].split(b"\0", 1)[0]
    return label.decode("utf-8", "backslashreplace").strip() or None
