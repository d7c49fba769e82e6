"""Where two disks may differ, by what they know of themselves, and in which sectors two pieces do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.extents import ExtentKind, side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.disk.base import VirtualDisk
    from vhdx.disk.opened import Disk
    from vhdx.extents import Extent


def stored_in_either(one: VirtualDisk, other: VirtualDisk, *, offset: int, length: int) -> Iterator[Extent]:
    """The parts of a range of ``one`` in which one of both has data: everywhere else both read as zeros.

    So does what lies behind the end of ``other``.
    """
    shared = max(offset, min(offset + length, other.size))
    if there := shared - offset:
        ours, theirs = (each.extents(offset=offset, length=there) for each in (one, other))
        for left, right in side_by_side(ours, theirs):
            if ExtentKind.DATA in (left.kind, right.kind):
                yield left
    behind = one.extents(offset=shared, length=offset + length - shared)
    yield from (extent for extent in behind if extent.kind is ExtentKind.DATA)


def stored_apart(one: Disk, other: Disk) -> Iterator[Extent]:
    """The same of all of ``one``, less what both have from one place of one file: that is not read."""
    ours, theirs = _files_by_depth(one), _files_by_depth(other)
    if one.format != other.format or not set(ours) & set(theirs):
        yield from stored_in_either(one, other, offset=0, length=one.size)
        return
    shared = min(one.size, other.size)
    for left, right in side_by_side(one.extents(length=shared), other.extents(length=shared)):
        if ExtentKind.DATA not in (left.kind, right.kind):
            continue
        if (
            left.kind is not right.kind
            or left.file_offset != right.file_offset
            or left.file_offset is None
            or ours[left.depth - 1] != theirs[right.depth - 1]
        ):
            yield left
    yield from stored_in_either(one, other, offset=shared, length=one.size - shared)


def _files_by_depth(disk: Disk) -> tuple[tuple[int, int], ...]:
    """The file of each layer; none where one of them is no file that could be told from others."""
    files = disk.files()
    return files if len(files) == len(disk.chain) else ()


def unequal_runs(left: bytes, right: bytes, unit: int) -> list[tuple[int, int]]:
    """The (start, stop) runs of units in which two pieces of one length differ; the last unit may be torn."""
    if left == right:
        return []
    import numpy as np  # noqa: PLC0415  slow to import, and equal disks need none

    whole = len(left) - len(left) % unit
    words = (np.frombuffer(piece, np.uint64, whole // 8).reshape(-1, unit // 8) for piece in (left, right))
    differs = np.not_equal(*words).any(axis=1)
    if whole < len(left):
        differs = np.append(differs, left[whole:] != right[whole:])
    borders = np.flatnonzero(np.diff(np.concatenate(([False], differs, [False])))).tolist()
    return [
        (first * unit, min(stop * unit, len(left)))
        for first, stop in zip(borders[::2], borders[1::2], strict=True)
    ]
