"""Holes in the host's file: in space that nobody owns, and where a block that stays is zeros.

A hole reads as zeros, so nothing has to be journalled: a crash leaves the zeros or the hole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.extents import ExtentKind
from vhdx.format.bat import file_offset_of
from vhdx.image.states import is_present
from vhdx.storage.zeros import nonzero_runs
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdx.image.image import Image
    from vhdx.write.space import Space

    Punch = Callable[[int, int], bool]
    Range = tuple[int, int]

_UNIT = 4096
"""The smallest hole that file systems make; where theirs are larger they keep the rest as zeros."""
_PIECE_SIZE = MIB


def punch_all(image: Image, ranges: Iterator[Range], punch: Punch) -> int:
    """Punch (file offset, length) ranges; how many bytes were none of a hole before.

    Stops at the first that the host cannot punch.
    """
    punched = 0
    for file_offset, length in ranges:
        for start, count in image.storage.data_ranges(file_offset, length):
            if not punch(start, count):
                return punched
            punched += count
    return punched


def free_ranges(image: Image, space: Space) -> Iterator[Range]:
    """The parts of the file that nobody owns, without those at its end."""
    end = min(space.used_end, image.reader.file_size)
    starts, lengths = space.gaps()
    for start, length in zip((starts * MIB).tolist(), (lengths * MIB).tolist(), strict=True):
        if start < end:
            yield start, min(length, end - start)


def zero_ranges(image: Image, advance: Callable[[int], None]) -> Iterator[Range]:
    """The whole units of present blocks that are zeros, or that no read asks for."""
    for run in image.bat.runs(0, image.geometry.block_count):
        if is_present(run.entry):
            place = file_offset_of(run.entry)
            for index in range(run.block_count):
                block = run.first_block + index
                yield from _zero_ranges_of(image, block, place + index * image.geometry.block_size)
                advance(image.geometry.block_length(block))


def _zero_ranges_of(image: Image, block: int, place: int) -> Iterator[Range]:
    geometry = image.geometry
    start, length = block << geometry.block_shift, geometry.block_length(block)
    for extent in image.reader.extents(start, length):
        within = _whole_units(place + extent.offset - start, place + extent.end - start)
        if extent.kind is ExtentKind.DATA:
            yield from _zeros_in(image, *within)
        else:
            yield from _in_file(image, *within)
    yield from _in_file(image, *_whole_units(place + length, place + geometry.block_size))


def _whole_units(start: int, end: int) -> tuple[int, int]:
    return -(-start // _UNIT) * _UNIT, end // _UNIT * _UNIT


def _in_file(image: Image, start: int, end: int) -> Iterator[Range]:
    end = min(end, image.reader.file_size // _UNIT * _UNIT)
    if start < end:
        yield start, end - start


def _zeros_in(image: Image, start: int, end: int) -> Iterator[Range]:
    """What is zeros between two file offsets and no hole yet, in whole units."""
    for data_start, data_length in image.storage.data_ranges(start, max(0, end - start)):
        low, high = _whole_units(data_start, data_start + data_length)
        for position in range(low, high, _PIECE_SIZE):
            piece = bytearray(min(_PIECE_SIZE, high - position))
            image.storage.read_into(memoryview(piece), position)
            zeros_from = 0
            for first, stop in [*nonzero_runs(piece, _UNIT), (len(piece), len(piece))]:
                if zeros_from < first:
                    yield position + zeros_from, first - zeros_from
                zeros_from = stop
