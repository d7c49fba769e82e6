"""Lost entries of a block table from the order of blocks [MS-VHDX 2.5, 2.6.2.1].

Fixed images are written front to back: each block stands behind the one before. Entries that are left say
where the first one stands; where none is left, only space of exactly the disk's length does.
"""

from __future__ import annotations

from array import array
from itertools import pairwise
from typing import TYPE_CHECKING

from vhdx.examine.rebuild_dynamic import QEMU_GAP, confirmed, placed, refuse
from vhdx.extents import BlockState
from vhdx.format import bat
from vhdx.format.bat import file_offset_of, state_of
from vhdx.image.bat import BlockRun
from vhdx.image.image import load
from vhdx.image.pages import PAGE_SIZE
from vhdx.image.unowned import Look, unclaimed_runs
from vhdx.units import MIB
from vhdx.write.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.examine.rebuild_dynamic import Placed
    from vhdx.image.image import Image
    from vhdx.image.unowned import Seen
    from vhdx.storage.base import Storage

_SLOTS_IN_PAGE = PAGE_SIZE // bat.ENTRY_SIZE


def rebuild_table(file: Storage, seen: Seen) -> str:
    """Give blocks that have no entry the places that the order of blocks tells, durably; what was done.

    Raises CorruptImageError where more than one answer is possible, or the disk would not agree with it:
    ``file`` should be `StagedChanges`. ``seen`` is what was looked into before of space that nobody claims.
    """
    image = load(file)
    if image.metadata.disk_type == "fixed":
        return f"{_rebuild_fixed(file, image)} entries of the table, by the order of the blocks"
    found = _rebuild_dynamic(file, image, seen)
    agreeing = confirmed(load(file), found)
    return (
        f"{len(found.blocks)} entries of the table, by the order of the others, with which {agreeing} agrees"
    )


def _rebuild_fixed(file: Storage, image: Image) -> int:
    with Session(file, image) as session, session.lock:
        session.free_unexplained()
        session.cuts_unknown = False
        first = _first_place(image, session.space.claimed())
        lost = list(_lost_runs(image))
        for run in lost:
            _require_free(image, session, run, first)
        session.begin()
        for run in lost:
            _put(session, run, first)
        session.commit()
    return sum(run.block_count for run in lost)


def _rebuild_dynamic(file: Storage, image: Image, seen: Seen) -> Placed:
    with Session(file, image) as session, session.lock:
        session.free_unexplained()
        session.cuts_unknown = session.cuts = False
        look = Look(image.storage, image.reader.file_size, seen=seen)
        found = placed(image, session.space.claimed(), look)
        session.begin()
        for run in _runs_of(found, image.geometry.block_size):
            _put(session, run, file_offset_of(run.entry) - run.first_block * image.geometry.block_size)
        session.commit()
    return found


def _runs_of(found: Placed, size: int) -> Iterator[BlockRun]:
    """The blocks that were given places, joined where they continue each other."""
    import numpy as np  # noqa: PLC0415  only dynamic tables need it

    breaks = (np.diff(found.blocks) != 1) | (np.diff(found.places) != size)
    starts = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(found.blocks)]
    for start, stop in pairwise(starts):
        entry = bat.pack(BlockState.FULLY_PRESENT, int(found.places[start]))
        yield BlockRun(int(found.blocks[start]), stop - start, entry)


def _first_place(image: Image, used: bytes) -> int:
    """Where the first block stands, or would."""
    size = image.geometry.block_size
    found = {
        file_offset_of(run.entry) - run.first_block * size
        for run in image.bat.runs(0, image.geometry.block_count)
        if state_of(run.entry) is BlockState.FULLY_PRESENT
    }
    if len(found) > 1:
        refuse(image, "the blocks that have entries do not stand in order")
    return found.pop() if found else _only_room(image, used)


def _only_room(image: Image, used: bytes) -> int:
    """The only space that has the length of the disk, but for QEMU's gap before what ends the file."""
    geometry, file_size = image.geometry, image.reader.file_size
    whole = geometry.block_count * geometry.block_size
    found = []
    for first, stop in unclaimed_runs(used):
        start, end = first * MIB, min(stop * MIB, file_size)
        for length in {whole, geometry.disk_size}:
            gap = end - start - length
            if gap == 0 or (end == file_size and _is_gap(image, first, gap)):
                found.append(start + gap)
    if len(set(found)) != 1:
        refuse(image, f"{len(set(found))} places can be where its first block stands")
    return found[0]


def _is_gap(image: Image, first: int, length: int) -> bool:
    """Whether so many bytes are as QEMU leaves them."""
    if not 0 < length <= QEMU_GAP * MIB or length % MIB:
        return False
    look = Look(image.storage, image.reader.file_size)
    return 1 not in look.filled(first, first + length // MIB)


def _lost_runs(image: Image) -> Iterator[BlockRun]:
    from vhdx.examine.lost import absent_runs  # noqa: PLC0415  numpy is slow to import

    return (BlockRun(first, stop - first, 0) for first, stop in absent_runs(image))


def _require_free(image: Image, session: Session, run: BlockRun, first: int) -> None:
    """Nobody else may claim the places, and the file must have them."""
    geometry = image.geometry
    start = first + run.first_block * geometry.block_size
    last = run.first_block + run.block_count - 1
    needed = first + last * geometry.block_size + geometry.block_length(last)
    stop = min(start + run.block_count * geometry.block_size, session.space.end)
    if start < MIB or needed > image.reader.file_size:
        refuse(image, f"the file is too short for block {last}")
    if not session.space.is_free(start, stop - start):
        refuse(image, f"the places of blocks {run.first_block} to {last} belong to something else")


def _put(session: Session, run: BlockRun, first: int) -> None:
    size = session.geometry.block_size
    for block, _, count in session.geometry.slot_runs(run.first_block, run.block_count, _SLOTS_IN_PAGE):
        places = range(first + block * size, first + (block + count) * size, size)
        session.make_room(1)
        entries = array("Q", (bat.pack(BlockState.FULLY_PRESENT, place) for place in places))
        session.put_entries(block, entries)
