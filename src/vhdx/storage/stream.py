"""A seekable binary file object as storage: one cursor, and therefore one lock over all reads."""

from __future__ import annotations

import io
import os
from _thread import RLock  # as `threading` has it, which takes longer to import

from vhdx.reentry import holder_of
from vhdx.storage.base import ended_early
from vhdx.typed import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeGuard

OBJECT_SCHEMES = frozenset({"s3", "gs", "az"})


EXPORTS = ("nbd", "nbd+unix", "nbds", "nbds+unix")
"""Schemes of NBD servers."""


def is_url(file: object) -> TypeGuard[str]:
    """Whether a name is that of a file elsewhere; drives of Windows have one letter only."""
    scheme, end, _ = file.partition("://") if isinstance(file, str) else ("", "", "")
    return end != "" and len(scheme) > 1 and scheme.replace("+", "").isalnum()


def is_object(url: str) -> bool:
    """Whether it is that of an object in one of the object stores that are read by obstore."""
    return url.partition("://")[0].lower() in OBJECT_SCHEMES


def is_export(file: object) -> TypeGuard[str]:
    """Whether a name is that of a disk that an NBD server has."""
    return is_url(file) and file.partition("://")[0].lower() in EXPORTS


class SeekableFile(Protocol):
    """What a file object must be able to do to be read as an image."""

    def seek(self, offset: int, whence: int = ..., /) -> int: ...

    def read(self, size: int = ..., /) -> bytes: ...

    def close(self) -> None: ...


class StreamStorage:
    """Reads of a file object, serialised. Closes it only if it was opened here."""

    def __init__(self, stream: SeekableFile, name: str | None = None, *, owned: bool = True) -> None:
        self._stream = stream
        self._name = name if name is not None else _name_of(stream)
        self._owned = owned
        self._lock = RLock()
        self._is_inside = holder_of(self._lock)

    @property
    def name(self) -> str:
        """The path, or the file object's own name."""
        return self._name

    def size(self) -> int:
        """The position of the end, in bytes."""
        with self._turn():
            return self._stream.seek(0, io.SEEK_END)

    def identity(self) -> tuple[int, int] | None:
        """Device and inode of a file that was opened here; None for somebody's file object."""
        fileno = getattr(self._stream, "fileno", None)
        if not self._owned or fileno is None:
            return None
        status = os.fstat(fileno())
        return status.st_dev, status.st_ino

    def _turn(self) -> RLock:
        """The lock around a use of the file object. Raises RuntimeError in the midst of such a use.

        Its cursor would not be where the other use left it: what a signal handler reads, or the file object.
        """
        if self._is_inside():
            raise RuntimeError(
                f"{self._name} was read by a signal handler, a finaliser or the file object itself, while "
                "its thread is reading it; a path can be read so"
            )
        return self._lock

    def read(self, length: int, file_offset: int) -> bytes:
        """Exactly ``length`` bytes."""
        pieces, missing = [], length
        with self._turn():
            self._stream.seek(file_offset)
            while missing:
                piece = self._stream.read(missing)
                if not piece:
                    raise ended_early(self._name, file_offset, length)
                pieces.append(piece)
                missing -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_into(self, buffer: memoryview, file_offset: int) -> None:
        """Fill the buffer."""
        buffer[:] = self.read(len(buffer), file_offset)

    def data_ranges(self, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
        """The whole range: file objects do not tell their holes."""
        if length:
            yield file_offset, length

    def close(self) -> None:
        """Close the file object if it was opened here."""
        if self._owned:
            self._stream.close()


def _name_of(stream: object) -> str:
    name = getattr(stream, "name", None)
    return os.fsdecode(name) if isinstance(name, str | bytes) else f"<{type(stream).__name__}>"
