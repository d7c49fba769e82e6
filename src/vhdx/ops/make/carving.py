"""The blocks of a damaged image that no table names, carved out beside a conversion of it."""

from __future__ import annotations

from vhdx.disk.chain import VhdxDisk
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdx.image.image import Image
    from vhdx.ops.make.carve import CarvedBlock
    from vhdx.ops.make.source import Source
    from vhdx.progress import Progress


class Carving(NamedTuple):
    """Which blocks go into which directory, and who hears of each."""

    image: Image
    directory: str
    overwrite: bool
    on_carved: Callable[[CarvedBlock], None] | None

    def prepare(self) -> None:
        """Make the directory, or take one that may be taken."""
        from vhdx.ops.make.carve import prepare  # noqa: PLC0415  numpy is slow to import

        prepare(self.directory, overwrite=self.overwrite)

    def run(self, progress: Progress | None) -> int:
        """How many blocks were written."""
        from vhdx.ops.make.carve import carve  # noqa: PLC0415  see above

        count = 0
        for block in carve(self.image, self.directory, overwrite=self.overwrite, progress=progress):
            count += 1
            if self.on_carved is not None:
                self.on_carved(block)
        return count


def damaged_image(source: Source, *, salvage: bool) -> Image:
    """The image to carve out of. Raises ValueError for a source that is no damaged VHDX."""
    if not salvage or not isinstance(source.disk, VhdxDisk):
        raise ValueError("blocks are carved out of a VHDX, with salvage and without a map file")
    return source.disk.layers[0]
