"""A volume group of LVM2 as its text tells it: which extents are in use, which volumes can be looked into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.lvm_text import list_at, number_at, parse, section_at, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.lvm_text import Section

SECTOR = 512
"""The text counts in these, whatever the sectors of the disk."""
_BUILT_OF_OTHERS = frozenset(
    (
        *("mirror", "snapshot", "thin", "thin-pool", "cache", "cache-pool", "writecache", "integrity"),
        *("vdo", "vdo-pool", "raid0", "raid0_meta", "raid1", "raid4", "raid10", "error", "zero"),
        *("raid5", "raid5_n", "raid5_la", "raid5_ls", "raid5_ra", "raid5_rs"),
        *("raid6", "raid6_zr", "raid6_nr", "raid6_nc", "raid6_n_6", "raid6_la_6", "raid6_ls_6"),
        *("raid6_ra_6", "raid6_rs_6"),
    )
)
"""Types of segments that stand on other volumes of the group, which are striped themselves."""


class Stripe(NamedTuple):
    """A run of extents on a physical volume, which the text calls ``pv``."""

    pv: str
    first: int
    length: int


class LogicalPiece(NamedTuple):
    """A part of a logical volume: bytes of the physical volume with this UUID."""

    pv_uuid: str
    offset: int
    length: int


class LogicalVolume(NamedTuple):
    """A volume that is nothing but runs of extents, in order: what stands in it can be looked at."""

    name: str
    pieces: tuple[LogicalPiece, ...]


class PhysicalVolume(NamedTuple):
    """A physical volume as the text tells it: where its extents begin, in bytes, and how many it has."""

    name: str
    uuid: str
    start: int
    extents: int


@dataclass(frozen=True)
class Group:
    """A volume group. ``extent_size`` in bytes; ``sequence`` rises with each change of the text."""

    name: str
    uuid: str
    sequence: int
    extent_size: int
    section: Section

    @classmethod
    def of(cls, text: str) -> Group:
        """The group that a text tells. Raises NotFreeError where it does not."""
        for name, section in parse(text).items():
            if isinstance(section, dict):
                return cls(
                    name=name,
                    uuid=text_of(section, "id"),
                    sequence=number_at(section, "seqno"),
                    extent_size=number_at(section, "extent_size") * SECTOR,
                    section=section,
                )
        raise NotFreeError("the text of its metadata tells of no volume group")

    def physical_volumes(self) -> Iterator[PhysicalVolume]:
        """Those of the group, wherever they are."""
        for name, section in section_at(self.section, "physical_volumes").items():
            if isinstance(section, dict):
                start, count = number_at(section, "pe_start") * SECTOR, number_at(section, "pe_count")
                yield PhysicalVolume(name, text_of(section, "id"), start, count)

    def used_of(self, pv: str) -> list[tuple[int, int]]:
        """Runs (first, length) of the extents in use on a physical volume, in order.

        Raises NotFreeError where a segment of an unknown type may have some, or two have the same.
        """
        runs = []
        for _, segments in self._volumes():
            for segment in segments:
                if text_of(segment, "type") == "striped":
                    runs += [(s.first, s.length) for s in _stripes(segment) if s.pv == pv]
                elif not _is_built_of_others(segment):
                    raise NotFreeError(
                        f"it has segments of the unknown type {text_of(segment, 'type')!r}", "unknown"
                    )
                elif self._names_a_physical_volume(segment):
                    raise NotFreeError("a volume of its group is being moved or mirrored", "unknown")
        return sorted(runs)

    def linear_volumes(self) -> Iterator[LogicalVolume]:
        """Volumes that stand on runs of extents alone, and that no other volume is built of or remembers."""
        places = {pv.name: pv for pv in self.physical_volumes()}
        named = self._named_in_others()
        for name, segments in self._volumes():
            section = section_at(section_at(self.section, "logical_volumes"), name)
            status = section.get("status")
            is_shown = isinstance(status, list) and "VISIBLE" in status and "LOCKED" not in status
            if is_shown and name not in named and segments:
                pieces = self._pieces(segments, places)
                if pieces is not None:
                    yield LogicalVolume(f"{self.name}/{name}", pieces)

    def _pieces(
        self, segments: list[Section], places: dict[str, PhysicalVolume]
    ) -> tuple[LogicalPiece, ...] | None:
        """The parts of a volume in order; None where it is not linear, or has gaps."""
        pieces = []
        extent = 0
        for segment in sorted(segments, key=lambda segment: number_at(segment, "start_extent")):
            if text_of(segment, "type") != "striped" or number_at(segment, "start_extent") != extent:
                return None
            stripes = _stripes(segment)
            if len(stripes) != 1 or stripes[0].pv not in places:
                return None
            pv, (_, first, count) = places[stripes[0].pv], stripes[0]
            if first + count > pv.extents:
                return None
            start = pv.start + first * self.extent_size
            pieces.append(LogicalPiece(pv.uuid, start, count * self.extent_size))
            extent += count
        return tuple(pieces)

    def _volumes(self) -> Iterator[tuple[str, list[Section]]]:
        """Each volume, hidden ones included, and its segments."""
        for name, section in section_at(self.section, "logical_volumes").items():
            if isinstance(section, dict):
                segments = [each for each in section.values() if isinstance(each, dict) and "type" in each]
                if len(segments) != number_at(section, "segment_count"):
                    raise NotFreeError(f"volume {name!r} of its group has other segments than it counts")
                yield name, segments

    def _named_in_others(self) -> set[str]:
        """Volumes that others are built of, or are snapshots of."""
        return {
            word
            for _, segments in self._volumes()
            for segment in segments
            if text_of(segment, "type") != "striped"
            for word in _words(segment)
        }

    def _names_a_physical_volume(self, segment: Section) -> bool:
        names = set(section_at(self.section, "physical_volumes"))
        return any(
            isinstance(value, list) and not names.isdisjoint(word for word in value if isinstance(word, str))
            for value in segment.values()
        )


def _words(segment: Section) -> Iterator[str]:
    for value in segment.values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from (word for word in value if isinstance(word, str))


def _is_built_of_others(segment: Section) -> bool:
    return text_of(segment, "type").partition("+")[0] in _BUILT_OF_OTHERS


def _stripes(segment: Section) -> list[Stripe]:
    """The runs of extents of a striped segment. Raises NotFreeError where they make no sense."""
    count, stripes = number_at(segment, "extent_count"), list_at(segment, "stripes")
    number = number_at(segment, "stripe_count")
    if not count or not number or len(stripes) != 2 * number or count % number:
        raise NotFreeError("a segment of its group makes no sense")
    found = []
    for pv, first in zip(stripes[::2], stripes[1::2], strict=True):
        if not isinstance(pv, str) or not isinstance(first, int) or first < 0:
            raise NotFreeError("a segment of its group makes no sense")
        found.append(Stripe(pv, first, count // number))
    return found
