"""What a block could be instead, so that it takes less space and reads the same: zeros, or what lies below.

In a differencing image a bit that is cleared, and a block that becomes NOT_PRESENT, show what lies below:
only where the bytes are equal. A block of zeros becomes ZERO, which shows nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vhdx.extents import BlockState
from vhdx.format.bat import file_offset_of, state_of
from vhdx.storage.zeros import is_zero
from vhdx.units import KIB
from vhdx.write.sectors import read_below

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vhdx.image.image import Image
    from vhdx.write.sectors import Below

    Bits = NDArray[np.bool_]

PIECE_SIZE = 512 * KIB
"""What is read in one go: both it and the zeros that it is compared with stay in the processor's cache."""
_FIRST_PIECE = 16 * KIB
"""Most blocks with data show it at their start."""
TRANSPARENT_UNIT = 64 * KIB
"""Shorter runs that equal what lies below stay: reading alternately from here and there costs more."""


class Replacement(NamedTuple):
    """The state that a block may take; where that is PARTIALLY_PRESENT, the bits of its sectors.

    ``sectors`` is how many of them are let go of then.
    """

    state: BlockState
    bits: Bits | None = None
    sectors: int = 0


class Scanner:
    """Reads blocks of one image, and what lies below them. ``below`` None: nothing is known of it."""

    def __init__(self, image: Image, below: Below | None) -> None:
        self._image = image
        self._geometry = image.geometry
        self._below = below
        self._buffer = bytearray(PIECE_SIZE)

    def replacement(self, block: int, entry: int) -> Replacement | None:
        """What a present block may become, None if it has to stay as it is."""
        state, place = state_of(entry), file_offset_of(entry)
        length = self._geometry.block_length(block)
        if state is BlockState.FULLY_PRESENT and self._is_zero(place, length):
            return Replacement(BlockState.ZERO)
        return None if self._below is None else self._compared(block, state, place, self._below)

    def _is_zero(self, place: int, length: int) -> bool:
        """Whether a range of the file is all zeros; holes of the host are not read."""
        for start, count in self._image.storage.data_ranges(place, length):
            end, position, size = start + count, start, _FIRST_PIECE
            while position < end:
                piece = memoryview(self._buffer)[: min(size, end - position)]
                self._image.storage.read_into(piece, position)
                if not is_zero(piece):
                    return False
                position, size = position + len(piece), PIECE_SIZE
        return True

    def _compared(self, block: int, state: BlockState, place: int, below: Below) -> Replacement | None:
        import numpy as np  # noqa: PLC0415  slow to import, and only children need it

        present = self._present(block, state)
        differs = np.zeros_like(present)
        shows_zeros = True
        sector = self._geometry.logical_sector_size
        length = self._geometry.block_length(block)
        for start in range(0, length, PIECE_SIZE):
            count = min(PIECE_SIZE, length - start)
            sectors = slice(start // sector, (start + count) // sector)
            own = self._image.storage.read(count, place + start) if present[sectors].any() else None
            theirs = read_below(below, count, (block << self._geometry.block_shift) + start)
            if own is not None:
                differs[sectors] = _unequal(own, theirs, sector) & present[sectors]
            shows_zeros = shows_zeros and is_zero(_shown(own, theirs, present[sectors], sector))
        if shows_zeros:
            return Replacement(BlockState.ZERO)
        if not differs.any():
            return Replacement(BlockState.NOT_PRESENT)
        return self._with_fewer_bits(present, differs)

    def _present(self, block: int, state: BlockState) -> Bits:
        """A bit for each sector of a block that is in this file, none for what lies behind the disk's end."""
        import numpy as np  # noqa: PLC0415

        count = self._geometry.sectors_per_block
        if state is BlockState.FULLY_PRESENT:
            present = np.ones(count, dtype=np.bool_)
        else:
            bits = self._image.reader.bits(block, self._geometry.first_bit(block), count)
            raw = np.frombuffer(bits.to_bytes(count // 8, "little"), dtype=np.uint8)
            present = np.unpackbits(raw, bitorder="little").astype(np.bool_)
        present[self._geometry.block_length(block) // self._geometry.logical_sector_size :] = False
        return present

    def _with_fewer_bits(self, present: Bits, differs: Bits) -> Replacement | None:
        """Whole units without a difference are let go of; the chunk's sector bitmap has to say so."""
        import numpy as np  # noqa: PLC0415

        in_unit = TRANSPARENT_UNIT // self._geometry.logical_sector_size
        stays = differs.reshape(-1, in_unit).any(axis=1)
        if not (present.reshape(-1, in_unit).any(axis=1) & ~stays).any():
            return None
        bits = present & np.repeat(stays, in_unit)
        return Replacement(BlockState.PARTIALLY_PRESENT, bits, int((present & ~bits).sum()))


def _unequal(own: bytes, theirs: bytes, sector: int) -> Bits:
    """For each sector whether its bytes differ."""
    import numpy as np  # noqa: PLC0415

    if own == theirs:
        return np.zeros(len(own) // sector, dtype=np.bool_)
    differing = np.frombuffer(own, dtype=np.uint64) != np.frombuffer(theirs, dtype=np.uint64)
    found: Bits = differing.reshape(-1, sector // 8).any(axis=1)
    return found


def _shown(own: bytes | None, theirs: bytes, present: Bits, sector: int) -> bytes:
    """What a read returns: sectors from here or from below."""
    import numpy as np  # noqa: PLC0415

    if own is None:
        return theirs
    if present.all():
        return own
    chosen = np.where(
        present[:, np.newaxis],
        np.frombuffer(own, dtype=np.uint64).reshape(-1, sector // 8),
        np.frombuffer(theirs, dtype=np.uint64).reshape(-1, sector // 8),
    )
    return chosen.tobytes()
