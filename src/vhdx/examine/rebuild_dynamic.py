"""Lost entries of a dynamic image, where there is exactly one answer [MS-VHDX 2.5].

Blocks that were written front to back stand in the order of the disk. Between two that have entries there is
room for as many as have none: where that is filled to the last MiB, each has one place. Whether that is so is
then told by what stands on the disk, which has to agree. Anything else would be a guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, NoReturn

import numpy as np

from vhdx import rules
from vhdx.errors import CorruptImageError
from vhdx.examine.contents import Contents
from vhdx.examine.entries import say_nothing
from vhdx.extents import BlockState
from vhdx.filesystems.detect import examine_found
from vhdx.format.bat import FILE_OFFSET_MASK, STATE_MASK
from vhdx.image.bat import WINDOW
from vhdx.image.unowned import Look, unclaimed_runs
from vhdx.text import command
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vhdx.image.image import Image

    Numbers = NDArray[np.int64]

QEMU_GAP = 4
"""MiB that QEMU leaves unused between the structures and the first block."""
_FEWEST_LEFT = 8
"""Entries that must be left: the order of fewer may be chance."""
_MOST_BLOCKS = 4 << 20
"""Of a table that is looked at as a whole: 32 MiB of entries."""


class Placed(NamedTuple):
    """Blocks without an entry, in order, and the file offset of each."""

    blocks: Numbers
    places: Numbers


class _Table(NamedTuple):
    """The blocks that have contents and their places, in order, and which have an entry at all."""

    blocks: Numbers
    places: Numbers
    has_entry: NDArray[np.bool_]


class _Gap(NamedTuple):
    """What lies between the places of two neighbours that have entries: blocks without one, and free runs."""

    lost: Numbers
    runs: list[tuple[int, int]]


def refuse(image: Image, why: str) -> NoReturn:
    """Raise CorruptImageError, which names what saves the blocks all the same."""
    raise CorruptImageError(
        f"the table cannot be rebuilt without a guess: {why}",
        image=image.name,
        rule=rules.SPACE_LOST_ENTRIES.section,
        next_command=command("convert --salvage --carve PIECES {} SALVAGED.vhdx", image.name),
    )


def placed(image: Image, used: bytes, look: Look) -> Placed:
    """The places of blocks that have no entry. ``used`` is the map of the file: 0 for each MiB that is free.

    Raises CorruptImageError unless there is exactly one answer.
    """
    if image.metadata.has_parent:
        refuse(image, "a block of a child that has no entry may be its parent's")
    table = _table(image)
    found = [
        _in_gap(image, gap, look)
        for gap in _gaps(image, table, used)
        if any(1 in look.filled(*run) for run in gap.runs)
    ]
    if not found:
        refuse(image, "no space that holds anything stands between the blocks that have entries")
    return Placed(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _table(image: Image) -> _Table:
    count = image.geometry.block_count
    if count > _MOST_BLOCKS:
        refuse(image, f"the disk has {count} blocks, more than are looked at")
    windows = [
        np.frombuffer(image.bat.payloads(block, min(WINDOW, count - block)), dtype=np.uint64)
        for block in range(0, count, WINDOW)
    ]
    entries = np.concatenate(windows)
    blocks = np.flatnonzero(entries & np.uint64(STATE_MASK) == BlockState.FULLY_PRESENT.value)
    places = (entries[blocks] & np.uint64(FILE_OFFSET_MASK)).astype(np.int64)
    if len(blocks) < _FEWEST_LEFT:
        refuse(image, f"{len(blocks)} entries are left, which tell no order")
    if (np.diff(places) <= 0).any():
        refuse(image, "the blocks that have entries do not stand in the order of the disk")
    return _Table(blocks, places, ~say_nothing(entries))


def _gaps(image: Image, table: _Table, used: bytes) -> list[_Gap]:
    """Where something is free, in the order of the file."""
    size = image.reader.file_size
    runs: dict[int, list[tuple[int, int]]] = {}
    for first, stop in unclaimed_runs(used):
        if first * MIB + MIB <= size:
            runs.setdefault(int(np.searchsorted(table.places, first * MIB)), []).append((first, stop))
    borders = [-1, *table.blocks.tolist(), image.geometry.block_count]
    gaps = []
    for index, found in runs.items():
        start, stop = borders[index] + 1, borders[index + 1]
        gaps.append(_Gap(np.flatnonzero(~table.has_entry[start:stop]) + start, found))
    return gaps


def _in_gap(image: Image, gap: _Gap, look: Look) -> tuple[Numbers, Numbers]:
    """The blocks of a gap and their places, if these fill it."""
    geometry, runs = image.geometry, list(gap.runs)
    block = geometry.block_size // MIB
    if len(gap.lost) and gap.lost[0] == 0:
        runs = _without_gap_of_qemu(runs, len(gap.lost) * block, look)
    places = np.concatenate([np.arange(first, stop, block, dtype=np.int64) for first, stop in runs]) * MIB
    lengths = [stop - first for first, stop in runs]
    if any(length % block for length in lengths[:-1]) or len(places) != len(gap.lost):
        free, lost = sum(lengths) * MIB, len(gap.lost)
        refuse(image, f"{free} bytes from {runs[0][0] * MIB} on are not as many as {lost} blocks have")
    last = int(gap.lost[-1])
    left = min(runs[-1][1] * MIB, image.reader.file_size) - int(places[-1])
    if left < geometry.block_length(last):
        refuse(image, f"{left} bytes at {int(places[-1])} are left for block {last}")
    return gap.lost, places


def _without_gap_of_qemu(runs: Sequence[tuple[int, int]], needed: int, look: Look) -> list[tuple[int, int]]:
    """The same without the zeros that QEMU leaves in front of the first block, where they are too many."""
    (first, stop), *rest = runs
    spare = sum(stop - first for first, stop in runs) - needed
    if 0 < spare <= min(QEMU_GAP, stop - first) and 1 not in look.filled(first, first + spare):
        first += spare
    return [(first, stop), *rest] if first < stop else rest


def confirmed(image: Image, rebuilt: Placed) -> str:
    """What on the disk of an image with a rebuilt table agrees. Raises CorruptImageError if nothing does."""
    disk = Contents(image.storage, image.regions.bat.file_offset, image.geometry)
    agreeing = []
    table = disk.table
    if table.gpt is not None:
        damage = table.gpt.primary_damage or table.gpt.backup_damage
        if damage is not None:
            refuse(image, f"the GPT would not agree: {damage}")
        ends = table.gpt.sector_size, table.gpt.backup_sector * table.gpt.sector_size
        if np.isin([place // image.geometry.block_size for place in ends], rebuilt.blocks).any():
            agreeing.append("the GPT")
    for volume in disk.volumes():
        found = volume.found()
        if found is None:
            continue
        system = examine_found(found, volume.size).file_system
        if system.state == "unclean":
            refuse(image, f"the {system.kind} at {volume.offset} would not agree: {system.reasons[0]}")
        if not system.reasons:
            agreeing.append(f"the {system.kind} at {volume.offset}")
    if not agreeing:
        refuse(image, "no partition table and no file system confirms it")
    return ", ".join(agreeing)
