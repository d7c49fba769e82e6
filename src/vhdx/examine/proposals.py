"""What the rest of an image suggests of its disk, where its metadata does not say it any more.

The distance of blocks in the file, and the partition table in the first block. None of it is certain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vhdx.extents import BlockState
from vhdx.format.bat import FILE_OFFSET_MASK, STATE_MASK
from vhdx.format.metadata import MAXIMUM_BLOCK_SIZE, MINIMUM_BLOCK_SIZE, SECTOR_SIZES
from vhdx.partitions import gpt
from vhdx.units import MIB

if TYPE_CHECKING:
    from vhdx.format.region import RegionEntry
    from vhdx.storage.base import ReadableStorage

_LOOKED_AT = 8 * MIB
"""Bytes of the table: a million entries tell as much as all."""
_MBR_SIGNATURE = b"\x55\xaa"
_MBR_RECORDS = range(446, 510, 16)


class Proposal(NamedTuple):
    """A value in bytes, and why."""

    value: int
    reason: str


def proposals(storage: ReadableStorage, bat: RegionEntry, block_size: int | None) -> dict[str, Proposal]:
    """What can be proposed, by the option that hands it over."""
    import numpy as np  # noqa: PLC0415  only who has lost metadata waits for it

    length = min(bat.length, _LOOKED_AT, max(0, storage.size() - bat.file_offset) // 8 * 8)
    entries = np.frombuffer(storage.read(length, bat.file_offset), dtype="<u8")
    present = entries & np.uint64(STATE_MASK) == BlockState.FULLY_PRESENT.value
    places = np.unique(entries[present] & np.uint64(FILE_OFFSET_MASK)).astype(np.int64)
    found = {}
    if len(places) > 1:
        distance = int(np.diff(places).min())
        size = 1 << (distance.bit_length() - 1)
        if MINIMUM_BLOCK_SIZE <= size <= MAXIMUM_BLOCK_SIZE:
            found["--block-size"] = Proposal(size, f"blocks stand {distance} bytes apart at least")
            block_size = block_size or size
    first = int(entries[0]) if len(entries) else 0
    if first & STATE_MASK == BlockState.FULLY_PRESENT.value:
        found |= _from_first_block(storage, first & FILE_OFFSET_MASK)
    return found


def _from_first_block(storage: ReadableStorage, place: int) -> dict[str, Proposal]:
    """What the partition table of the disk says of sectors and size."""
    if place + 2 * max(SECTOR_SIZES) > storage.size():
        return {}
    data = storage.read(2 * max(SECTOR_SIZES), place)
    for sector in SECTOR_SIZES:
        header = data[sector : 2 * sector]
        if gpt.damage(header, gpt.PRIMARY_SECTOR) is None:
            size = (gpt.unpack(header).other_sector + 1) * sector
            return {
                "--logical-sector-size": Proposal(sector, f"a GPT stands {sector} bytes from the start"),
                "--virtual-size": Proposal(size, f"the backup of the GPT ends at {size}"),
            }
    if data[510:512] != _MBR_SIGNATURE:
        return {}
    records = [data[at : at + 16] for at in _MBR_RECORDS]
    sectors = max(int.from_bytes(r[8:12], "little") + int.from_bytes(r[12:16], "little") for r in records)
    if not sectors:
        return {}
    size = -(-sectors * SECTOR_SIZES[0] // MIB) * MIB
    return {"--virtual-size": Proposal(size, f"the partitions of the MBR end at {sectors * SECTOR_SIZES[0]}")}
