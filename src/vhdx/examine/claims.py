"""Who claims which space of the file, and what two claim [MS-VHDX 2.5.1]. Vectorised.

Most tables are right, so the first pass only adds up what is claimed. If the sum is wrong, a second pass
finds who claims what is claimed already, a third one who was first. Space that is kept for blocks without
contents is claimed last, whatever stands there: nobody reads it. So are sector bitmaps that are named but in
no state to be read: where the bits of a child are must not be taken for free.
"""

from __future__ import annotations

import numpy as np

from vhdx import rules
from vhdx.examine.entries import are_present
from vhdx.examine.mibs import MibSet
from vhdx.format.header import FILE_OFFSET_LIMIT
from vhdx.format.metadata import MAXIMUM_BLOCK_SIZE
from vhdx.image.state_masks import are_in
from vhdx.image.states import MAY_OWN_SPACE, PRESENT
from vhdx.rules import Finding
from vhdx.typed import TYPE_CHECKING, NamedTuple
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from vhdx.examine.findings import FindingReporter, Group, Numbers
    from vhdx.examine.slots import Entries, Slots, Window
    from vhdx.geometry import Geometry
    from vhdx.image.regions import Regions

_PLACE_SHIFT = np.uint64(20)


class Claims(NamedTuple):
    """What some blocks claim: each ``length`` MiB from its first MiB on."""

    group: Group
    firsts: Numbers
    length: int

    def part(self, chosen: Numbers) -> Claims:
        """Only the claims with these places among them."""
        return Claims(self.group.part(chosen), self.firsts[chosen], self.length)

    def described(self, index: int) -> str:
        """One claim in words."""
        return f"{self.group.name(index)} at {int(self.firsts[index]) * MIB}"


class Late(NamedTuple):
    """A claim on space that was claimed before: the slot, what it is, where, and how many MiB."""

    slot: int
    name: str
    first: int
    length: int


