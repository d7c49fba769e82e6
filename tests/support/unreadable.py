"""A host that cannot read some ranges of a file: EIO, for the whole call or after what stands before them."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest


class UnreadableHost:
    """Reads of `path` fail where they touch one of the ranges (start, end); `reads` lists what was asked."""

    def __init__(
        self, patch: pytest.MonkeyPatch, path: Path, ranges: Sequence[tuple[int, int]], *, short: bool = False
    ) -> None:
        self.reads: list[tuple[int, int, bool]] = []
        """(offset, length, whether it failed) of every read of the file."""
        self._identity = os.stat(path).st_dev, os.stat(path).st_ino
        self._ranges, self._short = ranges, short
        self._pread, self._preadv = os.pread, os.preadv
        patch.setattr(os, "pread", self._on_pread)
        patch.setattr(os, "preadv", self._on_preadv)

    def _allowed(self, descriptor: int, length: int, offset: int) -> int:
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != self._identity:
            return length
        touched = [
            max(start, offset) for start, end in self._ranges if start < offset + length and end > offset
        ]
        allowed = length if not touched else (min(touched) - offset if self._short else 0)
        self.reads.append((offset, allowed or length, not allowed))
        if not allowed and length:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return allowed

    def _on_pread(self, descriptor: int, length: int, offset: int) -> bytes:
        return self._pread(descriptor, self._allowed(descriptor, length, offset), offset)

    def _on_preadv(self, descriptor: int, buffers: Any, offset: int) -> int:
        (buffer,) = buffers
        allowed = self._allowed(descriptor, len(buffer), offset)
        return self._preadv(descriptor, [memoryview(buffer)[:allowed]], offset)
