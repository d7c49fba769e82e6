"""Bitmaps as runs: numpy over the bits, the least significant bit of a byte first."""

from __future__ import annotations

from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    Bitmap = NDArray[np.uint8]

_SHORT = 8 << 20
"""Bytes of a bitmap that are read for one number: 256 GiB in clusters of 4 KiB."""
_PIECE = 1 << 18


def clear_count(read: Callable[[int, int], bytes], count: int) -> int | None:
    """How many of the first ``count`` bits are clear of the bitmap that ``read(length, offset)`` gives.

    None where it is long: the number is wanted at once, by whoever only looks at a disk.
    """
    length = -(-count // 8)
    if length > _SHORT:
        return None
    used = 0
    for offset in range(0, length, _PIECE):
        bits = int.from_bytes(read(min(_PIECE, length - offset), offset), "little")
        used += (bits & (1 << min(count - offset * 8, _PIECE * 8)) - 1).bit_count()
    return count - used


def clear_runs(bitmap: Bitmap, count: int) -> NDArray[np.int64]:
    """The runs of clear bits among the first ``count``: rows of (first bit, number of bits), ascending."""
    import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

    # Each bit is compared with the one before it, 64 at once; what has no edge is not taken apart.
    words = np.full(-(-count // 64), ~np.uint64(0), dtype="<u8")
    words.view(np.uint8)[: -(-count // 8)] = bitmap[: -(-count // 8)]
    before = np.concatenate((words[:1] | ~np.uint64(0), words[:-1])) >> np.uint64(63)
    edges = words ^ (words << np.uint64(1)) ^ before
    touched = np.flatnonzero(edges)
    octets = edges[touched].view(np.uint8)
    octet = np.flatnonzero(octets)
    row, bit = np.nonzero(np.unpackbits(octets[octet], bitorder="little").reshape(-1, 8))
    octet = octet[row]
    places = touched[octet // 8] * 64 + octet % 8 * 8 + bit
    places = places[: np.searchsorted(places, count)]
    if len(places) % 2:
        places = np.append(places, count)
    return np.stack((places[0::2], places[1::2] - places[0::2]), axis=1).astype(np.int64, copy=False)


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
