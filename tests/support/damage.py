"""Damage to existing images: any named field of any structure, behind a right checksum or a broken one."""

import os
from typing import BinaryIO

from . import layout
from .layout import HEADER_OFFSETS, REGION_TABLE_OFFSETS, SECTOR, TABLE_SIZE, Value, seal
from .structures import (
    IN_A_LOG_ENTRY,
    IN_A_REGION_TABLE,
    Structure,
    find,
    layout_of,
    log_place,
    read,
    ring_read,
)

Path = str | os.PathLike[str]


def damage(
    path: Path, structure: Structure, field: str, value: Value, copy: int = 1, *, reseal: bool = True
) -> None:
    """Set one field of a structure; the checksum that covers it fits again unless `reseal` is False."""
    with open(path, "r+b") as file:
        layout_ = layout_of(structure)
        offset = find(file, structure, copy)
        raw = bytearray(read(file, offset, layout_.size))
        layout_.field(field).encode(raw, value)
        _write(file, offset, bytes(raw))
        if reseal and field != "checksum":
            _reseal(file, structure, copy)


def flip(path: Path, file_offset: int, mask: int = 0xFF) -> None:
    """Flip the bits of one byte of the file; no checksum is touched."""
    with open(path, "r+b") as file:
        _write(file, file_offset, bytes([read(file, file_offset, 1)[0] ^ mask]))


def overwrite(path: Path, file_offset: int, data: bytes) -> None:
    """Write raw bytes into the file; no checksum is touched."""
    with open(path, "r+b") as file:
        _write(file, file_offset, data)


def reseal(path: Path, structure: Structure, copy: int = 1) -> None:
    """Make the checksum fit that covers a structure, if one does."""
    with open(path, "r+b") as file:
        _reseal(file, structure, copy)


def _write(file: BinaryIO, offset: int, data: bytes) -> None:
    file.seek(offset)
    file.write(data)


def _reseal(file: BinaryIO, structure: Structure, copy: int) -> None:
    if structure.kind == "header":
        offset = HEADER_OFFSETS[copy]
        _write(file, offset, seal(read(file, offset, layout.HEADER.size)))
    elif structure.kind in IN_A_REGION_TABLE:
        offset = REGION_TABLE_OFFSETS[copy]
        _write(file, offset, seal(read(file, offset, TABLE_SIZE)))
    elif structure.kind in IN_A_LOG_ENTRY:
        log_offset, log_length = log_place(file)
        at = structure.ring_offset
        length = layout.LOG_ENTRY.number(ring_read(file, at, layout.LOG_ENTRY.size), "entry_length")
        entry = seal(ring_read(file, at, max(SECTOR, min(length, log_length))))
        _write(file, log_offset + at % log_length, entry[:8])
