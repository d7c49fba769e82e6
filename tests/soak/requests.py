"""What writers ask for, as values that any of them can carry out."""

import random
from collections.abc import Iterator
from typing import NamedTuple

from tests.nbd.client import FAST_ZERO, FLUSH, FUA, NO_HOLE, READ, TRIM, WRITE, WRITE_ZEROES
from tests.support.layout import KIB, MIB

from .history import stamped
from .scene import Scene, some_range

_KINDS = {WRITE: 12, WRITE_ZEROES: 3, TRIM: 2, FLUSH: 1, READ: 4}
_CONTENTS = {"own": 12, "zeros": 2, "what was there": 2}
LONGEST_TOGETHER = 32 * KIB
"""Of requests that wait for their answers together, so that neither side blocks in sending."""
LONGEST_ERASED = 64 * MIB


class Request(NamedTuple):
    """One request; ``number`` is that of the change it makes."""

    kind: int
    offset: int = 0
    length: int = 0
    data: bytes = b""
    flags: int = 0
    number: int = 0


class Wishes:
    """An endless supply of requests of one writer, mostly for a part of the disk of its own."""

    def __init__(self, scene: Scene, seed: int, part: tuple[int, int]) -> None:
        self.chance = random.Random(seed)
        self._next_change = scene.next_change
        self._reference = scene.leaf.reference
        self._block_size = scene.leaf.block_size
        self._longest = self.chance.choice((64 * KIB, 2 * MIB, 2 * MIB, 20 * MIB))
        self._everything = scene.windows()
        number, count = part
        self._own = [
            (start + (end - start) * number // count, start + (end - start) * (number + 1) // count)
            for start, end in self._everything
            if end - start >= count
        ] or self._everything

    def batch(self) -> list[Request]:
        """One request, or several short ones that are asked for together."""
        number = self.chance.choice((1, 1, 1, 2, 4, 8))
        return [self._request(self._longest if number == 1 else LONGEST_TOGETHER) for _ in range(number)]

    def many(self, number: int) -> Iterator[list[Request]]:
        return (self.batch() for _ in range(number))

    def _request(self, longest: int) -> Request:
        kind = self.chance.choices(list(_KINDS), list(_KINDS.values()))[0]
        if kind == FLUSH:
            return Request(FLUSH)
        windows = self._own if self.chance.random() < 0.6 else self._everything
        if kind in (TRIM, WRITE_ZEROES):
            longest = LONGEST_ERASED
        offset, length = some_range(self.chance, windows, self._block_size, longest)
        data = self._data(offset, length) if kind == WRITE else (b"", 0)
        return Request(kind, offset, length, data[0], self._flags(kind), data[1] or self._next_change())

    def _data(self, offset: int, length: int) -> tuple[bytes, int]:
        number = self._next_change()
        content = self.chance.choices(list(_CONTENTS), list(_CONTENTS.values()))[0]
        if content == "zeros":
            return bytes(length), number
        if content == "what was there":
            return self._reference.read(length, offset), number
        return stamped(number, offset, length), number

    def _flags(self, kind: int) -> int:
        flags = FUA if kind != READ and self.chance.random() < 0.04 else 0
        if kind == WRITE_ZEROES:
            flags |= self.chance.choice((0, 0, NO_HOLE, FAST_ZERO))
        return flags
