"""The check of a table and of the space that it leaves over [MS-VHDX 2.2, 2.5]."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vhdx import rules
from vhdx.examine.claims import ClaimCheck
from vhdx.examine.entries import check_behind, check_entries
from vhdx.examine.findings import FindingReporter
from vhdx.examine.mibs import MibSet
from vhdx.examine.slots import Slots
from vhdx.format.bat import STATE_MASK
from vhdx.image.states import PRESENT
from vhdx.rules import Finding, Place
from vhdx.units import MIB, format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vhdx.examine.claims import Late
    from vhdx.examine.mibs import Gaps
    from vhdx.examine.slots import Entries
    from vhdx.geometry import Geometry
    from vhdx.image.regions import Regions
    from vhdx.progress import Progress
    from vhdx.rules import Report
    from vhdx.storage.base import ReadableStorage

_QEMU_GAP = 4
"""MiB that QEMU leaves unused between the structures and the first block."""


class TableFound(NamedTuple):
    """What the check of a table found: who claims which MiB of the file, and how much nobody claims."""

    claimed: MibSet
    late: tuple[Late, ...]
    leaked_bytes: int
    used_end: int
    """The file offset behind the last MiB that is claimed."""


def check_table(
    storage: ReadableStorage,
    regions: Regions,
    geometry: Geometry,
    report: rules.CollectingReport,
    *,
    logged: Sequence[tuple[int, int]],
    keeps_length: bool,
    knows_all: bool,
    progress: Progress | None = None,
) -> TableFound:
    """Report all that is wrong with a table and the space of its file.

    ``logged`` are the runs of MiB that the replay of a log writes to; ``keeps_length`` is true of fixed
    images, whose file keeps space for blocks that need none; ``knows_all`` is false where something may stand
    in the file that nothing tells of any more.
    """
    size = storage.size()
    slots = Slots(storage, regions.bat, geometry)
    reporter = FindingReporter(slots, geometry, report)
    claims = ClaimCheck(slots, geometry, regions, size, reporter)
    targets = _set_of(logged, size)
    beyond = np.zeros(0, dtype=np.uint64)
    for window in slots.windows():
        check_entries(window, geometry, reporter)
        claims.add(window, targets)
        if progress is not None:
            progress(slots.bytes_before(window), slots.bytes_in_all)
        beyond = window.beyond
    check_behind(slots, reporter)
    claims.complete()
    leftovers = chain([beyond], (entries for _, entries in slots.behind()))
    kept = sum(_keep_leftovers(entries, claims.claimed, geometry, size) for entries in leftovers)
    if kept:
        where = f"entries behind the last one name {format_size(kept * MIB)} of space"
        why = "the size of the disk is damaged, or a shrink was interrupted: vhdx resize completes it"
        place = Place("BAT", slots.offset(geometry.payload_index(geometry.block_count - 1) + 1))
        report(Finding(rules.BAT_LEFTOVER_SPACE, place, f"{where}: {why}"))
    if not knows_all:
        return TableFound(claims.claimed, tuple(claims.late), 0, size)
    _report_gap(claims.claimed, regions, size, report)
    free = claims.claimed.gaps(-(-size // MIB))
    leaked = _report_free(free, size, report, keeps_length=keeps_length)
    return TableFound(claims.claimed, tuple(claims.late), leaked, free.tail_start * MIB)


def _keep_leftovers(entries: Entries, claimed: MibSet, geometry: Geometry, size: int) -> int:
    """Claim the space that entries behind the last block name, and nobody else; how many MiB that is."""
    present = np.isin(entries & np.uint64(STATE_MASK), PRESENT)
    length = geometry.block_size // MIB
    firsts = np.unique((entries[present] >> np.uint64(20)).astype(np.int64))
    firsts = firsts[(firsts > 0) & (firsts + length <= size // MIB)]
    if not firsts.size:
        return 0
    free = firsts[~claimed.touching(firsts, length)]
    claimed.add(free, length)
    return int(free.size) * length


def _set_of(logged: Sequence[tuple[int, int]], size: int) -> MibSet | None:
    if not logged:
        return None
    targets = MibSet(-(-size // MIB) + 256)
    for start, end in logged:
        targets.add_run(start, end)
    return targets


def _report_gap(claimed: MibSet, regions: Regions, size: int, report: Report) -> None:
    """Mention the space that QEMU leaves behind the structures; it counts as claimed from then on."""
    start = max(-(-area.end // MIB) for area in regions.areas)
    length = claimed.gap_length(start, min(_QEMU_GAP + 1, -(-size // MIB) - start))
    if 0 < length <= _QEMU_GAP and size - start * MIB >= MIB:
        claimed.add(np.arange(start, start + length), 1)
        detail = f"{length} MiB behind the structures are unused, as QEMU leaves them"
        report(Finding(rules.SPACE_GAP, Place("free space", start * MIB), detail))


def _report_free(free: Gaps, size: int, report: Report, *, keeps_length: bool) -> int:
    """Report the other space that nobody claims; how many bytes of it are leaked."""
    first = Place("free space", free.first * MIB)
    if keeps_length:
        if free.missing:
            detail = f"{free.missing} MiB are kept for blocks that have no contents"
            report(Finding(rules.SPACE_RESERVED, first, detail))
        return 0
    tail = -(-size // MIB) - free.tail_start
    tail_bytes = _report_tail(tail, size, report) if tail else 0
    inner, runs = free.missing - tail, free.runs - bool(tail)
    if inner:
        detail = f"{format_size(inner * MIB)} in {runs} {'run' if runs == 1 else 'runs'} belong to nothing"
        report(Finding(rules.SPACE_LEAKED, first, detail))
    return inner * MIB + tail_bytes


def _report_tail(mibs: int, size: int, report: Report) -> int:
    """Report what stands behind everything; how many bytes of it are leaked."""
    start = (-(-size // MIB) - mibs) * MIB
    place, detail = (
        Place("end of the file", start),
        f"{size - start} bytes behind everything belong to nothing",
    )
    if size - start < MIB:  # as Disk2vhd leaves it
        report(Finding(rules.SPACE_RAGGED_END, place, detail))
        return 0
    report(Finding(rules.SPACE_LEAKED_TAIL, place, detail))
    return size - start
