"""What becomes of the state of a block that is zeroed or trimmed, as a table [MS-VHDX 2.5.1.1]. Pure."""

from __future__ import annotations

import enum

from vhdx.extents import BlockState


class Event(enum.Enum):
    """What can happen to a whole block."""

    ZERO = enum.auto()
    """It is to read as zeros, exactly."""
    TRIM = enum.auto()
    """Nobody needs its contents any more."""
    TRIM_OVER_PARENT = enum.auto()


TRANSITIONS: dict[Event, dict[BlockState, BlockState]] = {
    # The specification lets NOT_PRESENT, UNDEFINED and UNMAPPED return old contents; only ZERO is exact.
    Event.ZERO: {
        BlockState.NOT_PRESENT: BlockState.ZERO,
        BlockState.UNDEFINED: BlockState.ZERO,
        BlockState.UNMAPPED: BlockState.ZERO,
        BlockState.UNMAPPED_V095: BlockState.ZERO,
        BlockState.FULLY_PRESENT: BlockState.ZERO,
        BlockState.PARTIALLY_PRESENT: BlockState.ZERO,
    },
    Event.TRIM: {
        BlockState.FULLY_PRESENT: BlockState.UNMAPPED,
        BlockState.PARTIALLY_PRESENT: BlockState.UNMAPPED,
    },
    # Where there is a parent, letting go of a block also means that the parent's data is not wanted.
    Event.TRIM_OVER_PARENT: {
        BlockState.NOT_PRESENT: BlockState.UNMAPPED,
        BlockState.FULLY_PRESENT: BlockState.UNMAPPED,
        BlockState.PARTIALLY_PRESENT: BlockState.UNMAPPED,
    },
}
"""(event, state) to the state after it, without space behind it; states not listed stay as they are."""
