"""What the check of a table finds; of a small faultless one that is told here, without numpy [MS-VHDX 2.5].

Importing numpy takes several times as long as all else that the check of such an image does. What is told
here is only yes: after a no the whole check finds out what there is to say, and a test compares the two.
"""

from __future__ import annotations

import struct

from vhdx.extents import BlockState
from vhdx.format.bat import ENTRY_SIZE
from vhdx.storage.zeros import stored_nonzero_runs
from vhdx.typed import TYPE_CHECKING, NamedTuple
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.examine.claims import Late
    from vhdx.examine.mibs import MibSet
    from vhdx.geometry import Geometry
    from vhdx.image.regions import Regions
    from vhdx.storage.base import ReadableStorage

_MOST_BYTES = 2 * MIB
"""Of the region: larger tables are looked at faster by numpy, its import included."""
_FULL, _ZERO = BlockState.FULLY_PRESENT.value, BlockState.ZERO.value


class TableFound(NamedTuple):
    """What the check of a table found: who claims which MiB of the file, and how much nobody claims.

    What nobody claims is leaked where it is not zeros, else free.
    """

    claimed: MibSet | None
    """None where each MiB of the file has one owner."""
    late: tuple[Late, ...]
    leaked_size: int
    free_size: int


def is_faultless(
    storage: ReadableStorage, regions: Regions, geometry: Geometry, *, keeps_length: bool
) -> bool:
    """Whether a small table is as it must be, and every MiB of the file has one owner.

    Its blocks are present or have no place, all else of its region is zeros. ``keeps_length`` is true of
    fixed images, which lack no block.
    """
    region, size = regions.bat, storage.size()
    used = geometry.bat_entry_count * ENTRY_SIZE
    if geometry.differencing or region.length > _MOST_BYTES or region.end > size or size % MIB:
        return False
    if used > region.length or _holds_data(storage, region.file_offset + used, region.length - used):
        return False
    slots = struct.unpack(f"<{geometry.bat_entry_count}Q", storage.read(used, region.file_offset))
    entries = [entry for entry in _payloads(slots, geometry) if entry]
    if len(entries) != len(slots) - slots.count(0) or (keeps_length and len(entries) < geometry.block_count):
        return False
    blocks = [entry - _FULL for entry in entries if entry % MIB == _FULL]
    if len(blocks) + entries.count(_ZERO) != len(entries):
        return False
    owned = [(area.start, -(-area.end // MIB) * MIB) for area in regions.areas]
    return _cover([*owned, *((start, start + geometry.block_size) for start in blocks)], size)


def _holds_data(storage: ReadableStorage, file_offset: int, length: int) -> bool:
    return next(stored_nonzero_runs(storage, file_offset, length), None) is not None


def _payloads(slots: tuple[int, ...], geometry: Geometry) -> Iterator[int]:
    """The entries of payload blocks, without the slots between them and behind the last one."""
    ratio = geometry.chunk_ratio
    for chunk in range(geometry.chunk_count):
        first = chunk * (ratio + 1)
        yield from slots[first : first + min(ratio, geometry.block_count - chunk * ratio)]


def _cover(owned: list[tuple[int, int]], size: int) -> bool:
    """Whether ranges of a file stand one behind the other, from its beginning to its end."""
    owned.sort()
    ends = [0, *(end for _, end in owned)]
    return ends[-1] == size and all(start == end for (start, _), end in zip(owned, ends, strict=False))
