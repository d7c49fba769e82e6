"""What the rest of an image suggests of its disk, where its metadata does not say it any more.

The distance of blocks in the file; partition tables and file systems, as they would be found on the disk; how
far the table goes. None of it is certain.
"""

from __future__ import annotations

from vhdx.extents import BlockState
from vhdx.filesystems import sectors
from vhdx.filesystems.detect import Foreign, detect
from vhdx.format.bat import FILE_OFFSET_MASK, STATE_MASK
from vhdx.format.metadata import MAXIMUM_BLOCK_SIZE, MAXIMUM_DISK_SIZE, MINIMUM_BLOCK_SIZE, SECTOR_SIZES
from vhdx.geometry import Geometry
from vhdx.image.pages import PAGE_SIZE
from vhdx.typed import TYPE_CHECKING, NamedTuple
from vhdx.units import MIB

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vhdx.examine.contents import Contents
    from vhdx.format.region import RegionEntry
    from vhdx.storage.base import ReadableStorage

_LOOKED_AT = 8 * MIB
"""Bytes of the table: a million entries tell as much as all."""
_USUAL_SECTOR = SECTOR_SIZES[0]


class Proposal(NamedTuple):
    """A value in bytes, and why."""

    value: int
    reason: str


Proposals = dict[str, Proposal]
"""By the option that hands a value over."""


def proposals(
    storage: ReadableStorage, bat: RegionEntry, block_size: int | None, sector_size: int | None
) -> Proposals:
    """What can be proposed, with what is known of blocks and sectors."""
    import numpy as np  # noqa: PLC0415  only who has lost metadata waits for it

    there = max(0, storage.size() - bat.file_offset)
    length = min(bat.length, _LOOKED_AT, there // PAGE_SIZE * PAGE_SIZE)
    entries = np.frombuffer(storage.read(length, bat.file_offset), dtype="<u8")
    present = entries & np.uint64(STATE_MASK) == BlockState.FULLY_PRESENT.value
    places = np.unique(entries[present] & np.uint64(FILE_OFFSET_MASK)).astype(np.int64)
    found = _from_places(places, storage.size())
    if block_size is None and "--block-size" in found:
        block_size = found["--block-size"].value
    if block_size is None:
        return found
    sector_size = sector_size if sector_size in SECTOR_SIZES else _USUAL_SECTOR
    geometry = _longest(len(entries), block_size, sector_size)
    slots = np.flatnonzero(present)
    if geometry is None or not len(slots):
        return found
    usual = Proposal(sector_size, f"nearly all disks have sectors of {sector_size}")
    told = _from_contents(storage, bat, geometry)
    return {"--logical-sector-size": usual} | _from_last(int(slots[-1]), geometry) | told | found


def _from_places(places: NDArray[np.int64], end: int) -> Proposals:
    """The size of blocks by how near to each other they stand; of a single one, to the end of the file."""
    import numpy as np  # noqa: PLC0415  see above

    if not len(places):
        return {}
    distance = int(np.diff(places, append=end if len(places) == 1 else []).min())
    size = 1 << (max(1, distance).bit_length() - 1)
    if not MINIMUM_BLOCK_SIZE <= size <= MAXIMUM_BLOCK_SIZE:
        return {}
    apart = f"blocks stand {distance} bytes apart at least"
    why = apart if len(places) > 1 else f"{distance} bytes of the file are left for the only block"
    return {"--block-size": Proposal(size, why)}


def _longest(slots: int, block_size: int, sector_size: int) -> Geometry | None:
    """The largest disk without a parent that a table of so many slots can have."""
    period = Geometry(block_size, block_size, sector_size, differencing=False).chunk_ratio + 1
    blocks = slots - slots // period
    size = min(blocks * block_size, MAXIMUM_DISK_SIZE)
    return Geometry(size, block_size, sector_size, differencing=False) if size else None


def _from_last(slot: int, geometry: Geometry) -> Proposals:
    """The disk is as long as its last block at least."""
    size = min((slot - slot // (geometry.chunk_ratio + 1) + 1) * geometry.block_size, MAXIMUM_DISK_SIZE)
    reason = f"the last block that has an entry ends at {size}, the disk may be larger"
    return {"--virtual-size": Proposal(size, reason)}


def _from_contents(storage: ReadableStorage, bat: RegionEntry, geometry: Geometry) -> Proposals:
    """What stands on the disk says of its sectors and its size."""
    from vhdx.examine.contents import Contents  # noqa: PLC0415  see above

    disk = Contents(storage, bat.file_offset, geometry)
    table = disk.table
    unit, said = table.sector_size, {}
    if table.gpt is not None:
        size = (table.gpt.header.other_sector + 1) * unit
        said["--logical-sector-size"] = Proposal(unit, f"a GPT stands {unit} bytes from the start")
        said["--virtual-size"] = Proposal(size, f"the backup of the GPT ends at {size}")
    elif table.partitions:
        end = table.end_of_last
        said["--virtual-size"] = Proposal(_whole_mibs(end), f"the partitions of the MBR end at {end}")
    else:
        said = _from_file_system(disk, geometry.disk_size)
    return {option: each for option, each in said.items() if 0 < each.value <= MAXIMUM_DISK_SIZE}


def _from_file_system(disk: Contents, size: int) -> Proposals:
    """What a file system on the whole disk says."""
    found, said = detect(disk.read, size), {}
    use = sectors.recognised(disk.read(sectors.PROBE_LENGTH, 0))
    if use is not None and not use.any_up_to_unit and use.unit in SECTOR_SIZES:
        why = f"the {use.name} was made for sectors of {use.unit}"
        said["--logical-sector-size"] = Proposal(use.unit, why)
    if found is not None and not isinstance(found.recognised, Foreign):
        identity = found.recognised.identity
        why = f"the {identity.kind} on it ends at {identity.size}"
        said["--virtual-size"] = Proposal(_whole_mibs(identity.size), why)
    return said


def _whole_mibs(size: int) -> int:
    return -(-size // MIB) * MIB
