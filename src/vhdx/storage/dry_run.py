"""A file as it would be, nothing being written: holes, and ranges that would have been copied, by reference.

For changes that move what is there. What is new is kept in memory: it has to be little.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

from vhdx.storage.base import ended_early, fill_zeros

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.storage.base import ReadableStorage

_UNIT = 4096
"""Of the holes of hosts."""


class _Segment(NamedTuple):
    """A range whose bytes stand in the base from an offset on, or are given, or are those of a hole: None."""

    start: int
    end: int
    origin: int | bytes | None

    def part(self, start: int, end: int) -> _Segment:
        """What of it lies between two file offsets."""
        start, end, origin = max(start, self.start), min(end, self.end), self.origin
        if isinstance(origin, int):
            origin += start - self.start
        elif origin is not None:
            origin = origin[start - self.start : end - self.start]
        return _Segment(start, end, origin)


class DryRunStorage:
    """A storage over ``base``, which it owns and only reads."""

    def __init__(self, base: ReadableStorage) -> None:
        self._base = base
        self._segments = [_Segment(0, base.size(), 0)]

    @property
    def name(self) -> str:
        """The name of the file."""
        return self._base.name

    def size(self) -> int:
        """The length that the file would have."""
        return self._segments[-1].end

    def identity(self) -> tuple[int, int] | None:
        """The identity of the file."""
        return self._base.identity()

    def _within(self, start: int, end: int) -> list[_Segment]:
        first = bisect_right(self._segments, start, key=lambda segment: segment.end)
        last = bisect_left(self._segments, end, key=lambda segment: segment.start)
        return [segment.part(start, end) for segment in self._segments[first:last]]

    def _replace(self, new: list[_Segment]) -> None:
        """Put segments that continue each other in the place of what is there, or behind the end."""
        start, end = new[0].start, new[-1].end
        first = bisect_right(self._segments, start, key=lambda segment: segment.end)
        last = bisect_left(self._segments, end, key=lambda segment: segment.start)
        old = self._segments[first:last]
        before = [segment.part(0, start) for segment in old[:1] if segment.start < start]
        behind = [segment.part(end, segment.end) for segment in old[-1:] if segment.end > end]
        self._segments[first:last] = [*before, *new, *behind]

    def read(self, length: int, file_offset: int) -> bytes:
        """Exactly ``length`` bytes."""
        buffer = bytearray(length)
        self.read_into(memoryview(buffer), file_offset)
        return bytes(buffer)

    def read_into(self, buffer: memoryview, file_offset: int) -> None:
        """Fill the buffer."""
        if file_offset + len(buffer) > self.size():
            raise ended_early(self.name, file_offset, len(buffer))
        for start, end, origin in self._within(file_offset, file_offset + len(buffer)):
            piece = buffer[start - file_offset : end - file_offset]
            if isinstance(origin, int):
                self._base.read_into(piece, origin)
            elif origin is None:
                fill_zeros(piece)
            else:
                piece[:] = origin

    def data_ranges(self, file_offset: int, length: int) -> Iterator[tuple[int, int]]:
        """The runs of a range that would be no holes, as far as the host knows its own."""
        begun = done = file_offset
        for start, end in self._data(file_offset, file_offset + length):
            if start > done:
                if done > begun:
                    yield begun, done - begun
                begun = start
            done = end
        if done > begun:
            yield begun, done - begun

    def _data(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        for segment in self._within(start, end):
            if isinstance(segment.origin, int):
                moved = segment.start - segment.origin
                for at, count in self._base.data_ranges(segment.origin, segment.end - segment.start):
                    yield at + moved, at + count + moved
            elif segment.origin is not None:
                yield segment.start, segment.end

    def move(self, source: int, target: int, length: int) -> None:
        """As if a range had been copied, its holes as holes."""
        if length:
            moved = target - source
            found = self._within(source, source + length)
            self._replace([_Segment(start + moved, end + moved, origin) for start, end, origin in found])

    def write_at(self, data: bytes | bytearray | memoryview, file_offset: int) -> None:
        """Keep bytes that would be written."""
        if file_offset > self.size():
            self.resize(file_offset)
        if len(data):
            self._replace([_Segment(file_offset, file_offset + len(data), bytes(data))])

    def flush(self) -> None:
        """Nothing is written."""

    def resize(self, size: int) -> None:
        """As if the file had another length."""
        if size > self.size():
            self._replace([_Segment(self.size(), size, None)])
        else:
            self._segments = self._within(0, size)

    def zero(self, file_offset: int, length: int) -> None:
        """As if a range read as zeros."""
        self.punch(file_offset, length)

    def punch(self, file_offset: int, length: int) -> bool:
        """As if a range had been given back; what is no whole unit becomes zeros, unless it is a hole."""
        end = file_offset + length
        first, last = -(-file_offset // _UNIT) * _UNIT, end // _UNIT * _UNIT
        if first < last:
            self._replace([_Segment(first, last, None)])
        torn = [(file_offset, first), (last, end)] if first <= last else [(file_offset, end)]
        for start, stop in torn:
            for at, count in list(self.data_ranges(start, stop - start)):
                self._replace([_Segment(at, at + count, bytes(count))])
        return True

    def reserve(self, file_offset: int, length: int) -> bool:  # noqa: ARG002  the protocol's signature
        """Nothing is claimed."""
        return False

    def close(self) -> None:
        """Close the base."""
        self._base.close()
