"""What a place for bytes can do: positional input and output, nothing else. Knows nothing of VHDX."""

from __future__ import annotations

import errno
from collections.abc import Callable

from vhdx.text import command
from vhdx.typed import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


ZEROS = bytes(1024 * 1024)
UNREADABLE = "the host cannot read it"
"""What is wrong with a copy of which `read_copy` got nothing."""
UNREADABLE_STRUCTURE = "the host cannot read what says where it is"
UNREADABLE_DATA = f"{UNREADABLE}; zeros are read"
"""Why ranges of a disk are doubtful where the host has failed."""


Unreadable = Callable[[int, int], list[tuple[int, int]]]
"""The runs (start, end) between two file offsets that a host could not read, as far as it was tried."""


def all_readable(_start: int, _end: int) -> list[tuple[int, int]]:
    """What a storage could not read that raises where it cannot."""
    return []


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


class HostReadError(OSError):
    """The host cannot read a part of a file: ``failed_at`` is the first byte that it did not give."""

    def __init__(self, error: OSError, name: str, failed_at: int, end: int, salvage: str | None) -> None:
        """``salvage`` is the command that saves the disk that is read, where that is not the file alone."""
        self._salvage = salvage or command("convert --salvage {} SALVAGED.vhdx", name)
        self._why = f"{error.strerror} in {end - failed_at} bytes at file offset {failed_at}"
        super().__init__(error.errno, self._sentence(self._why), name)
        self.failed_at = failed_at

    def read_for(self, disk_offset: int, length: int) -> None:
        """Say for which bytes of a virtual disk it was read."""
        why = f"{self._why}, read for bytes {disk_offset} to {disk_offset + length} of the disk"
        self.strerror = self._sentence(why)

    def _sentence(self, why: str) -> str:
        return f"{why}; copy the file with ddrescue, or save everything else: {self._salvage}"


def read_copy(storage: ReadableStorage, length: int, file_offset: int) -> bytes:
    """The bytes of a structure that can be done without; none where the host cannot read it."""
    try:
        return storage.read(length, file_offset)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""


def fill_zeros(buffer: memoryview) -> None:
    """Make a contiguous buffer of bytes all zeros, without allocating its length."""
    for start in range(0, len(buffer), len(ZEROS)):
        piece = buffer[start : start + len(ZEROS)]
        piece[:] = ZEROS if len(piece) == len(ZEROS) else ZEROS[: len(piece)]
