"""Which blocks of a small table claim the same space of the file [MS-VHDX 2.5.1]."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from vhdx.extents import BlockState
from vhdx.format.bat import BITMAP_PRESENT, FILE_OFFSET_MASK, STATE_MASK
from vhdx.geometry import BITMAP_BLOCK_SIZE
from vhdx.image.bat import WINDOW

if TYPE_CHECKING:
    from vhdx.geometry import Geometry
    from vhdx.image.bat import Bat

_PRESENT = (BlockState.FULLY_PRESENT.value, BlockState.PARTIALLY_PRESENT.value)


def doubly_claimed(bat: Bat, geometry: Geometry) -> dict[int, str]:
    """The BAT slots whose space another slot claims, too, each with a word for that other one.

    Looks at tables of at most 1 MiB: so the cost of a first read does not grow with the disk.
    """
    if geometry.bat_entry_count > WINDOW:
        return {}
    claims = _claims(bat, geometry)
    if all(start + length <= following for (start, length, _), (following, _, _) in pairwise(claims)):
        return {}
    return _conflicts(claims, geometry)


def _claims(bat: Bat, geometry: Geometry) -> list[tuple[int, int, int]]:
    """(file offset, length, slot) of every present block, by file offset."""
    claims = []
    for index, entry in enumerate(bat.entries(0, geometry.bat_entry_count)):
        state = entry & STATE_MASK
        if geometry.is_bitmap_index(index):
            if geometry.differencing and state == BITMAP_PRESENT:
                claims.append((entry & FILE_OFFSET_MASK, BITMAP_BLOCK_SIZE, index))
        elif state in _PRESENT:
            claims.append((entry & FILE_OFFSET_MASK, geometry.block_size, index))
    claims.sort()
    return claims


def _conflicts(claims: list[tuple[int, int, int]], geometry: Geometry) -> dict[int, str]:
    conflicts: dict[int, str] = {}
    reach, reaching = 0, -1
    for start, length, index in claims:
        if start < reach:
            conflicts[index] = geometry.slot_name(reaching)
            conflicts.setdefault(reaching, geometry.slot_name(index))
        if start + length > reach:
            reach, reaching = start + length, index
    return conflicts
