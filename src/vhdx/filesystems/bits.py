"""Bitmaps as runs: numpy over the bits, the least significant bit of a byte first."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bitmap = NDArray[np.uint8]


def clear_runs(bitmap: Bitmap, count: int) -> NDArray[np.int64]:
    """The runs of clear bits among the first ``count``: rows of (first bit, number of bits), ascending."""
    import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

    # Each bit is compared with the one before it, eight at once: only bytes with an edge are taken apart.
    packed = bitmap[: -(-count // 8)]
    before = np.concatenate((np.full(1, 0x80, dtype=np.uint8), packed[:-1])) >> np.uint8(7)
    edges = packed ^ (packed << np.uint8(1)) ^ before
    touched = np.flatnonzero(edges)
    byte, bit = np.nonzero(np.unpackbits(edges[touched], bitorder="little").reshape(-1, 8))
    places = touched[byte] * 8 + bit
    places = places[: np.searchsorted(places, count)]
    if len(places) % 2:
        places = np.append(places, count)
    return np.stack((places[0::2], places[1::2] - places[0::2]), axis=1).astype(np.int64, copy=False)


def clear_counts(bitmaps: Bitmap) -> NDArray[np.int64]:
    """The number of clear bits in each row."""
    import numpy as np  # noqa: PLC0415  see above

    counts: NDArray[np.int64] = _clear_bits()[bitmaps].sum(axis=1, dtype=np.int64)
    return counts


def set_bits(bitmap: Bitmap, first: int, end: int) -> None:
    """Set the bits from ``first`` to before ``end``."""
    if first >= end:
        return
    low, high = 0xFF << first % 8 & 0xFF, 0xFF >> -end % 8
    first_byte, last_byte = first // 8, (end - 1) // 8
    if first_byte == last_byte:
        bitmap[first_byte] |= low & high
    else:
        bitmap[first_byte] |= low
        bitmap[first_byte + 1 : last_byte] = 0xFF
        bitmap[last_byte] |= high


@functools.cache
def _clear_bits() -> NDArray[np.uint8]:
    import numpy as np  # noqa: PLC0415  see above

    return np.array([8 - byte.bit_count() for byte in range(256)], dtype=np.uint8)
