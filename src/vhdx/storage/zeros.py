"""Where a piece of memory is zeros and where it is not. Compares memory with memory, which C does."""

from __future__ import annotations

from vhdx.storage.base import ZEROS

UNIT = 16 * 1024
"""What is tested in one go within a piece that is not all zeros."""
_PROBE = bytes(32)


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
