"""Bitmaps as runs: numpy over the bits, the least significant bit of a byte first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def clear_runs(bitmap: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """The runs of clear bits among the first ``count``: rows of (first bit, number of bits), ascending."""
    import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

    bits = np.unpackbits(bitmap, count=count, bitorder="little")
    edges = np.flatnonzero(np.diff(bits, prepend=1, append=1))
    return np.stack((edges[0::2], edges[1::2] - edges[0::2]), axis=1).astype(np.int64, copy=False)
