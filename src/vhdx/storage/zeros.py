"""Where a piece of memory is zeros and where it is not. Compares memory with memory, which C does."""

from __future__ import annotations

from vhdx.storage.base import ZEROS
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.storage.base import ReadableStorage

UNIT = 16 * 1024
"""What is tested in one go within a piece that is not all zeros."""
_PIECE = 1024 * 1024


def is_zero(piece: memoryview | bytes | bytearray) -> bool:
    """Whether a piece of at most 1 MiB is all zeros."""
    return ZEROS.startswith(piece)


def nonzero_runs(piece: bytearray, unit: int = UNIT) -> list[tuple[int, int]]:
    """Where a piece of at most 1 MiB is not zero, as (start, stop), in units of ``unit`` bytes.

    Most units that hold data show it in their first byte: all of these are looked at in one go.
    """
    if (piece == ZEROS) if len(piece) == len(ZEROS) else is_zero(piece):
        return []
    zero_unit, length = ZEROS[:unit], len(piece)
    heads = piece[::unit]
    runs: list[tuple[int, int]] = []
    reached, number = 0, heads.find(0)
    while number >= 0:
        start = number * unit
        if piece.startswith(zero_unit if start + unit <= length else zero_unit[: length - start], start):
            if reached < start:
                runs.append((reached, start))
            reached = min(start + unit, length)
        number = heads.find(0, number + 1)
    if reached < length:
        runs.append((reached, length))
    return runs


def stored_nonzero_runs(
    storage: ReadableStorage, file_offset: int, length: int, unit: int = UNIT
) -> Iterator[tuple[int, int]]:
    """The (file offset, length) runs of a range of a file that are not zeros, in units of ``unit`` bytes.

    Reads 1 MiB at a time; holes of the host's file are passed over.
    """
    for start, count in storage.data_ranges(file_offset, length):
        for place in range(start, start + count, _PIECE):
            piece = bytearray(min(_PIECE, start + count - place))
            storage.read_into(memoryview(piece), place)
            for first, stop in nonzero_runs(piece, unit):
                yield place + first, stop - first
