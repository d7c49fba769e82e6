"""Space of a file that nothing names: where it holds anything but zeros."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.examine.mibs import MibSet
    from vhdx.storage.base import ReadableStorage

_PIECE = 64 * 1024
_TOLD_RUNS = 5


class Unowned(NamedTuple):
    """How many MiB that nobody claims are not zeros, in how many runs; file offsets of the first runs."""

    mibs: int
    runs: int
    first: tuple[int, ...]


NOTHING = Unowned(0, 0, ())


def find_unowned(storage: ReadableStorage, claimed: MibSet, start: int, end: int) -> Unowned:
    """Look into what of a range of the file nobody claims; holes of the host's file are passed over."""
    mibs = runs = 0
    first: list[int] = []
    last = -1
    for mib in _filled(storage, claimed, start, end):
        if mib == last:
            continue
        if mib != last + 1 or not mibs:
            runs += 1
            if len(first) < _TOLD_RUNS:
                first.append(mib * MIB)
        mibs, last = mibs + 1, mib
    return Unowned(mibs, runs, tuple(first))


def _filled(storage: ReadableStorage, claimed: MibSet, start: int, end: int) -> Iterator[int]:
    """The MiB in which something stands, in order; one that is in several pieces may come twice."""
    for at, length in storage.data_ranges(start, end - start):
        stop = at + length
        for mib in claimed.absent(at // MIB, -(-stop // MIB)):
            if not _is_zero(storage, max(at, mib * MIB), min(stop, (mib + 1) * MIB)):
                yield mib


def _is_zero(storage: ReadableStorage, start: int, end: int) -> bool:
    pieces = (storage.read(min(_PIECE, end - at), at) for at in range(start, end, _PIECE))
    return not any(piece.strip(b"\0") for piece in pieces)
