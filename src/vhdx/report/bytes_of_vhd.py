"""Where the bytes of a VHD are, and those of a raw disk."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from vhdx.format import vhd
from vhdx.image.vhd import VhdImage
from vhdx.image.vhd_load import bitmap_length, block_count
from vhdx.report.file_bytes import PARTS, FileBytes, Structure, part_length_of, spread
from vhdx.storage.file import open_for_reading
from vhdx.storage.zeros import stored_nonzero_runs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from vhdx.format.vhd import DynamicHeader
    from vhdx.storage.base import ReadableStorage

    Pairs = NDArray[np.int64]
    """Rows of (start, length), in bytes of the file."""


def bytes_of_vhd(path: str, *, lock: bool = True) -> FileBytes:
    """Look where everything is. Raises what opening raises."""
    with contextlib.closing(open_for_reading(path, lock=lock)) as storage:
        image = VhdImage(storage)
        structures, blocks = _structures(image), _blocks(image)
        bitmap = 0 if image.header is None else bitmap_length(image.header)
        data = blocks + np.array([bitmap, -bitmap], dtype=np.int64)
        bitmaps = np.stack((blocks[:, 0], np.full(len(blocks), bitmap, dtype=np.int64)), axis=1)
        return _counted(storage, structures, bitmaps, data)


def bytes_of_raw(path: str, *, lock: bool = True) -> FileBytes:
    """Look which bytes the host has stored. Raises OSError, ImageLockedError."""
    with contextlib.closing(open_for_reading(path, lock=lock)) as storage:
        return _counted(storage, [], _pairs(()), _pairs(storage.data_ranges(0, storage.size())))


def _structures(image: VhdImage) -> list[Structure]:
    size = image.storage.size()
    found = [Structure(max(0, size - vhd.FOOTER_SIZE), min(size, vhd.FOOTER_SIZE), "footer")]
    names = ("footer copy", "dynamic disk header", "BAT")
    for name, (start, end) in zip(names, image.structures, strict=False):
        padded = -(-(end - start) // vhd.SECTOR_SIZE) * vhd.SECTOR_SIZE  # tables end with a sector
        found.append(Structure(start, padded, name))
    locators = () if image.header is None else image.header.locators
    found += [Structure(each.file_offset, each.length, "parent locator") for each in locators]
    return sorted(found)


def _blocks(image: VhdImage) -> Pairs:
    """The blocks that are in the file, each with its bitmap; the disk itself where there is no table."""
    if image.header is None:
        return _pairs([(0, min(image.size, image.storage.size()))])
    return _pairs(_places(image, image.header))


def _places(image: VhdImage, header: DynamicHeader) -> Iterable[tuple[int, int]]:
    length = image.stored_length(header)
    for block in range(block_count(header, image.footer)):
        place = image.named_place(header, block)
        if place is not None:
            yield place, length


def _pairs(pieces: Iterable[tuple[int, int]]) -> Pairs:
    return np.array(list(pieces), dtype=np.int64).reshape(-1, 2)


def _counted(storage: ReadableStorage, structures: list[Structure], bitmaps: Pairs, data: Pairs) -> FileBytes:
    size = storage.size()
    length = part_length_of(size)
    named = np.concatenate((_pairs((each.file_offset, each.length) for each in structures), bitmaps))
    leaked = _pairs(_leaked(storage, np.concatenate((named, data)))) if structures else _pairs(())
    data_size, bitmap_size, leaked_size = (int(pairs[:, 1].sum()) for pairs in (data, bitmaps, leaked))
    return FileBytes(
        size=size,
        part_length=length,
        structures=structures,
        structure_parts=_spread(named, length),
        data_parts=_spread(data, length),
        leaked_parts=_spread(leaked, length),
        data_size=data_size,
        bitmap_size=bitmap_size,
        leaked_size=leaked_size,
    )


def _spread(pairs: Pairs, length: int) -> list[int]:
    counts = np.zeros(PARTS, dtype=np.int64)
    spread(counts, length, pairs[:, 0], pairs[:, 1])
    found: list[int] = counts.tolist()
    return found


def _leaked(storage: ReadableStorage, named: Pairs) -> Iterable[tuple[int, int]]:
    """(file offset, length) of what nothing names and is not zeros."""
    size, end = storage.size(), 0
    for start, length in [*named[np.argsort(named[:, 0], kind="stable")].tolist(), (size, 0)]:
        start = min(start, size)  # noqa: PLW2901  a damaged table names what is not there
        if start > end:
            yield from stored_nonzero_runs(storage, end, start - end, vhd.SECTOR_SIZE)
        end = max(end, start + length)
