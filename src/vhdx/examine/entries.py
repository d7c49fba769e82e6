"""What single entries of a BAT say that they must not say [MS-VHDX 2.5.1]. Vectorised."""

from __future__ import annotations

import numpy as np

from vhdx import rules
from vhdx.examine.findings import Group
from vhdx.extents import BlockState
from vhdx.format.bat import FILE_OFFSET_MASK, RESERVED_MASK, STATE_MASK
from vhdx.image.state_masks import are_in
from vhdx.image.states import PRESENT, TAKEN_FOR_PRESENT, invalidity, is_invalid
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vhdx.examine.findings import FindingReporter
    from vhdx.examine.slots import Entries, Slots, Window
    from vhdx.geometry import Geometry

_STATE, _RESERVED, _PLACE = np.uint64(STATE_MASK), np.uint64(RESERVED_MASK), np.uint64(FILE_OFFSET_MASK)
_PARTIAL = BlockState.PARTIALLY_PRESENT.value
NAMELESS = (BlockState.NOT_PRESENT, BlockState.ZERO)
"""States whose entries name no place; UNDEFINED and UNMAPPED may keep one."""


def check_entries(window: Window, geometry: Geometry, reporter: FindingReporter) -> None:
    """Report every entry of a window that breaks a rule by itself."""
    if window.beyond.any():
        leftovers = np.flatnonzero(window.beyond) + len(window.blocks)
        _report_leftovers(reporter.blocks(window, leftovers), reporter)
    if geometry.differencing:
        _check_bitmaps(window, geometry, reporter)
    else:
        _check_unused_slots(window, geometry, reporter)
    if window.is_full:
        return
    info = window.blocks & (_STATE | _RESERVED)
    _report(
        rules.BAT_RESERVED, window, info & _RESERVED, reporter, "reserved bits of the entry of {} are set"
    )
    _check_states(window, info & _STATE, geometry, reporter)


def check_behind(slots: Slots, reporter: FindingReporter) -> None:
    """Mention what stands in the region behind the table."""
    for first_slot, entries in slots.behind():
        numbers = np.flatnonzero(entries) + first_slot
        _report_leftovers(Group(numbers, lambda slot_numbers: slot_numbers, "slot"), reporter)


def needless_places(entries: Entries) -> NDArray[np.bool_]:
    """Which entries of payload blocks name a place although their state has none."""
    needless: NDArray[np.bool_] = are_in(entries, NAMELESS) & (entries & _PLACE != 0)
    return needless


def say_nothing(entries: Entries) -> NDArray[np.bool_]:
    """Which entries of payload blocks tell of no contents, but are not as anybody writes such entries.

    Zeros are among them. What was written over a part of a table looks like that, too.
    """
    states = entries & _STATE
    odd = needless_places(entries) | (entries & _RESERVED != 0) | (states == BlockState.RESERVED_4.value)
    nothing: NDArray[np.bool_] = (entries == 0) | (odd & ~are_in(entries, PRESENT))
    return nothing


def _report(
    rule: rules.Rule, window: Window, which: NDArray[np.generic], reporter: FindingReporter, words: str
) -> None:
    if which.any():
        reporter.report_group(rule, reporter.blocks(window, np.flatnonzero(which)), words)


def _check_states(window: Window, states: Entries, geometry: Geometry, reporter: FindingReporter) -> None:
    seen = np.bincount(states.astype(np.uint8), minlength=STATE_MASK + 1)
    for state in BlockState:
        if seen[state] and is_invalid(state):
            _report(rules.BAT_STATE, window, states == state.value, reporter, f"{{}} {invalidity(state)}")
    if seen[TAKEN_FOR_PRESENT] and not geometry.differencing:
        words = f"{{}} is in state {TAKEN_FOR_PRESENT}, but the image has no parent; it is read as present"
        _report(rules.BAT_TAKEN_FOR_PRESENT, window, states == TAKEN_FOR_PRESENT, reporter, words)
    if seen[BlockState.UNMAPPED_V095]:
        words = "{} is in state 5, UNMAPPED in version 0.95 of the format and reserved since"
        _report(rules.BAT_STATE_V095, window, states == BlockState.UNMAPPED_V095.value, reporter, words)
    words = "{} has no contents, but its entry names a place; Windows is known to refuse that"
    _report(rules.BAT_NEEDLESS_OFFSET, window, needless_places(window.blocks), reporter, words)


def _check_unused_slots(window: Window, geometry: Geometry, reporter: FindingReporter) -> None:
    """Images without a parent have no sector bitmaps; old QEMU left junk in their slots."""
    junk = np.flatnonzero(window.bitmaps)
    if junk.size and junk[-1] + window.first_chunk == geometry.chunk_count - 1:
        # The table ends with the last block, before the slot of the last chunk's bitmap.
        _report_leftovers(reporter.bitmaps(window, junk[-1:]), reporter)
        junk = junk[:-1]
    words = "{} is named, but the image has no parent"
    reporter.report_group(rules.BAT_BITMAP_JUNK, reporter.bitmaps(window, junk), words)


def _check_bitmaps(window: Window, geometry: Geometry, reporter: FindingReporter) -> None:
    entries = window.bitmaps
    states = entries & _STATE
    needed = needed_bitmaps(window, geometry)
    present, absent = are_present(window.bitmaps), states == 0
    for rule, which, words in (
        (
            rules.BAT_TAKEN_FOR_PRESENT,
            states == TAKEN_FOR_PRESENT,
            f"{{}} is in state {TAKEN_FOR_PRESENT}, which is reserved; it is read as present",
        ),
        (rules.BAT_BITMAP_STATE, ~present & ~absent, "{} is in a reserved state"),
        (rules.BAT_BITMAP_MISSING, needed & ~present, "{} is not there, but blocks are partially present"),
        (rules.BAT_BITMAP_UNUSED, present & ~needed, "{} is there, but no block is partially present"),
        (rules.BAT_RESERVED, entries & _RESERVED != 0, "reserved bits of the entry of {} are set"),
        (rules.BAT_NEEDLESS_OFFSET, needless_bitmaps(window, geometry), "{} is not there, but has a place"),
    ):
        reporter.report_group(rule, reporter.bitmaps(window, np.flatnonzero(which)), words)


def are_present(bitmaps: Entries) -> NDArray[np.bool_]:
    """Which sector bitmaps are read as present."""
    present: NDArray[np.bool_] = are_in(bitmaps, PRESENT)
    return present


def needless_bitmaps(window: Window, geometry: Geometry) -> NDArray[np.bool_]:
    """Which entries of sector bitmaps that are not there name a place, and nobody has to look for them."""
    needless: NDArray[np.bool_] = (window.bitmaps & _STATE == 0) & (window.bitmaps & _PLACE != 0)
    return needless & ~needed_bitmaps(window, geometry)


def needed_bitmaps(window: Window, geometry: Geometry) -> NDArray[np.bool_]:
    """Of which chunks a block is partially present."""
    partial = np.flatnonzero(window.blocks & _STATE == _PARTIAL)
    needed = np.zeros(len(window.bitmaps), dtype=bool)
    needed[partial // geometry.chunk_ratio] = True
    return needed


def _report_leftovers(group: Group, reporter: FindingReporter) -> None:
    reporter.report_group(rules.BAT_LEFTOVERS, group, "an entry behind the last one is not zero")
