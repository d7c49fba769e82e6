"""The check of a table and of the space that it leaves over [MS-VHDX 2.2, 2.5]."""

from __future__ import annotations

from itertools import chain

import numpy as np

from vhdx import rules
from vhdx.examine.absence import AbsenceCount
from vhdx.examine.claims import ClaimCheck
from vhdx.examine.entries import check_behind, check_entries
from vhdx.examine.findings import FindingReporter
from vhdx.examine.lost import is_strong
from vhdx.examine.mibs import MibSet
from vhdx.examine.slots import Slots
from vhdx.examine.table import TableFound
from vhdx.image.state_masks import are_in
from vhdx.image.states import PRESENT
from vhdx.image.unowned import NOTHING, Look, find_unowned
from vhdx.progress import Meter
from vhdx.rules import Finding, Place
from vhdx.typed import TYPE_CHECKING, NamedTuple
from vhdx.units import MIB, format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vhdx.examine.absence import Absence
    from vhdx.examine.slots import Entries
    from vhdx.geometry import Geometry
    from vhdx.image.regions import Regions
    from vhdx.image.unowned import Seen, Unowned
    from vhdx.progress import Progress
    from vhdx.rules import Report
    from vhdx.storage.base import ReadableStorage, Unreadable

_QEMU_GAP = 4
"""MiB that QEMU leaves unused between the structures and the first block."""


def check_table(
    storage: ReadableStorage,
    regions: Regions,
    geometry: Geometry,
    report: rules.CollectingReport,
    *,
    logged: Sequence[tuple[int, int]],
    known_end: int | None,
    keeps_length: bool,
    knows_all: bool,
    unreadable: Unreadable,
    progress: Progress | None = None,
    seen: Seen | None = None,
) -> TableFound:
    """Report all that is wrong with a table and the space of its file.

    ``logged`` are the runs of MiB that the replay of a log writes to, ``known_end`` is where the file ended
    when that was written, if there is one; ``keeps_length`` is true of fixed
    images, whose file keeps space for blocks that need none; ``knows_all`` is false where something may stand
    in the file that nothing tells of any more. ``unreadable`` are the runs that the host could not read,
    ``seen`` is what of the space that nobody claims was looked into before.
    """
    size = storage.size()
    slots = Slots(storage, regions.bat, geometry)
    reporter = FindingReporter(slots, geometry, report)
    claims = ClaimCheck(slots, geometry, regions, size, reporter)
    absences = AbsenceCount(slots.count, geometry)
    targets = _set_of(logged, size)
    beyond = np.zeros(0, dtype=np.uint64)
    meter = Meter(progress)
    meter.advance(0, slots.bytes_in_all)
    done = 0
    for window in slots.windows():
        check_entries(window, geometry, reporter)
        claims.add(window, targets)
        absences.add(window)
        meter.advance(slots.bytes_before(window) - done, 0)
        done = slots.bytes_before(window)
        beyond = window.beyond
    check_behind(slots, reporter)
    absent = absences.found()
    if keeps_length and absent.blocks:
        detail = f"{absent.blocks} blocks of a fixed disk have no entry: the table may have lost entries"
        report(Finding(rules.BAT_FIXED_ABSENT, Place("BAT", slots.offset(0)), detail))
    claims.complete()
    leftovers = chain([beyond], (entries for _, entries in slots.behind()))
    kept = sum(_keep_leftovers(entries, claims.claimed, geometry, size) for entries in leftovers)
    if kept:
        where = f"entries behind the last one name {format_size(kept * MIB)} of space"
        why = "the size of the disk is damaged, or a shrink was interrupted: vhdx resize completes it"
        place = Place("BAT", slots.offset(geometry.payload_index(geometry.block_count - 1) + 1))
        report(Finding(rules.BAT_LEFTOVER_SPACE, place, f"{where}: {why}"))
    if not knows_all:
        return TableFound(claims.claimed, tuple(claims.late), 0, 0)
    if known_end is not None:
        size = _without_newest(claims.claimed, known_end, size, report)
    look = Look(storage, size, unreadable=unreadable, advance=meter.advance, seen=seen)
    gap = _report_gap(look, claims.claimed, regions, report)
    space = _Space(look, claims.claimed, geometry, regions.bat.file_offset, absent)
    leaked, free = _report_free(space, report, keeps_length=keeps_length)
    return TableFound(claims.claimed, tuple(claims.late), leaked, free + (0 if keeps_length else gap))


def _keep_leftovers(entries: Entries, claimed: MibSet, geometry: Geometry, size: int) -> int:
    """Claim the space that entries behind the last block name, and nobody else; how many MiB that is."""
    present = are_in(entries, PRESENT)
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


