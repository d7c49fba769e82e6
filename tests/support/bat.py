"""The words of a BAT, some told and the many others computed, in pieces small enough for any memory."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Fill = Callable[[Words], Words]
PIECE = 1 << 18


def bat_pieces(
    count: int, ratio: int, payload_blocks: int, told: Mapping[int, int], fill: Fill | None
) -> Iterator[tuple[int, bytes]]:
    """Pieces (byte offset in the BAT, bytes) of a BAT of `count` entries.

    `fill` turns payload block numbers into words for all blocks of the disk; without it they are zero and
    nothing is written for them. `told` are entries by index, also past the end, and win.
    """
    if fill is not None:
        for start in range(0, count, PIECE):
            yield start * 8, _filled(start, min(start + PIECE, count), ratio, payload_blocks, fill)
    for index, word in told.items():
        yield index * 8, word.to_bytes(8, "little")


def _filled(start: int, stop: int, ratio: int, payload_blocks: int, fill: Fill) -> bytes:
    index = np.arange(start, stop, dtype=np.uint64)
    group = np.uint64(ratio + 1)
    block = index - index // group
    is_payload = (index % group != np.uint64(ratio)) & (block < np.uint64(payload_blocks))
    words = np.zeros(len(index), dtype="<u8")
    words[is_payload] = fill(block[is_payload])
    return words.tobytes()
