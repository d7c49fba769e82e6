"""Bitmaps as runs: numpy over the bits, the least significant bit of a byte first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def clear_runs(bitmap: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """The runs of clear bits among the first ``count``: rows of (first bit, number of bits), ascending.

    Words of 64 bits are compared with themselves moved by one bit; only those in which a run begins or ends
    are taken apart, which in most bitmaps are few.
    """
    import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

    length = -(-count // 8)
    padded = np.full(-(-length // 8) * 8 + 8, 0xFF, np.uint8)
    padded[:length] = bitmap[:length]
    if count % 8:
        padded[length - 1] |= 0xFF << count % 8 & 0xFF
    words = padded.view("<u8")
    before = np.concatenate((np.full(1, -1, np.int64).view(np.uint64), words[:-1])) >> np.uint64(63)
    changes = words ^ (words << np.uint64(1) | before)
    changed = np.flatnonzero(changes)
    bits = np.unpackbits(changes[changed].astype("<u8", copy=False).view(np.uint8), bitorder="little")
    within = np.flatnonzero(bits)
    edges = changed[within >> 6] * 64 + (within & 63)
    return np.stack((edges[0::2], edges[1::2] - edges[0::2]), axis=1).astype(np.int64, copy=False)
