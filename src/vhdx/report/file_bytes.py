"""Where the bytes of a file are, in parts of equal length: structures, blocks, and what neither names."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTS = 128
"""In which a file is shown."""


class Structure(NamedTuple):
    """A structure of the file: where it is, and what it is called."""

    file_offset: int
    length: int
    name: str


class FileBytes(NamedTuple):
    """A file in `PARTS`: of each the bytes that are structures, blocks, and leaked: of nobody, and not zeros.

    All in bytes; ``leaked_size`` is counted in whole MiB.
    """

    size: int
    part_length: int
    structures: list[Structure]
    structure_parts: list[int]
    data_parts: list[int]
    leaked_parts: list[int]
    data_size: int
    bitmap_size: int
    leaked_size: int

    @property
    def free_size(self) -> int:
        """What is neither structures nor blocks, and zeros."""
        named = sum(each.length for each in self.structures) + self.bitmap_size + self.data_size
        return max(0, self.size - named - self.leaked_size)


def part_length_of(size: int) -> int:
    """Bytes of a part of a file of ``size`` bytes."""
    return max(1, -(-size // PARTS))


def spread(
    parts: NDArray[np.int64], length: int, starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> None:
    """Spread ranges of the file over the parts that they touch."""
    # Bytes in front of each border; between neighbouring borders they grow by what the part between holds.
    borders = np.arange(PARTS + 1, dtype=np.int64) * length
    order = np.argsort(starts, kind="stable")
    starts, lengths = starts[order], lengths[order]
    before = np.concatenate(([0], np.cumsum(lengths)))
    at = np.searchsorted(starts, borders, side="left")
    last = np.maximum(at - 1, 0)
    if len(starts):
        whole = before[last]
        inside = np.clip(borders - starts[last], 0, lengths[last])
        filled = np.where(at > 0, whole + inside, 0)
        parts += np.diff(filled)
