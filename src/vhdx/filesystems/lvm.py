"""Physical volumes of LVM2: the label, the ring of metadata, and the extents that no volume has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from vhdx.filesystems.area import Area, number
from vhdx.filesystems.base import Identity, NotFreeError, State
from vhdx.filesystems.gaps import gaps
from vhdx.filesystems.lvm_group import Group, LogicalVolume, PhysicalVolume

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.base import Read, Runs

_KIND = "LVM2 PV"
_MAGIC = b"LABELONE"
SECTOR = 512
LABEL_SECTORS = 4
"""The label stands in one of the first sectors."""
_TYPE = b"LVM2 001"
_AREA_MAGIC = b" LVM2 x[5A%r0N*>"
_AREA_HEADER = 512
_LARGEST_TEXT = 2 << 20
"""Bytes: some thousand volumes. LVM's own tools make areas of 1 MiB for two texts, unless told otherwise."""
_MOST_AREAS = 16
_IGNORED = 1


class Span(NamedTuple):
    """A range of the physical volume, bytes."""

    offset: int
    length: int


def _crc(data: bytes) -> int:
    """LVM2's checksum: CRC-32 from a start of its own, not inverted at the end."""
    return crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def recognise(read: Read, size: int) -> Pv | None:
    """The physical volume that begins here, if one does."""
    area = Area(read, size)
    front = area.peek(0, LABEL_SECTORS * SECTOR)
    for at in range(0, len(front), SECTOR):
        sector = front[at : at + SECTOR]
        if sector[:8] == _MAGIC and sector[24:32] == _TYPE and number(sector, 8, 8) == at // SECTOR:
            start = number(sector, 20, 4)
            return Pv(area, sector, start) if 32 <= start <= SECTOR - 40 else None
    return None


@dataclass(frozen=True)
class Pv:
    """A physical volume whose label was found; ``start`` is where in the label's sector the rest stands."""

    area: Area
    label: bytes
    start: int

    @cached_property
    def identity(self) -> Identity:
        """What its label says."""
        size = number(self.label, self.start + 32, 8)
        return Identity(_KIND, None, _dashed(self.uuid), size, SECTOR)

    @property
    def uuid(self) -> str:
        """Its UUID, 32 letters."""
        return self.label[self.start : self.start + 32].decode("latin-1")

    def trusted(self) -> TrustedPv:
        """Read the metadata: every copy must be sound, and the newest one counts."""
        if _crc(self.label[20:]) != number(self.label, 16, 4):
            raise NotFreeError("the checksum of its label is wrong")
        data, metadata = self._spans()
        texts = [text for text in (_text_in(self.area, span) for span in metadata) if text is not None]
        if not texts:
            raise NotFreeError("it belongs to no volume group, or another device says to which", "unknown")
        group = max((Group.of(text) for text in texts), key=lambda group: group.sequence)
        found = [pv for pv in group.physical_volumes() if pv.uuid.replace("-", "") == self.uuid]
        if len(found) != 1:
            raise NotFreeError(f"the volume group {group.name!r} does not know it")
        if len(data) != 1 or data[0].offset != found[0].start:
            raise NotFreeError("its label and its metadata do not agree on where its extents begin")
        if (
            not group.extent_size
            or found[0].start + found[0].extents * group.extent_size > self.identity.size
        ):
            raise NotFreeError("its extents leave it")
        return TrustedPv(group, found[0])

    def _spans(self) -> tuple[list[Span], list[Span]]:
        """Areas of data and of metadata."""
        lists: list[list[Span]] = [[], []]
        at = self.start + 40
        for spans in lists:
            while True:
                if at + 16 > len(self.label) or len(spans) > _MOST_AREAS:
                    raise NotFreeError("its label lists more areas than it has room for")
                span = Span(number(self.label, at, 8), number(self.label, at + 8, 8))
                at += 16
                if not span.offset:
                    break
                spans.append(span)
        return lists[0], lists[1]


def _text_in(area: Area, span: Span) -> str | None:
    """The text that an area of metadata holds; None where it holds none or is not in use."""
    header = area.bytes_at(span.offset, _AREA_HEADER)
    if _crc(header[4:]) != number(header, 0, 4) or header[4:20] != _AREA_MAGIC:
        raise NotFreeError("the header of its metadata is damaged")
    if (number(header, 24, 8), number(header, 32, 8)) != span or span.length <= _AREA_HEADER:
        raise NotFreeError("the header of its metadata belongs elsewhere")
    offset, length, checksum = number(header, 40, 8), number(header, 48, 8), number(header, 56, 4)
    if not offset or number(header, 60, 4) & _IGNORED:
        return None
    if not _AREA_HEADER <= offset < span.length or not 0 < length <= span.length - _AREA_HEADER:
        raise NotFreeError("the text of its metadata leaves the area")
    if length > _LARGEST_TEXT:
        raise NotFreeError(f"the text of its metadata has {length} bytes", "unknown")
    first = min(length, span.length - offset)
    text = area.bytes_at(span.offset + offset, first)
    text += area.bytes_at(span.offset + _AREA_HEADER, length - first)
    if _crc(text) != checksum:
        raise NotFreeError("the checksum of its metadata is wrong")
    return text.rstrip(b"\0").decode("utf-8", "backslashreplace")


def _dashed(uuid: str) -> str:
    """A UUID as LVM2 shows it: 6-4-4-4-4-4-6."""
    cuts = (0, 6, 10, 14, 18, 22, 26, 32)
    return "-".join(uuid[start:end] for start, end in pairwise(cuts))


@dataclass(frozen=True)
class TrustedPv:
    """A physical volume and the group that it belongs to."""

    group: Group
    place: PhysicalVolume
    state: State = "clean"

    @property
    def claimed_free(self) -> int:
        """Extents that no volume has."""
        used = sum(count for _, count in self.group.used_of(self.place.name))
        return max(self.place.extents - used, 0) * self.group.extent_size

    def agreed(self) -> AgreedPv:
        """Each extent belongs to one segment at most: `free_runs` refuses where that is not so."""
        return AgreedPv(self.group, self.place, tuple(self.group.used_of(self.place.name)))

    def logical_volumes(self) -> Iterator[LogicalVolume]:
        """The volumes of the group that can be looked into; parts of them may stand on other devices."""
        return self.group.linear_volumes()


@dataclass(frozen=True)
class AgreedPv:
    """A physical volume and its used extents, in order."""

    group: Group
    place: PhysicalVolume
    used: tuple[tuple[int, int], ...]

    def free_runs(self) -> Iterator[Runs]:
        """What stands between them. What stands in volumes is theirs, free or not."""
        import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

        used = np.array(self.used, np.int64).reshape(-1, 2)
        for runs in gaps((used,), 0, self.place.extents):
            free = runs * self.group.extent_size
            free[:, 0] += self.place.start
            yield free
