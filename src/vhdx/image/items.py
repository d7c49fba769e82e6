"""Changing a metadata item [MS-VHDX 2.6.1]: where its new value goes, and the table row that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.errors import UnsupportedImageError
from vhdx.format import metadata

if TYPE_CHECKING:
    from uuid import UUID

    from vhdx.image.metadata import Metadata


def item_changes(loaded: Metadata, item_id: UUID, value: bytes) -> list[tuple[int, bytes]]:
    """(file offset, bytes) that give the system item ``item_id``, which is there, another value.

    They belong into one log entry. Raises UnsupportedImageError if the region has no room for the value.
    """
    index = next(i for i, e in enumerate(loaded.entries) if e.item_id == item_id and not e.is_user)
    others = [entry for i, entry in enumerate(loaded.entries) if i != index and entry.length]
    offset = _room_for(len(value), sorted((e.offset, e.end) for e in others), loaded.region.length)
    entry = loaded.entries[index]._replace(offset=offset, length=len(value))
    start = loaded.region.file_offset
    return [
        (start + offset, value),
        (start + metadata.entry_offset(index), metadata.pack_entry(entry)),
    ]


def _room_for(length: int, taken: list[tuple[int, int]], region_length: int) -> int:
    """The first offset in the region, in bytes, at which ``length`` bytes are free."""
    offset = metadata.TABLE_SIZE
    for start, end in taken:
        if offset + length <= start:
            return offset
        offset = max(offset, end)
    if offset + length > region_length:
        raise UnsupportedImageError(f"the metadata region has no room for an item of {length} bytes")
    return offset
