"""Chunks of btrfs: which logical addresses stand where on the device."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from vhdx.filesystems.area import number
from vhdx.filesystems.base import NotFreeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vhdx.filesystems.base import Runs

_KEY = 17
_HEAD = 48
_STRIPE = 32
_PROFILES = 0x7F8
"""The bits of a type that say how a chunk is spread: all RAID levels, and DUP."""
_DUP = 1 << 5
_RESERVED = ((0, 1 << 20), (64 << 20, 64 << 10), (256 << 30, 64 << 10))
"""The first MiB, and where copies of the superblock stand: never given to extents."""


class Chunk(NamedTuple):
    """A run of logical addresses, and where on the device each copy of it begins. Bytes."""

    logical: int
    length: int
    is_plain: bool
    stripes: tuple[int, ...]


class Piece(NamedTuple):
    """A range of the device: of a chunk from ``logical`` on, or in use as a whole where that is None."""

    offset: int
    length: int
    logical: int | None


class Chunks(NamedTuple):
    """All chunks that are known, by logical address, and where each begins."""

    rows: tuple[Chunk, ...]
    starts: tuple[int, ...]

    @classmethod
    def of(cls, rows: Iterable[Chunk]) -> Chunks:
        """Chunks in order. Raises NotFreeError where two of them have the same addresses."""
        found = tuple(sorted(set(rows)))
        for before, after in pairwise(found):
            if before.logical + before.length > after.logical:
                raise NotFreeError("two chunks have the same addresses")
        return cls(found, tuple(chunk.logical for chunk in found))

    @classmethod
    def of_superblock(cls, superblock: bytes) -> Chunks:
        """Those that stand in the superblock itself, which lead to all others."""
        length = number(superblock, 0xA0, 4)
        if length > 2048:
            raise NotFreeError("its superblock says more chunks than it has room for")
        array = superblock[0x32B : 0x32B + length]
        rows = []
        while array:
            rows.append(unpacked(number(array, 9, 8), array[_KEY:], device_of(superblock)))
            array = array[_KEY + _HEAD + _STRIPE * number(array, _KEY + 44, 2) :]
        return cls.of(rows)

    def place(self, logical: int, length: int) -> int:
        """Where on the device a range of one chunk stands; the first copy."""
        index = bisect_right(self.starts, logical) - 1
        chunk = self.rows[index] if index >= 0 else None
        if chunk is None or not chunk.is_plain or logical + length > chunk.logical + chunk.length:
            raise NotFreeError(f"no chunk has the {length} bytes at logical address {logical}")
        return chunk.stripes[0] + logical - chunk.logical

    def check_inside(self, extents: Iterable[Runs]) -> int:
        """The bytes of all extents. Raises NotFreeError unless they rise and each is inside of one chunk."""
        import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

        starts = np.array(self.starts, np.int64)
        ends = starts + np.array([chunk.length for chunk in self.rows], np.int64)
        total = end = 0
        for runs in extents:
            if not len(runs):
                continue
            behind = runs[:, 0] + runs[:, 1]
            if runs[:, 1].min() <= 0 or runs[0, 0] < end or (runs[1:, 0] < behind[:-1]).any():
                raise NotFreeError("two of its extents overlap")
            index = np.searchsorted(starts, runs[:, 0], "right") - 1
            if index[0] < 0 or (behind > ends[index]).any():
                raise NotFreeError("one of its extents is in no chunk")
            end = int(behind[-1])
            total += int(runs[:, 1].sum())
        return total


def device_of(superblock: bytes) -> int:
    """The number by which its file system calls the device that a superblock stands on."""
    return number(superblock, 0xC9, 8)


def unpacked(logical: int, item: bytes, device: int) -> Chunk:
    """A chunk item whose key has this offset. Raises NotFreeError where it is not all on this device."""
    length, kind, count = number(item, 0, 8), number(item, 24, 8), number(item, 44, 2)
    if (
        not 1 <= count <= 16
        or len(item) < _HEAD + _STRIPE * count
        or length < 1
        or logical + length >= 1 << 62
    ):
        raise NotFreeError("a chunk of it makes no sense")
    stripes = [item[_HEAD + _STRIPE * n :][:_STRIPE] for n in range(count)]
    if any(number(stripe, 0, 8) != device for stripe in stripes):
        raise NotFreeError("a chunk of it stands on another device", "unknown")
    profile = kind & _PROFILES
    is_plain = (profile, count) in ((0, 1), (_DUP, 2))
    return Chunk(logical, length, is_plain, tuple(number(stripe, 8, 8) for stripe in stripes))


def placed(chunks: Chunks) -> list[tuple[int, Chunk]]:
    """Each copy of each chunk, in the order of the device."""
    return sorted((offset, chunk) for chunk in chunks.rows for offset in chunk.stripes)


def pieces_of(chunks: Chunks, device_size: int) -> Iterator[Piece]:
    """What of the device may be in use, in order: chunks without the places reserved in them, and those."""
    waiting = [Piece(start, min(length, device_size - start), None) for start, length in _RESERVED]
    waiting = [piece for piece in waiting if piece.length > 0]
    for start, chunk in placed(chunks):
        offset = start
        while waiting and waiting[0].offset < start + chunk.length:
            piece = waiting.pop(0)
            yield from _part(start, chunk, offset, piece.offset)
            yield piece
            offset = max(offset, piece.offset + piece.length)
        yield from _part(start, chunk, offset, start + chunk.length)
    yield from waiting


def _part(start: int, chunk: Chunk, offset: int, end: int) -> Iterator[Piece]:
    """The part from ``offset`` to ``end`` of a chunk that stands at ``start``, if there is any."""
    if offset < end:
        logical = chunk.logical + offset - start if chunk.is_plain else None
        yield Piece(offset, end - offset, logical)
