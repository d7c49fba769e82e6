"""Telling what is wrong with many slots of a BAT at once: the first ones described, all of them counted."""

from __future__ import annotations

import numpy as np

from vhdx.rules import Finding, Place
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

    from vhdx.examine.slots import Slots, Window
    from vhdx.geometry import Geometry
    from vhdx.rules import CollectingReport, Rule

    Numbers = NDArray[np.int64]


class Group(NamedTuple):
    """Some slots of one kind, by the numbers of what they describe: payload blocks, or chunks."""

    numbers: Numbers
    slots_of: Callable[[Any], Any]  # the formulas of a geometry, which hold for arrays, too
    word: str

    @property
    def slots(self) -> Numbers:
        """The slots of the members."""
        slots: Numbers = self.slots_of(self.numbers)
        return slots

    def name(self, index: int) -> str:
        """What the member with this place in the group is called."""
        return f"{self.word} {int(self.numbers[index])}"

    def part(self, chosen: Numbers) -> Group:
        """Only the members with these places in the group."""
        return self._replace(numbers=self.numbers[chosen])


class FindingReporter:
    """Reports findings about slots of one table."""

    def __init__(self, slots: Slots, geometry: Geometry, report: CollectingReport) -> None:
        self._slots = slots
        self._geometry = geometry
        self.report = report

    def blocks(self, window: Window, which: Numbers) -> Group:
        """The payload blocks with these numbers in a window."""
        return Group(which + window.first_block, self._geometry.payload_index, "block")

    def bitmaps(self, window: Window, which: Numbers) -> Group:
        """The sector bitmap blocks with these numbers in a window."""
        return Group(which + window.first_chunk, self._geometry.bitmap_index, "the sector bitmap of chunk")

    def report_group(self, rule: Rule, group: Group, words: str | Callable[[int], str]) -> None:
        """Report one finding for each member; in ``words`` a ``{}`` stands for its name."""
        number = len(group.numbers)
        if not number:
            return
        kept = group.part(np.arange(min(number, self.report.room(rule))))
        for index, slot in enumerate(kept.slots.tolist()):
            detail = words.format(kept.name(index)) if isinstance(words, str) else words(index)
            self.report(Finding(rule, self.place(slot), detail))
        self.report.count(rule, number - len(kept.numbers))

    def place(self, slot: int) -> Place:
        """Where a slot is."""
        return Place(f"BAT entry {slot}", self._slots.offset(slot))
