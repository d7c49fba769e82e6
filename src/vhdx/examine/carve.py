"""The blocks of an image that no table names: where they stand, and what each looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vhdx.examine.looks import Looks, looks_of
from vhdx.examine.lost import used_map
from vhdx.image.unowned import Look, unclaimed_runs
from vhdx.progress import to_nobody
from vhdx.storage.zeros import stored_nonzero_runs
from vhdx.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.image.image import Image
    from vhdx.progress import Advance


class UnownedBlock(NamedTuple):
    """A place of the file that nothing names and that is not zeros, or cannot be read."""

    file_offset: int
    length: int
    looks: Looks


def unowned_blocks(image: Image, advance: Advance = to_nobody) -> Iterator[UnownedBlock]:
    """Of an image that may be damaged, in the order of the file. What is less than a MiB is passed over."""
    size, block = image.reader.file_size, image.geometry.block_size // MIB
    look = Look(image.storage, size, unreadable=image.unreadable, advance=advance)
    for first, stop in unclaimed_runs(used_map(image)):
        if first * MIB + MIB > size:
            continue
        filled = look.filled(first, stop)
        for start, count in block_places(filled, block):
            place = (first + start) * MIB
            yield _judged(image, place, min(count * MIB, size - place))


def _judged(image: Image, place: int, length: int) -> UnownedBlock:
    def read(count: int, offset: int) -> bytes:
        return image.storage.read(max(0, min(count, length - offset)), place + offset)

    runs = stored_nonzero_runs(image.storage, place, length)
    first = next(runs, (place, 0))[0] - place
    return UnownedBlock(place, length, looks_of(read, length, first))


def block_places(filled: bytes | bytearray, block: int) -> Iterator[tuple[int, int]]:
    """Where in a run of MiB blocks of ``block`` MiB may stand: (first, how many) of each that is not zeros.

    ``filled`` is 1 for each MiB that is not. Blocks stand back to back from the start of a run, or up to its
    end behind the zeros that some software leaves; where a run has another length, from what is not zeros on.
    """
    odd = len(filled) % block
    at = filled.find(1)
    is_whole = not odd or at >= odd
    while at >= 0:
        first = at - (at - odd) % block if is_whole else at
        count = min(block, len(filled) - first)
        yield first, count
        at = filled.find(1, first + count)
