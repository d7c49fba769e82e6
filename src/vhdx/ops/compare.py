"""Compare the contents of two disks of any kind, reading only what is not known to be equal."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from vhdx.disk.open import open_any
from vhdx.disk.parts import one_partition
from vhdx.ops.differences import stored_in_either
from vhdx.text import brief
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdx.disk.base import VirtualDisk
    from vhdx.disk.formats import Format, Openable
    from vhdx.disk.opened import Disk
    from vhdx.disk.places import Parents


@brief("identical", "first_difference")
class CompareResult(NamedTuple):
    """What was found. Offsets and sizes in bytes; disks of different size are never identical."""

    first_path: str
    first_format: str
    first_virtual_size: int
    second_path: str
    second_format: str
    second_virtual_size: int
    identical: bool
    first_difference: int | None
    """The first disk offset at which both disks have a byte and the bytes differ."""


def compare(
    first: Openable,
    second: Openable,
    *,
    first_format: Format | None = None,
    second_format: Format | None = None,
    partition: int | None = None,
    parents: Parents = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> CompareResult:
    """Whether two disks, raw, or VHDX or VHD with their parents, have the same contents.

    ``partition`` compares only the partition of this number of both. Raises what opening raises; ValueError
    where a format cannot be told without doubt, and for a partition that is not there.
    """
    with (
        open_any(first, image_format=first_format, parents=parents) as one,
        open_any(second, image_format=second_format, parents=parents) as other,
    ):
        left, right = _part(one, partition), _part(other, partition)
        difference = _first_difference(left, right, progress)
        same = difference is None and left.size == right.size
        sides = (one.chain[0], one.format, left.size), (other.chain[0], other.format, right.size)
        return CompareResult(*sides[0], *sides[1], same, difference)


def _part(disk: Disk, partition: int | None) -> Disk:
    return disk if partition is None else one_partition(disk, partition)


def _first_difference(
    one: VirtualDisk, other: VirtualDisk, progress: Callable[[int, int | None], None] | None
) -> int | None:
    shared = partial(stored_in_either, one, other, offset=0, length=min(one.size, other.size))
    done, total = 0, 0 if progress is None else sum(part.length for part in shared())
    for part in shared():
        for start in range(part.offset, part.end, MIB):
            count = min(MIB, part.end - start)
            left, right = one.pread(count, start), other.pread(count, start)
            if left != right:
                return start + _first_unequal(left, right)
            done += count
            if progress is not None:
                progress(done, total)
    return None


def _first_unequal(left: bytes, right: bytes) -> int:
    """Where two runs of bytes of one length, which are not equal, differ first: by halving."""
    low, high = 0, len(left)
    while high - low > 1:
        middle = (low + high) // 2
        if left[low:middle] != right[low:middle]:
            high = middle
        else:
            low = middle
    return low
