"""A BAT entry: the state of a block and where it stands [MS-VHDX 2.5.1]."""

from __future__ import annotations

from vhdx.extents import BlockState

ENTRY_SIZE = 8
STATE_MASK = 0b111
RESERVED_MASK = 0xF_FFF8
FILE_OFFSET_MASK = 0xFFFF_FFFF_FFF0_0000
FILE_OFFSET_LIMIT = 1 << 48
"""Files of 256 TiB and more are refused, as openvmm refuses them: no disk of 64 TiB needs them."""

BITMAP_PRESENT = 6


def state_of(entry: int) -> BlockState:
    """The state of the payload block that an entry describes."""
    return BlockState(entry & STATE_MASK)


def file_offset_of(entry: int) -> int:
    """The file offset in bytes that an entry names; 0 if it names none."""
    return entry & FILE_OFFSET_MASK


def pack(state: int, file_offset: int) -> int:
    """The entry for a block in ``state`` at ``file_offset``, a multiple of 1 MiB."""
    return state | file_offset