class ClaimCheck:
    """The claims of one table. ``regions`` says what blocks must not touch."""

    def __init__(
        self, slots: Slots, geometry: Geometry, regions: Regions, file_size: int, reporter: FindingReporter
    ) -> None:
        self._slots = slots
        self._geometry = geometry
        self._regions = regions
        self._file_size = file_size
        self._reporter = reporter
        self._block_mibs = geometry.block_size // MIB
        self._keeps_space = False
        self.claimed = self.structures()
        self._expected = len(self.claimed)
        self.late: list[Late] = []
        self._first_cut = self._latest(1) + 1
        """Where the first block begins that the end of the file cuts."""

    def structures(self) -> MibSet:
        """What belongs to no block."""
        claimed = self._empty_set()
        end = self._latest(1) + 1
        for area in self._regions.areas:
            claimed.add(np.arange(min(area.start // MIB, end), min(-(-area.end // MIB), end)), 1)
        return claimed

    def _empty_set(self) -> MibSet:
        """Room for everything in the file, short last blocks that reach over its end included."""
        return MibSet(self._latest(0) + 1 + MAXIMUM_BLOCK_SIZE // MIB)

    def add(self, window: Window, logged: MibSet | None) -> None:
        """First pass: add up what a window claims, and report what cannot be in the file.

        ``logged`` are the MiB that the replay of a log writes to.
        """
        self._keeps_space = self._keeps_space or bool(_kept(window).any() or self._named_bitmaps(window).size)
        for claims, beyond in self.claims(window):
            self._report_beyond(beyond)
            self._first_cut = min(self._first_cut, beyond.firsts.min(initial=self._first_cut))
            self._expected += self.claimed.add_unheld(claims.firsts, claims.length)
        if logged is not None:
            blocks = self._blocks(window)[0]
            touched = blocks.part(np.flatnonzero(logged.touching(blocks.firsts, blocks.length)))
            self._reporter.report_group(
                rules.LOG_PAYLOAD, touched.group, "the log writes into {}, which is no metadata"
            )

    def complete(self) -> None:
        """The other passes, where they are needed. `claimed` is right afterwards."""
        if len(self.claimed) != self._expected:
            self.claimed = self.structures()
            self._find_late()
            self._name_owners()
        if self._keeps_space:
            self._check_kept()
        self.claimed.add(np.arange(self._first_cut, self._latest(1) + 1), 1)

    def claims(self, window: Window) -> Iterator[tuple[Claims, Claims]]:
        """What a window claims of the file, and what it claims behind its end."""
        yield self._blocks(window)
        if self._geometry.differencing:
            bitmaps = np.flatnonzero(are_present(window.bitmaps))
            firsts = _places(window.bitmaps[bitmaps])
            yield _split(Claims(self._reporter.bitmaps(window, bitmaps), firsts, 1), self._latest(MIB))

    def _blocks(self, window: Window) -> tuple[Claims, Claims]:
        present = self._present(window)
        firsts = _places(window.blocks if window.is_full else window.blocks[present])
        claims = Claims(self._reporter.blocks(window, present), firsts, self._block_mibs)
        latest = self._latest(self._geometry.block_size)
        if present.size and present[-1] + window.first_block == self._geometry.block_count - 1:
            # QEMU ends fixed images with the disk: the last block may be short in the file.
            last = self._latest(self._geometry.block_length(self._geometry.block_count - 1))
            if latest < firsts[-1] <= last:
                inside = np.append(firsts[:-1] <= latest, True)
                return claims.part(np.flatnonzero(inside)), claims.part(np.flatnonzero(~inside))
        return _split(claims, latest)

    def _present(self, window: Window) -> Numbers:
        """Which blocks of a window have contents."""
        if window.is_full:
            return np.arange(len(window.blocks))
        return np.flatnonzero(are_in(window.blocks, PRESENT))

    def _latest(self, needed: int) -> int:
        """The last MiB at which something may begin of which ``needed`` bytes must be in the file."""
        return (min(self._file_size, FILE_OFFSET_LIMIT) - needed) // MIB

    def _report_beyond(self, claims: Claims) -> None:
        if not claims.firsts.size:
            return
        too_far = claims.firsts + claims.length > FILE_OFFSET_LIMIT // MIB
        for rule, which, reason in (
            (rules.BAT_PLACE, too_far, "files of over 256 TiB are refused"),
            (rules.BAT_PAST_END, ~too_far, f"the file has {self._file_size} bytes"),
        ):
            self._report(rule, claims.part(np.flatnonzero(which)), reason)

    def _report(self, rule: rules.Rule, claims: Claims, reason: str) -> None:
        self._reporter.report_group(rule, claims.group, lambda i: f"{claims.described(i)}: {reason}")

    def _find_late(self) -> None:
        """Claim everything once more, in the order of the table, and keep who comes too late."""
        for window in self._slots.windows():
            for claims, _ in self.claims(window):
                held = claims.part(np.flatnonzero(self.claimed.add(claims.firsts, claims.length)))
                if held.firsts.size:
                    inside = self.in_structures(held)
                    self._report_in_structures(held.part(np.flatnonzero(inside)))
                    self._keep_late(held.part(np.flatnonzero(~inside)))

    def in_structures(self, claims: Claims) -> NDArray[np.bool_]:
        starts = np.array([area.start // MIB for area in self._regions.areas])
        ends = np.maximum.accumulate([-(-area.end // MIB) for area in self._regions.areas])
        before = np.searchsorted(starts, claims.firsts + claims.length - 1, side="right") - 1
        return np.asarray(ends[before] > claims.firsts)

    def _report_in_structures(self, claims: Claims) -> None:
        def detail(index: int) -> str:
            place, length = int(claims.firsts[index]) * MIB, claims.length * MIB
            area = self._regions.area_touching(place, length)
            return f"{claims.described(index)} lies in {area.name if area else 'another structure'}"

        self._reporter.report_group(rules.BAT_PLACE, claims.group, detail)

    def _keep_late(self, claims: Claims) -> None:
        kept = min(len(claims.firsts), rules.KEPT_FINDINGS - len(self.late))
        self.late += [
            Late(int(claims.group.slots[i]), claims.group.name(i), int(claims.firsts[i]), claims.length)
            for i in range(kept)
        ]
        self._reporter.report.count(rules.BAT_OVERLAP, len(claims.firsts) - kept)

    def _name_owners(self) -> None:
        """Report the late claims, each with the first slot that claims the space, too."""
        if not self.late:
            return
        wanted = self._empty_set()
        for late in self.late:
            wanted.add(np.array([late.first]), late.length)
        owners: dict[int, str] = {}
        for window in self._slots.windows():
            for claims, _ in self.claims(window):
                hits = np.flatnonzero(wanted.touching(claims.firsts, claims.length))
                if hits.size:
                    # Of claims that begin alike the first one is enough: it comes before all late ones.
                    earliest = np.sort(np.unique(claims.firsts[hits], return_index=True)[1])
                    self._match(claims.part(hits[earliest]), owners)
            if len(owners) == len(self.late):
                break
        counted = self._reporter.report.counts[rules.BAT_OVERLAP]
        self._reporter.report.counts[rules.BAT_OVERLAP] = 0
        for late in self.late:
            detail = f"{late.name} at {late.first * MIB}: the space is claimed by {owners[late.slot]}, too"
            self._reporter.report(Finding(rules.BAT_OVERLAP, self._reporter.place(late.slot), detail))
        self._reporter.report.count(rules.BAT_OVERLAP, counted)

    def _match(self, claims: Claims, owners: dict[int, str]) -> None:
        for late in self.late:
            if late.slot not in owners:
                others = claims.group.slots != late.slot
                meets = (claims.firsts < late.first + late.length) & (
                    claims.firsts + claims.length > late.first
                )
                found = np.flatnonzero(others & meets)
                if found.size:
                    owners[late.slot] = claims.group.name(int(found[0]))

    def _check_kept(self) -> None:
        for _, taken, outside in self.wrongly_kept():
            self._report(rules.BAT_KEPT_PLACE, taken, "space that is kept, but not for it alone")
            self._report(rules.BAT_KEPT_PLACE, outside, "space that is kept, but not in the file")

    def wrongly_kept(self) -> Iterator[tuple[Window, Claims, Claims]]:
        """For each window the kept space that is somebody else's, and that is not in the file.

        Claims what is rightly kept; expects everything else to be claimed.
        """
        for window in self._slots.windows():
            kept = np.flatnonzero(_kept(window))
            claims = Claims(
                self._reporter.blocks(window, kept), _places(window.blocks[kept]), self._block_mibs
            )
            inside, outside = _split(claims, self._latest(self._geometry.block_size))
            taken = np.flatnonzero(self.claimed.add(inside.firsts, inside.length))
            yield window, inside.part(taken), outside
            self.claimed.add(self._named_bitmaps(window), 1)

    def _named_bitmaps(self, window: Window) -> Numbers:
        """The MiB in the file that the entries of sector bitmaps name which are not present."""
        if not self._geometry.differencing:
            return np.zeros(0, dtype=np.int64)
        places = _places(window.bitmaps[~are_present(window.bitmaps)])
        return places[(places > 0) & (places <= self._latest(MIB))]


def _places(entries: Entries) -> Numbers:
    return (entries >> _PLACE_SHIFT).view(np.int64)  # 44 bits are left: both types say the same


def _kept(window: Window) -> NDArray[np.bool_]:
    """Which blocks without contents name a place all the same."""
    if window.is_full:
        return np.zeros(0, dtype=bool)
    return np.asarray(are_in(window.blocks, MAY_OWN_SPACE) & (window.blocks >> _PLACE_SHIFT != 0))


def _split(claims: Claims, latest: int) -> tuple[Claims, Claims]:
    """The claims that begin at ``latest`` or before, and the others."""
    inside = claims.firsts <= latest
    if inside.all():
        return claims, claims.part(np.zeros(0, dtype=np.int64))
    return claims.part(np.flatnonzero(inside)), claims.part(np.flatnonzero(~inside))
