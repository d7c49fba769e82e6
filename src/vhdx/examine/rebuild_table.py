"""A fixed image's block table from the order of its blocks [MS-VHDX 2.5, 2.6.2.1].

Fixed images are written front to back: each block stands behind the one before. Entries that are left say
where the first one stands; where none is left, only space of exactly the disk's length does.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from vhdx import rules
from vhdx.errors import CorruptImageError
from vhdx.extents import BlockState
from vhdx.format import bat
from vhdx.format.bat import file_offset_of, state_of
from vhdx.image.bat import BlockRun
from vhdx.image.image import load
from vhdx.image.pages import PAGE_SIZE
from vhdx.image.unowned import filled_mibs, unclaimed_runs
from vhdx.text import command
from vhdx.units import MIB
from vhdx.write.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.image.image import Image
    from vhdx.storage.base import Storage

_SLOTS_IN_PAGE = PAGE_SIZE // bat.ENTRY_SIZE
_QEMU_GAP = 4
"""MiB that QEMU leaves unused between the structures and the first block."""


def rebuild_table(file: Storage) -> None:
    """Give the blocks of a fixed image that have no entry the places that their order tells, durably.

    Raises CorruptImageError, before anything changed, where more than one answer is possible.
    """
    image = load(file)
    if image.metadata.disk_type != "fixed":
        raise _refused(image, "where the blocks of a dynamic image belong, nothing tells but its table")
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


def _refused(image: Image, why: str) -> CorruptImageError:
    return CorruptImageError(
        f"the table cannot be rebuilt without a guess: {why}",
        image=image.name,
        rule=rules.BAT_FIXED_ABSENT.section,
        next_command=command("convert --salvage {} SALVAGED.vhdx", image.name),
    )


def _first_place(image: Image, used: bytes) -> int:
    """Where the first block stands, or would."""
    size = image.geometry.block_size
    found = {
        file_offset_of(run.entry) - run.first_block * size
        for run in image.bat.runs(0, image.geometry.block_count)
        if state_of(run.entry) is BlockState.FULLY_PRESENT
    }
    if len(found) > 1:
        raise _refused(image, "the blocks that have entries do not stand in order")
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
        raise _refused(image, f"{len(set(found))} places can be where its first block stands")
    return found[0]


def _is_gap(image: Image, first: int, length: int) -> bool:
    """Whether so many bytes are as QEMU leaves them."""
    if not 0 < length <= _QEMU_GAP * MIB or length % MIB:
        return False
    stop = first + length // MIB
    return not any(True for _ in filled_mibs(image.storage, first, stop, image.reader.file_size))


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
        raise _refused(image, f"the file is too short for block {last}")
    if not session.space.is_free(start, stop - start):
        raise _refused(image, f"the places of blocks {run.first_block} to {last} belong to something else")


def _put(session: Session, run: BlockRun, first: int) -> None:
    size = session.geometry.block_size
    for block, _, count in session.geometry.slot_runs(run.first_block, run.block_count, _SLOTS_IN_PAGE):
        places = range(first + block * size, first + (block + count) * size, size)
        session.make_room(1)
        entries = array("Q", (bat.pack(BlockState.FULLY_PRESENT, place) for place in places))
        session.put_entries(block, entries)
