"""The twin of a disk that is written to: a bytearray, and what a crash may leave of it.

Where a disk is large only some windows of it are kept, and looked at.
"""

from collections.abc import Callable, Iterable

import numpy as np

from tests.support.layout import KIB, MIB

SMALL = 20 * MIB
REACH = 24 * KIB
Read = Callable[[int, int], bytes]
"""Bytes by length and offset: the order of the library."""


def windows_of(size: int, block_size: int, small: int = SMALL) -> list[tuple[int, int]]:
    """(start, end) of what is looked at: everything, or the surroundings of borders and middles of blocks."""
    if size <= small:
        return [(0, size)]
    borders = [*range(0, size, block_size // 2), size]
    return [(max(0, border - REACH), min(size, border + REACH)) for border in borders]


class Model:
    """What a disk must hold, by its windows, and since its last flush every version of it."""

    def __init__(self, windows: list[tuple[int, int]], read: Read) -> None:
        self.windows = windows
        self._parts = [bytearray(read(end - start, start)) for start, end in self.windows]
        self._versions = [self.content()]

    def content(self) -> bytes:
        """The windows, one after the other."""
        return b"".join(self._parts)

    def write(self, data: bytes, offset: int) -> None:
        """What `pwrite` does."""
        for (start, end), part in zip(self.windows, self._parts, strict=True):
            first, last = max(start, offset), min(end, offset + len(data))
            if first < last:
                part[first - start : last - start] = data[first - offset : last - offset]
        self._versions.append(self.content())

    def zero(self, length: int, offset: int) -> None:
        """What `zero` does."""
        for (start, end), part in zip(self.windows, self._parts, strict=True):
            first, last = max(start, offset), min(end, offset + length)
            if first < last:
                part[first - start : last - start] = bytes(last - first)
        self._versions.append(self.content())

    def flushed(self) -> None:
        """From now on a crash may bring nothing older back."""
        self._versions = [self.content()]

    def seen_in(self, read: Read) -> bytes:
        """The windows as a reader gives them."""
        return b"".join(read(end - start, start) for start, end in self.windows)

    def take(self, content: bytes) -> None:
        """Take over what an operation did that may do one thing or the other."""
        at = 0
        for part in self._parts:
            part[:] = content[at : at + len(part)]
            at += len(part)
        self._versions.append(content)

    def reset(self, content: bytes) -> None:
        """Take over what a crash left: that is durable."""
        self.take(content)
        self.flushed()

    def assert_equal(self, read: Read) -> None:
        """The reader gives exactly this content."""
        assert_same(self.seen_in(read), self.content())

    def assert_possible(self, content: bytes) -> None:
        """Each sector of what a crash left is as it was at the last flush or at some time since."""
        assert_from(content, self._versions)


def assert_from(content: bytes, versions: Iterable[bytes]) -> None:
    """Each sector of 512 bytes of a content is as in one of its versions."""
    found = _sectors(content)
    possible = np.zeros(len(found), dtype=bool)
    for version in versions:
        assert len(version) == len(content)
        possible |= (found == _sectors(version)).all(axis=1)
    wrong = np.flatnonzero(~possible).tolist()
    assert not wrong, f"{len(wrong)} sectors are neither old nor new: {wrong[:10]}"


def _sectors(content: bytes) -> "np.ndarray[tuple[int, int], np.dtype[np.uint64]]":
    padded = content.ljust(-(-len(content) // 512) * 512, b"\0")
    return np.frombuffer(padded, dtype=np.uint64).reshape(-1, 64)


def assert_same(found: bytes, wanted: bytes) -> None:
    """Two runs of bytes are equal; says where they differ first, without printing megabytes."""
    if found == wanted:
        return
    assert len(found) == len(wanted), f"{len(found)} bytes instead of {len(wanted)}"
    differs = np.flatnonzero(np.frombuffer(found, np.uint8) != np.frombuffer(wanted, np.uint8))
    first, last = int(differs[0]), int(differs[-1])
    raise AssertionError(
        f"{len(differs)} bytes differ, from {first:#x} to {last:#x}: "
        f"{found[first : first + 16]!r} instead of {wanted[first : first + 16]!r}"
    )
