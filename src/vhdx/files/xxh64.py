"""XXH64, a checksum that btrfs may have, of many blocks at once: of each by itself it would take for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_P1, _P2, _P3, _P4 = (
    np.uint64(prime)
    for prime in (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63)
)
_STRIPE = 32
_START = np.array([0x60EA27EEADC0B5D6, 0xC2B2AE3D27D4EB4F, 0, 0x61C8864E7A143579], np.uint64)
"""The four lanes of a checksum without a seed: the first primes, and what they make."""
_TURNS = (1, 7, 12, 18)


def xxh64(data: bytes, block: int) -> list[bytes]:
    """The checksums of the blocks of which data consist, as they are stored; blocks are whole stripes."""
    if block % _STRIPE or len(data) % block:
        raise ValueError("blocks must be multiples of 32 bytes, and whole")
    words = np.frombuffer(data, "<u8").astype(np.uint64).reshape(-1, block // _STRIPE, 4)
    lanes = np.broadcast_to(_START, (len(words), 4))
    words *= _P2
    for stripe in range(words.shape[1]):
        lanes = _turned(lanes + words[:, stripe], 31) * _P1
    total = sum((_turned(lanes[:, lane], turn) for lane, turn in enumerate(_TURNS)), np.uint64(0))
    for lane in range(4):
        total = (total ^ _turned(lanes[:, lane] * _P2, 31) * _P1) * _P1 + _P4
    total = total + np.uint64(block)
    for shift, prime in ((33, _P2), (29, _P3)):
        total = (total ^ total >> np.uint64(shift)) * prime
    total ^= total >> np.uint64(32)
    return [each.tobytes() for each in total.astype("<u8")]


def _turned(words: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    return words << np.uint64(bits) | words >> np.uint64(64 - bits)
