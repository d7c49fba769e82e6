"""Where the bytes of a VHDX are: structures, blocks, and what neither names, in parts of equal length."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vhdx.disk.open import open_image
from vhdx.examine.slots import Slots
from vhdx.format.bat import BITMAP_PRESENT, FILE_OFFSET_MASK, STATE_MASK
from vhdx.geometry import BITMAP_BLOCK_SIZE
from vhdx.image.state_masks import are_in
from vhdx.image.states import PRESENT
from vhdx.units import MIB

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vhdx.image.image import Image

PARTS = 128
"""In which a file is shown."""
_LENGTH_LIMIT = 1 << 48
"""Bytes: what stands behind is no place of a file."""


class Structure(NamedTuple):
    """A structure of the file: where it is, and what it is called."""

    file_offset: int
    length: int
    name: str


class FileBytes(NamedTuple):
    """A file in `PARTS`: of each the bytes that are structures and those that are blocks. All in bytes."""

    size: int
    part_length: int
    structures: list[Structure]
    structure_parts: list[int]
    data_parts: list[int]
    data_size: int
    bitmap_size: int


def bytes_of_file(path: str, *, lock: bool = True) -> FileBytes:
    """Look where everything is. Raises what opening raises."""
    image = open_image(path, lock=lock)
    try:
        return _parts_of(image)
    finally:
        image.storage.close()


def _parts_of(image: Image) -> FileBytes:
    size = image.storage.size()
    length = max(1, -(-size // PARTS))
    areas = [Structure(area.start, area.end - area.start, area.name) for area in image.regions.areas]
    structures, data = np.zeros(PARTS, dtype=np.int64), np.zeros(PARTS, dtype=np.int64)
    _add(structures, length, *np.array([(each.file_offset, each.length) for each in areas], dtype=np.int64).T)
    data_size = bitmap_size = 0
    geometry = image.geometry
    for window in Slots(image.storage, image.regions.bat, geometry).windows():
        present = are_in(window.blocks, PRESENT)
        data_size += _add_blocks(data, length, window.blocks[present], geometry.block_size)
        if geometry.differencing:
            there = window.bitmaps & np.uint64(STATE_MASK) == BITMAP_PRESENT
            bitmap_size += _add_blocks(structures, length, window.bitmaps[there], BITMAP_BLOCK_SIZE)
    return FileBytes(size, length, areas, structures.tolist(), data.tolist(), data_size, bitmap_size)


def _add_blocks(parts: NDArray[np.int64], length: int, entries: NDArray[np.uint64], block_size: int) -> int:
    places = (entries & np.uint64(FILE_OFFSET_MASK)).astype(np.int64)
    places = places[(places >= MIB) & (places < _LENGTH_LIMIT)]
    _add(parts, length, places, np.full(len(places), block_size, dtype=np.int64))
    return len(places) * block_size


def _add(
    parts: NDArray[np.int64], length: int, starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> None:
    """Spread ranges of the file over the parts that they touch."""
    # Bytes in front of each border; between neighbouring borders they grow by what the part between holds.
    borders = np.arange(PARTS + 1, dtype=np.int64) * length
    order = np.argsort(starts, kind="stable")
    starts, lengths = starts[order], lengths[order]
    before = np.concatenate(([0], np.cumsum(lengths)))
    at = np.searchsorted(starts, borders, side="left")
    last = np.maximum(at - 1, 0)
    if len(starts):
        whole = before[last]
        inside = np.clip(borders - starts[last], 0, lengths[last])
        filled = np.where(at > 0, whole + inside, 0)
        parts += np.diff(filled)
