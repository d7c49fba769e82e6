"""When the host begins to write a file to its disk: while more is written, so that flushes find less."""

from __future__ import annotations

from vhdx.storage.file import FileStorage
from vhdx.typed import TYPE_CHECKING
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from vhdx.storage.base import Storage

_EVERY = 32 * MIB


class WriteBack:
    """Adds up what is written, and calls ``start`` from time to time."""

    def __init__(self, start: Callable[[], None]) -> None:
        self._start = start
        self._written = 0

    @classmethod
    def of(cls, storage: Storage) -> Self:
        """That of a file; other storages have no host that could begin."""
        return cls(storage.start_writing_back if isinstance(storage, FileStorage) else _nothing)

    def wrote(self, count: int) -> None:
        """So many bytes more were written."""
        self._written += count
        if self._written >= _EVERY:
            self._start()
            self._written = 0


def _nothing() -> None:
    """There is nobody to tell."""
