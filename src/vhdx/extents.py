"""Runs of a virtual disk that have one answer: the value that read, convert and map are built on."""

from __future__ import annotations

import enum

from vhdx.text import brief
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class ExtentKind(enum.StrEnum):
    """What a read of an extent comes from."""

    DATA = "data"
    """Bytes in a layer."""
    ZERO = "zero"
    """A layer says that these are zeros."""
    UNALLOCATED = "unallocated"
    """No layer says anything; reads as zeros."""


class BlockState(enum.IntEnum):
    """The state of a payload block, as numbered in a BAT entry [MS-VHDX 2.5.1.1]."""

    NOT_PRESENT = 0
    UNDEFINED = 1
    ZERO = 2
    UNMAPPED = 3
    RESERVED_4 = 4
    UNMAPPED_V095 = 5
    """Unmapped in version 0.95 of the format, reserved since."""
    FULLY_PRESENT = 6
    PARTIALLY_PRESENT = 7


@brief("offset", "length", "kind", "state", "depth", "file_offset")
class Extent(NamedTuple):
    """A run of the virtual disk with one answer.

    ``offset`` and ``length`` are bytes of the virtual disk. ``depth`` is 0 where no layer answers, 1 for
    the image itself, 2 for its parent and so on; ``state`` is the block's state in the layer that
    answered; ``file_offset`` is where in that layer's file the bytes stand, None where no space stands
    behind the extent.
    """

    offset: int
    length: int
    kind: ExtentKind
    state: BlockState
    depth: int
    file_offset: int | None

    @property
    def end(self) -> int:
        """The disk offset just behind the extent."""
        return self.offset + self.length

    def part(self, offset: int, end: int) -> Extent:
        """The part of this extent that lies between two disk offsets inside it."""
        moved = None if self.file_offset is None else self.file_offset + offset - self.offset
        return self._replace(offset=offset, length=end - offset, file_offset=moved)


@brief("offset", "length", "reason")
class Doubt(NamedTuple):
    """A range of a damaged disk, in bytes, that may not read right, and why."""

    offset: int
    length: int
    reason: str


def merged(extents: Iterable[Extent]) -> Iterator[Extent]:
    """The same extents with neighbours that continue each other made one. Expects them in order."""
    rest = iter(extents)
    current = next(rest, None)
    if current is None:
        return
    end = current.offset + current.length
    for extent in rest:
        if extent.offset == end and continues(current, extent):
            current = current._replace(length=current.length + extent.length)
        else:
            yield current
            current = extent
        end = extent.offset + extent.length
    yield current


def continues(before: Extent, after: Extent) -> bool:
    """Whether an extent goes on where the one before it ends, so that both are one."""
    if before.end != after.offset:  # extents between them may have been left out
        return False
    if before.kind is not after.kind or before.state != after.state or before.depth != after.depth:
        return False
    if before.file_offset is None or after.file_offset is None:
        return before.file_offset is after.file_offset
    return before.file_offset + before.length == after.file_offset


def side_by_side(ours: Iterator[Extent], theirs: Iterator[Extent]) -> Iterator[tuple[Extent, Extent]]:
    """The parts of two runs of extents over the same range, cut so that the parts of a pair are alike."""
    left, right = next(ours, None), next(theirs, None)
    while left is not None and right is not None:
        end = min(left.end, right.end)
        yield left.part(left.offset, end), right.part(right.offset, end)
        left = left.part(end, left.end) if end < left.end else next(ours, None)
        right = right.part(end, right.end) if end < right.end else next(theirs, None)
