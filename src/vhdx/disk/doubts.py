"""What is doubtful about the disk of a chain: the doubts of each layer, where that layer can be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.extents import Doubt, ExtentKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.disk.chain import Disk


def doubts_of(disk: Disk, ends_early: str | None) -> Iterator[Doubt]:
    """Layer by layer; ``ends_early`` says why a layer's parent is missing."""
    for above, layer in enumerate(disk.layers):
        for doubt in layer.doubts() if layer.doubts else ():
            for offset, length in _seen(disk, above, doubt.offset, doubt.length):
                yield Doubt(offset, length, f"{layer.name}: {doubt.reason}")
    if ends_early is not None:
        for offset, length in _seen(disk, len(disk.layers), 0, disk.size):
            yield Doubt(offset, length, f"{ends_early}; zeros are read")


def _seen(disk: Disk, above: int, offset: int, length: int) -> Iterator[tuple[int, int]]:
    """The parts of a range about which the first ``above`` layers say nothing."""
    length = min(length, disk.size - offset)
    if not above:
        if length > 0:
            yield offset, length
        return
    asks = [layer.reader.extents for layer in disk.layers[:above]]
    for extent in disk.resolved(offset, max(0, length), asks):
        if extent.kind is ExtentKind.UNALLOCATED:
            yield extent.offset, extent.length
