"""What a compaction would do, counted on a map of the space; nothing is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.format.bat import file_offset_of
from vhdx.geometry import BITMAP_BLOCK_SIZE
from vhdx.image.states import is_present
from vhdx.units import MIB
from vhdx.write.space import Conflict, keep_leftovers, survey

if TYPE_CHECKING:
    from array import array

    from vhdx.image.image import Image
    from vhdx.reshape.packing import Move
    from vhdx.reshape.scan import Replacement


class Estimate:
    """The changes of a compaction, not made. Raises CorruptImageError where blocks overlap."""

    def __init__(self, image: Image) -> None:
        self.image = image
        try:
            # As if what keeps space without contents had been dropped already.
            self.space = survey(
                image.regions, image.bat, image.geometry, image.reader.file_size, keeping=False
            )
        except Conflict as conflict:
            raise conflict.finding.error(image.name) from None
        keep_leftovers(self.space, image.regions, image.bat, image.geometry)

    def trim(self, length: int, offset: int) -> None:
        """Whole blocks go."""
        for block in self.image.geometry.covered(offset, length):
            entry = self.image.bat.payload(block)
            if is_present(entry):
                self.space.give_back(file_offset_of(entry), self.image.geometry.block_size)

    def drop_places(self, block: int, entries: array[int]) -> None:
        """Counted from the beginning."""

    def give_back(self, block: int, entry: int, replacement: Replacement) -> None:  # noqa: ARG002  as in `Changes`
        """A block with fewer sectors keeps its space."""
        if replacement.bits is None:
            self.space.give_back(file_offset_of(entry), self.image.geometry.block_size)

    def drop_bitmap(self, chunk: int, place: int) -> None:  # noqa: ARG002
        """A sector bitmap goes."""
        self.space.give_back(place, BITMAP_BLOCK_SIZE)

    def add_bitmap(self, chunk: int) -> bool:  # noqa: ARG002
        """A sector bitmap comes, if there is space for it."""
        return self.space.take(BITMAP_BLOCK_SIZE) is not None

    def settle(self) -> None:
        """Nothing waits here."""

    def move(self, move: Move) -> None:
        """Something goes from one place to another."""
        length = move.piece.length * MIB
        self.space.claim(move.target * MIB, length)
        self.space.give_back(move.piece.start * MIB, length)

    def punch(self, file_offset: int, length: int) -> bool:  # noqa: ARG002
        """The host would be asked."""
        return True
