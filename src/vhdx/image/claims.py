"""Which blocks of a small table claim the same space of the file [MS-VHDX 2.5.1]."""

from __future__ import annotations

from itertools import pairwise

from vhdx.format.bat import BITMAP_PRESENT, FILE_OFFSET_MASK, STATE_MASK
from vhdx.geometry import BITMAP_BLOCK_SIZE
from vhdx.image.bat import WINDOW
from vhdx.image.state_masks import are_in
from vhdx.image.states import PRESENT
from vhdx.typed import TYPE_CHECKING
from vhdx.units import MIB

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vhdx.geometry import Geometry
    from vhdx.image.bat import Bat


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


def claims_by_mib(bat: Bat, geometry: Geometry, file_size: int) -> NDArray[np.uint8]:
    """For each MiB of the file: 0 no present block claims it, 1 one does, 2 several do. Any size of table."""
    import numpy as np  # noqa: PLC0415  slow to import, and only those who judge whole tables need it

    claims = np.zeros(-(-file_size // MIB), dtype=np.uint8)
    for block in range(0, geometry.block_count, WINDOW):
        entries = np.frombuffer(
            bat.payloads(block, min(WINDOW, geometry.block_count - block)), dtype=np.uint64
        )
        present = are_in(entries, PRESENT)
        _claim(claims, entries[present], geometry.block_size)
    if geometry.differencing:
        bitmaps = (bat.bitmap(chunk) for chunk in range(geometry.chunk_count))
        present_ones = [entry for entry in bitmaps if entry & STATE_MASK == BITMAP_PRESENT]
        _claim(claims, np.array(present_ones, dtype=np.uint64), BITMAP_BLOCK_SIZE)
    return claims


def _claim(claims: NDArray[np.uint8], entries: NDArray[np.uint64], length: int) -> None:
    import numpy as np  # noqa: PLC0415  who has arrays has paid for it

    firsts, times = np.unique(entries >> np.uint64(MIB.bit_length() - 1), return_counts=True)
    inside = (firsts > 0) & (firsts < len(claims))
    firsts, times = firsts[inside].astype(np.int64), times[inside]
    for offset in range(length // MIB):
        reached = firsts + offset < len(claims)
        places = firsts[reached] + offset
        claims[places] = np.where((claims[places] > 0) | (times[reached] > 1), 2, 1)


def _claims(bat: Bat, geometry: Geometry) -> list[tuple[int, int, int]]:
    """(file offset, length, slot) of every present block, by file offset."""
    claims = []
    behind = geometry.payload_index(geometry.block_count - 1) + 1
    for index, entry in enumerate(bat.entries(0, geometry.bat_entry_count)):
        state = entry & STATE_MASK
        if state not in PRESENT:  # asked first: most are absent, and PRESENT holds BITMAP_PRESENT
            continue
        if geometry.is_bitmap_index(index):
            if geometry.differencing and state == BITMAP_PRESENT:
                claims.append((entry & FILE_OFFSET_MASK, BITMAP_BLOCK_SIZE, index))
        elif index < behind:  # what stands behind the last block means nothing
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
