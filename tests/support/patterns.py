"""Contents whose every 16 bytes say whose they are: owner, block, and offset inside the block."""

import numpy as np

LANE = 16
MARK = 0xD1 << 56


def pattern(block: int, length: int, seed: int = 0, start: int = 0) -> bytes:
    """`length` bytes of block `block` of the disk called `seed`, from offset `start` of the block on.

    A lane of 16 bytes is owner u32, block u32, offset in the block u64 with a mark in its highest byte, so
    that no sector is all zeros and bytes taken from a wrong place can be told from those of the right one.
    """
    first = start // LANE
    lanes = np.empty((-(-(start + length) // LANE) - first, 2), dtype="<u8")
    lanes[:, 0] = seed & 0xFFFFFFFF | (block & 0xFFFFFFFF) << 32
    lanes[:, 1] = (np.arange(first, first + len(lanes), dtype=np.uint64) * np.uint64(LANE)) | np.uint64(MARK)
    return lanes.tobytes()[start - first * LANE :][:length]
