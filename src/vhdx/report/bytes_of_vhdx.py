"""Where the bytes of a VHDX are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vhdx.disk.formats import open_image
from vhdx.examine.mibs import MibSet
from vhdx.examine.slots import Slots
from vhdx.format.bat import BITMAP_PRESENT, FILE_OFFSET_MASK, STATE_MASK
from vhdx.geometry import BITMAP_BLOCK_SIZE
from vhdx.image.state_masks import are_in
from vhdx.image.states import PRESENT
from vhdx.image.unowned import Look, unclaimed_runs
from vhdx.report.file_bytes import PARTS, FileBytes, Structure, part_length_of, spread
from vhdx.units import MIB

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vhdx.image.image import Image

_LENGTH_LIMIT = 1 << 48
"""Bytes: what stands behind is no place of a file."""
_WINDOW = 1 << 20
"""MiB that are looked into in one go."""


def bytes_of_vhdx(path: str, *, lock: bool = True) -> FileBytes:
    """Look where everything is. Raises what opening raises."""
    image = open_image(path, lock=lock)
    try:
        return _parts_of(image)
    finally:
        image.storage.close()


def _parts_of(image: Image) -> FileBytes:
    size = image.storage.size()
    length = part_length_of(size)
    areas = [Structure(area.start, area.end - area.start, area.name) for area in image.regions.areas]
    structures, data = np.zeros(PARTS, dtype=np.int64), np.zeros(PARTS, dtype=np.int64)
    spread(
        structures, length, *np.array([(each.file_offset, each.length) for each in areas], dtype=np.int64).T
    )
    data_size = bitmap_size = 0
    geometry = image.geometry
    mibs = -(-size // MIB)
    claimed = MibSet(mibs + 1)
    for each in areas:
        claimed.add_run(each.file_offset // MIB, min(-(-(each.file_offset + each.length) // MIB), mibs))
    for window in Slots(image.storage, image.regions.bat, geometry).windows():
        present = are_in(window.blocks, PRESENT)
        places = _places(window.blocks[present])
        data_size += _add_blocks(data, length, places, geometry.block_size)
        _claim(claimed, places, geometry.block_size, size)
        if geometry.differencing:
            there = window.bitmaps & np.uint64(STATE_MASK) == BITMAP_PRESENT
            places = _places(window.bitmaps[there])
            bitmap_size += _add_blocks(structures, length, places, BITMAP_BLOCK_SIZE)
            _claim(claimed, places, BITMAP_BLOCK_SIZE, size)
    leaked = np.zeros(PARTS, dtype=np.int64)
    leaked_size = _add_leaked(leaked, length, Look(image.storage, size), claimed)
    parts = structures.tolist(), data.tolist(), leaked.tolist()
    return FileBytes(size, length, areas, *parts, data_size, bitmap_size, leaked_size)


def _places(entries: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where blocks stand in the file."""
    places = (entries & np.uint64(FILE_OFFSET_MASK)).astype(np.int64)
    return places[(places >= MIB) & (places < _LENGTH_LIMIT)]


def _claim(claimed: MibSet, places: NDArray[np.int64], block_size: int, size: int) -> None:
    """Put blocks into the set, as far as the file has them."""
    inside = places[places + block_size <= -(-size // MIB) * MIB]
    claimed.add(inside // MIB, block_size // MIB)


def _add_leaked(parts: NDArray[np.int64], length: int, look: Look, claimed: MibSet) -> int:
    """Spread over the parts what nobody claims and is not zeros; how many bytes that is."""
    total = 0
    for first, stop in unclaimed_runs(claimed.as_bytes(look.size // MIB)):
        for window in range(first, stop, _WINDOW):
            filled = np.frombuffer(look.filled(window, min(stop, window + _WINDOW)), dtype=np.uint8)
            starts = (np.flatnonzero(filled) + window) * MIB
            spread(parts, length, starts, np.full(len(starts), MIB, dtype=np.int64))
            total += len(starts) * MIB
    return total


def _add_blocks(parts: NDArray[np.int64], length: int, places: NDArray[np.int64], block_size: int) -> int:
    spread(parts, length, places, np.full(len(places), block_size, dtype=np.int64))
    return len(places) * block_size
