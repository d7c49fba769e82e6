"""Block states as tables [MS-VHDX 2.5.1.1]: what a read of a block returns. Pure."""

from __future__ import annotations

import enum

from vhdx.extents import BlockState
from vhdx.format.bat import STATE_MASK


class Answer(enum.Enum):
    """Where a read of a block finds its bytes."""

    THIS_FILE = enum.auto()
    ZEROS = enum.auto()
    NOBODY = enum.auto()
    """Nothing is said here: the parent answers, or where there is none zeros are read."""
    BITMAP = enum.auto()
    """Sector by sector: this file or the parent."""
    INVALID = enum.auto()


READ_ANSWERS: dict[BlockState, Answer] = {
    BlockState.NOT_PRESENT: Answer.NOBODY,
    # The specification lets a read of UNDEFINED return anything; zeros leak nothing. The parent is not asked.
    BlockState.UNDEFINED: Answer.ZEROS,
    BlockState.ZERO: Answer.ZEROS,
    BlockState.UNMAPPED: Answer.ZEROS,
    BlockState.RESERVED_4: Answer.INVALID,
    # UNMAPPED in version 0.95 of the format; QEMU reads it as zeros, too.
    BlockState.UNMAPPED_V095: Answer.ZEROS,
    BlockState.FULLY_PRESENT: Answer.THIS_FILE,
    BlockState.PARTIALLY_PRESENT: Answer.BITMAP,
}

PRESENT = (BlockState.FULLY_PRESENT.value, BlockState.PARTIALLY_PRESENT.value)
"""The numbers of the states whose contents, or part of them, stand in the file."""
KEEPS_SPACE = frozenset({BlockState.UNDEFINED, BlockState.UNMAPPED})
"""States without contents whose entry may still name space that is kept for the block."""
MAY_OWN_SPACE = KEEPS_SPACE | {BlockState.RESERVED_4, BlockState.UNMAPPED_V095}
"""States that are not read from a place, but whose place, if they name one, is nobody else's."""


def is_present(entry: int) -> bool:
    """Whether a block has its contents, or part of them, in the file."""
    return entry & STATE_MASK in PRESENT


TAKEN_FOR_PRESENT = BlockState.PARTIALLY_PRESENT.value
"""What Microsoft's own code takes for FULLY_PRESENT where there are no bits to ask: in entries of images
without a parent, and in those of sector bitmap blocks."""


def is_invalid(state: BlockState) -> bool:
    """Whether no block can be in a state."""
    return READ_ANSWERS[state] is Answer.INVALID


def invalidity(state: BlockState) -> str:
    """What is wrong with a block in such a state; its name goes before."""
    return f"is in state {state.value}, which no block can have"
