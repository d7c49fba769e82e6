"""A long range, of a disk or a file, in pieces that end where sectors do.

Whatever is done piece by piece can be overtaken by somebody else between two of them: pieces that ended at
any byte would leave a sector of which one part is from the one and the rest from the other.
"""

from __future__ import annotations

from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def pieces(offset: int, length: int, size: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of the pieces of a range, cut at the multiples of ``size`` bytes."""
    end = offset + length
    while offset < end:
        count = min(size - offset % size, end - offset)
        yield offset, count
        offset += count
