"""Copies of what blocks hold, in space that nobody claims: they are no lost blocks.

A compaction that is broken off leaves them: moved blocks stand in two places from their copying until the old
place is let go of. Told MiB by MiB, as places are whole MiB. Only what has exactly one counterpart counts:
contents that repeat may be those of lost blocks, too.
"""

from __future__ import annotations

import errno
from collections import Counter, defaultdict

import numpy as np

from vhdx.image.unowned import unclaimed_runs
from vhdx.progress import to_nobody
from vhdx.typed import TYPE_CHECKING
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vhdx.progress import Advance
    from vhdx.storage.base import ReadableStorage

MOST_COPIES = 1024
"""MiB that can be copies: compaction makes 256 MiB durable at a time, and lets go of as many meanwhile."""
_SECTOR = 512
_TOO_MANY = 2
"""Counterparts after which no more are counted: contents may repeat all over a disk."""
_FEW_SECTORS = 16
"""Up to so many sectors of a MiB are read one by one, not all of it."""
_TO_UNOWNED = bytes.maketrans(b"\x00\x01", b"\x01\x00")


def find_copies(
    storage: ReadableStorage,
    used: bytes | bytearray,
    mibs: Sequence[int],
    *,
    end: int,
    advance: Advance = to_nobody,
) -> frozenset[int]:
    """Which of some MiB that nobody claims hold what exactly one MiB below ``end`` holds that is claimed.

    Or a part of it, and zeros: the copy need not have been completed. ``used`` is the map of the file: 0 for
    each MiB that nobody claims. ``advance`` is told how many bytes of claimed space are gone through.
    """
    if not 0 < len(mibs) <= MOST_COPIES:
        return frozenset()
    looked_for = _first_sectors(storage, mibs)
    found: defaultdict[int, list[int]] = defaultdict(list)
    left = len(used[:end]) - used.count(0, 0, end)
    advance(0, left * MIB)
    for mib in _claimed(storage, used, end):
        for copy in _alike(storage, mib, looked_for):
            if len(found[copy]) < _TOO_MANY:
                found[copy].append(mib)
        advance(MIB, 0)
        left -= 1
    advance(left * MIB, 0)  # holes of the host's file
    originals = Counter(mib for several in found.values() for mib in several)
    return frozenset(
        copy
        for copy, several in found.items()
        if len(several) == 1 and originals[several[0]] == 1 and _is_copy(storage, copy, several[0])
    )


def _first_sectors(storage: ReadableStorage, mibs: Sequence[int]) -> dict[int, dict[bytes, int]]:
    """By its offset in a MiB, the first sector that is not zeros, with its MiB; none that is found twice."""
    places: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)
    for mib in mibs:
        data = _read(storage, MIB, mib * MIB)
        filled = data.lstrip(b"\0")
        if filled:
            start = (len(data) - len(filled)) // _SECTOR * _SECTOR
            places[start, data[start : start + _SECTOR]].append(mib)
    sectors: defaultdict[int, dict[bytes, int]] = defaultdict(dict)
    for (start, sector), same in places.items():
        if len(same) == 1:
            sectors[start][sector] = same[0]
    return sectors


def _claimed(storage: ReadableStorage, used: bytes | bytearray, end: int) -> Iterator[int]:
    """The MiB that somebody claims and that are no holes of the host's file."""
    for first, stop in unclaimed_runs(used[:end].translate(_TO_UNOWNED)):
        length = max(0, min(stop * MIB, storage.size()) - first * MIB)
        last = -1
        for start, part in storage.data_ranges(first * MIB, length):
            behind = -(-(start + part) // MIB)
            yield from range(max(start // MIB, last + 1), behind)
            last = behind - 1


def _alike(storage: ReadableStorage, mib: int, looked_for: dict[int, dict[bytes, int]]) -> Iterator[int]:
    """The MiB whose first sector stands at the same place of this one."""
    whole = _read(storage, MIB, mib * MIB) if len(looked_for) > _FEW_SECTORS else None
    for start, sectors in looked_for.items():
        at = mib * MIB + start
        sector = _read(storage, _SECTOR, at) if whole is None else whole[start : start + _SECTOR]
        if sector in sectors:
            yield sectors[sector]


def _is_copy(storage: ReadableStorage, copy: int, original: int) -> bool:
    """Whether each sector is zeros or that of the original."""
    ours, theirs = (
        np.frombuffer(_read(storage, MIB, mib * MIB).ljust(MIB, b"\0"), np.uint64).reshape(-1, _SECTOR // 8)
        for mib in (copy, original)
    )
    return bool(((ours == theirs).all(axis=1) | ~ours.any(axis=1)).all())


def _read(storage: ReadableStorage, length: int, file_offset: int) -> bytes:
    """What stands there; nothing where the host cannot read it."""
    try:
        return storage.read(max(0, min(length, storage.size() - file_offset)), file_offset)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""
