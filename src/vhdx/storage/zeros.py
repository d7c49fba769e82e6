"""Where a piece of memory is zeros and where it is not. Compares memory with memory, which C does."""

from __future__ import annotations

from vhdx.storage.base import ZEROS
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.storage.base import ReadableStorage

UNIT = 16 * 1024
"""What is tested in one go within a piece that is not all zeros."""
_PROBE = bytes(32)
_PIECE = 1024 * 1024


def is_zero(piece: memoryview | bytes | bytearray) -> bool:
    """Whether a piece of at most 1 MiB is all zeros."""
    return ZEROS.startswith(piece)


def nonzero_runs(piece: bytearray, unit: int = UNIT) -> list[tuple[int, int]]:
    """Where a piece of at most 1 MiB is not zero, as (start, stop), in units of ``unit`` bytes.

    Most units that hold data show it in their first bytes.
    """
    if (piece == ZEROS) if len(piece) == len(ZEROS) else is_zero(piece):
        return []
    zero_unit = ZEROS[:unit]
    runs: list[tuple[int, int]] = []
    for start in range(0, len(piece), unit):
        stop = min(start + unit, len(piece))
        if piece.startswith(_PROBE, start) and piece[start:stop] == zero_unit[: stop - start]:
            continue
        if runs and runs[-1][1] == start:
            runs[-1] = runs[-1][0], stop
        else:
            runs.append((start, stop))
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
