"""A BAT entry: the state of a block and where it stands [MS-VHDX 2.5.1]."""

from __future__ import annotations

from vhdx.extents import BlockState
from vhdx.format import fields
from vhdx.units import MIB, format_size

ENTRY_SIZE = 8
STATE_MASK = 0b111
RESERVED_MASK = 0xF_FFF8
FILE_OFFSET_MASK = 0xFFFF_FFFF_FFF0_0000

BITMAP_PRESENT = 6
_BITMAP_NAMES = {0: "NOT_PRESENT", BITMAP_PRESENT: "PRESENT"}


def _entry_field(name: str, show: fields.Show) -> fields.Field:
    return fields.Field(name, 0, ENTRY_SIZE, show)


def _bits(raw: bytes) -> int:
    return int.from_bytes(raw, "little")


PAYLOAD_FIELDS = (
    _entry_field("state", lambda raw, _: (_bits(raw) & STATE_MASK, state_of(_bits(raw)).name)),
    _entry_field("reserved", lambda raw, _: (_bits(raw) & RESERVED_MASK, "")),
    _entry_field(
        "file offset", lambda raw, _: (file_offset_of(_bits(raw)), format_size(file_offset_of(_bits(raw))))
    ),
)
BITMAP_FIELDS = (
    _entry_field("state", lambda raw, _: (_bits(raw) & STATE_MASK, _bitmap_state(_bits(raw)))),
    *PAYLOAD_FIELDS[1:],
)


def _bitmap_state(entry: int) -> str:
    return _BITMAP_NAMES.get(entry & STATE_MASK, "reserved")


def described(entry: int, *, of_bitmap: bool = False) -> str:
    """An entry in words: its state, and where it points if it does."""
    words = _bitmap_state(entry) if of_bitmap else state_of(entry).name
    place = file_offset_of(entry)
    words += f" at {place // MIB} MiB" if place else ""
    unused = entry & RESERVED_MASK
    return f"{words}, reserved bits {unused:#x}" if unused else words


def state_of(entry: int) -> BlockState:
    """The state of the payload block that an entry describes."""
    return BlockState(entry & STATE_MASK)


def file_offset_of(entry: int) -> int:
    """The file offset in bytes that an entry names; 0 if it names none."""
    return entry & FILE_OFFSET_MASK


def pack(state: int, file_offset: int) -> int:
    """The entry for a block in ``state`` at ``file_offset``, a multiple of 1 MiB."""
    return state | file_offset
