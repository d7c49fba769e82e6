"""Checksums as Linux' file systems keep them: not inverted at the end, one at a time or many at once."""

from __future__ import annotations

import functools
import zlib

from vhdx.format.checksum import crc32c
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Columns = NDArray[np.uint8]
    Checksums = NDArray[np.uint32]

_ALL = 0xFFFFFFFF
_CRC32C_POLYNOMIAL = 0x82F63B78
_CRC16_POLYNOMIAL = 0xA001
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def raw_crc32c(seed: int, data: bytes) -> int:
    """CRC-32C that goes on from ``seed``, not inverted at the end."""
    return crc32c(data, seed ^ _ALL) ^ _ALL


def raw_crc32c_rows(seeds: Checksums, rows: Columns) -> Checksums:
    """`raw_crc32c` of each row of an array, all rows at once."""
    return _rows(_CRC32C_POLYNOMIAL, seeds, rows)


def raw_crc16_rows(seeds: Checksums, rows: Columns) -> Checksums:
    """CRC-16 (reflected 0x8005) of each row of an array, all rows at once."""
    return _rows(_CRC16_POLYNOMIAL, seeds, rows)


def crc32_big_endian(data: bytes, previous: int = _ALL) -> int:
    """CRC-32 with the highest bit first, which goes on from ``previous`` and is not inverted at the end.

    zlib takes the lowest bit first, which is the same of mirrored bytes.
    """
    return _mirrored(zlib.crc32(data.translate(_MIRRORED), _mirrored(previous) ^ _ALL) ^ _ALL)


def _mirrored(checksum: int) -> int:
    return int(f"{checksum:032b}"[::-1], 2)


def _rows(polynomial: int, seeds: Checksums, rows: Columns) -> Checksums:
    import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

    table, checksums = _table(polynomial), seeds
    for column in rows.T:
        checksums = table[(checksums ^ column) & np.uint32(0xFF)] ^ (checksums >> np.uint32(8))
    return checksums


@functools.cache
def _table(polynomial: int) -> Checksums:
    import numpy as np  # noqa: PLC0415  see above

    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ (table & np.uint32(1)) * np.uint32(polynomial)
    return table
