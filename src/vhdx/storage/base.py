"""What a place for bytes can do: positional input and output, nothing else. Knows nothing of VHDX."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


ZEROS = bytes(1024 * 1024)


class ReadableStorage(Protocol):
    """Bytes that can be read at any offset, by several threads at once. Offsets and lengths in bytes."""

    @property
    def name(self) -> str:
        """What messages call it: a path, or a word for a file object."""

    def size(self) -> int:
        """How many bytes there are."""

    def identity(self) -> tuple[int, int] | None:
        """Device and inode, equal for two names of one file; None where no file is known."""

    def read(self, length: int, file_offset: int) -> bytes:
        """Exactly ``length`` bytes. Raises OSError if there are not so many."""

    def read_into(self, buffer: memoryview, file_offset: int) -> None:
        """Fill a contiguous buffer of bytes. Raises OSError if there are not so many."""

    def data_ranges(self, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
        """The (offset, length) runs of a range that may hold something; all else is known to be zeros."""

    def close(self) -> None:
        """Let go of what stands behind; what is still reading gets an OSError, never other bytes."""


class Storage(ReadableStorage, Protocol):
    """Bytes that can be changed, too."""

    def write_at(self, data: bytes | bytearray | memoryview, file_offset: int) -> None:
        """Write all of ``data``, a run of bytes, growing the file if need be."""

    def flush(self) -> None:
        """Return when everything written before is durable."""

    def resize(self, size: int) -> None:
        """Cut or extend; what is added reads as zeros."""

    def zero(self, file_offset: int, length: int) -> None:
        """Make a range inside the file read as zeros, keeping its space."""

    def punch(self, file_offset: int, length: int) -> bool:
        """Give the space of a range back, so that it reads as zeros; False where the host cannot."""

    def reserve(self, file_offset: int, length: int) -> bool:
        """Claim space on the host for a range; False where the host cannot. Raises OSError when full."""


def ended_early(name: str, file_offset: int, length: int) -> OSError:
    """The error for a file that has fewer bytes than it had when it was opened."""
    return OSError(errno.EIO, f"the file ends inside {length} bytes at offset {file_offset}", name)


def fill_zeros(buffer: memoryview) -> None:
    """Make a contiguous buffer of bytes all zeros, without allocating its length."""
    for start in range(0, len(buffer), len(ZEROS)):
        piece = buffer[start : start + len(ZEROS)]
        piece[:] = ZEROS if len(piece) == len(ZEROS) else ZEROS[: len(piece)]