def _without_newest(claimed: MibSet, known_end: int, size: int, report: Report) -> int:
    """Mention what the file has behind its end by the log; its size without that."""
    end = max(known_end, claimed.gaps(-(-size // MIB)).tail_start * MIB)
    if end >= size:
        return size
    detail = (
        f"{size - end} bytes are newer than the last entry of the log: a crash left them, nothing names them"
    )
    report(Finding(rules.SPACE_AFTER_CRASH, Place("end of the file", end), detail))
    return end


def _report_gap(look: Look, claimed: MibSet, regions: Regions, report: Report) -> int:
    """Mention the space that QEMU leaves behind the structures; it counts as claimed from then on.

    How many bytes that are. A trim of the first block leaves the same.
    """
    start = max(-(-area.end // MIB) for area in regions.areas)
    length = claimed.gap_length(start, min(_QEMU_GAP + 1, -(-look.size // MIB) - start))
    if not 0 < length <= _QEMU_GAP or look.size - start * MIB < MIB:
        return 0
    if 1 in look.filled(start, start + length):
        return 0
    claimed.add(np.arange(start, start + length), 1)
    detail = (
        f"{length} MiB behind the structures are free, as QEMU or a trim leaves them; "
        "vhdx compact gives back what it can"
    )
    report(Finding(rules.SPACE_GAP, Place("free space", start * MIB), detail))
    return length * MIB


class _Space(NamedTuple):
    """What there is to look into when all is claimed that is claimed."""

    look: Look
    claimed: MibSet
    geometry: Geometry
    bat_offset: int
    absent: Absence

    def unowned(self, used: bytearray, start: int, end: int) -> Unowned:
        """What nobody claims from one MiB to another, and what of it is not zeros."""
        return find_unowned(self.look, used, self.geometry.block_size, start=start, end=end)


def _report_free(space: _Space, report: Report, *, keeps_length: bool) -> tuple[int, int]:
    """Report the space that nobody claims; how many bytes of it are leaked, and how many are just free.

    Zeros are free space, as a trim leaves it; anything else somebody wrote, and nothing tells who.
    """
    end = -(-space.look.size // MIB)
    free = space.claimed.gaps(end)
    tail = 0 if keeps_length else end - free.tail_start
    start, inner = end - tail, free.missing - tail
    used = space.claimed.as_bytes(end) if free.missing else bytearray()
    unowned = space.unowned(used, 0, start) if inner else NOTHING
    behind = space.unowned(used, start, end) if tail else NOTHING
    both = unowned.joined(behind)
    if is_strong(space.look, both, space.absent, space.bat_offset, space.geometry, used=used, end=end):
        _report_lost(both, space.absent, report)
        zeros = free.missing - both.mibs
        return both.mibs * MIB, 0 if keeps_length else zeros * MIB
    if unowned.mibs:
        detail = (
            f"{format_size(unowned.mibs * MIB)} in {unowned.runs} {_runs(unowned.runs)} belong to nothing "
            f"and are not zeros: at {unowned.where}{_MAY_BE_LOST}"
        )
        report(Finding(rules.SPACE_LEAKED, Place("free space", unowned.first[0]), detail))
    zeros = (inner - unowned.mibs) * MIB
    if zeros:
        _report_zeros(zeros, free.first * MIB, report, keeps_length=keeps_length)
    leaked_tail, free_tail = _report_tail(behind, start * MIB, space.look.size, report) if tail else (0, 0)
    return unowned.mibs * MIB + leaked_tail, free_tail + (0 if keeps_length else zeros)


_MAY_BE_LOST = "; the table may have lost entries"


def _report_lost(unowned: Unowned, absent: Absence, report: Report) -> None:
    """Report what is likely to be the contents of blocks."""
    detail = (
        f"{format_size(unowned.mibs * MIB)} that are not zeros belong to no block, while {absent.blocks} "
        f"blocks have no entry: the table may have lost entries; {unowned.places} blocks can stand there, "
        f"at {unowned.where}"
    )
    report(Finding(rules.SPACE_LOST_ENTRIES, Place("free space", unowned.first[0]), detail))


def _runs(number: int) -> str:
    return "run" if number == 1 else "runs"


def _report_zeros(length: int, first: int, report: Report, *, keeps_length: bool) -> None:
    place = Place("free space", first)
    if keeps_length:
        detail = f"{length // MIB} MiB are kept for blocks that have no contents"
        report(Finding(rules.SPACE_RESERVED, place, detail))
    else:
        detail = f"{format_size(length)} are free in the file; vhdx compact gives back what it can"
        report(Finding(rules.SPACE_FREE, place, detail))


def _report_tail(unowned: Unowned, start: int, size: int, report: Report) -> tuple[int, int]:
    """Report what stands behind everything; how many bytes of it are leaked, and how many are just free."""
    place, length = Place("end of the file", start), size - start
    detail = f"{length} bytes behind everything belong to nothing"
    if length < MIB:  # as Disk2vhd leaves it
        report(Finding(rules.SPACE_RAGGED_END, place, detail))
        return 0, 0
    if not unowned.mibs:
        report(Finding(rules.SPACE_FREE_TAIL, place, f"{length} bytes behind everything are free"))
        return 0, length
    filled = format_size(unowned.mibs * MIB)
    detail += f" and are not zeros in {filled}, at {unowned.where}{_MAY_BE_LOST}"
    report(Finding(rules.SPACE_LEAKED_TAIL, place, detail))
    return length, 0
