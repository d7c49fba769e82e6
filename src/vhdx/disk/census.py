"""Counting the extents of a whole disk or of one layer of it, without making each of them."""

from __future__ import annotations

from collections import deque

from vhdx.disk.chain import VhdxDisk
from vhdx.extents import merged
from vhdx.image.census import Census
from vhdx.tally import Stretch
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.disk.base import VirtualDisk
    from vhdx.extents import Extent
    from vhdx.tally import Tally


def count_extents(disk: VirtualDisk, tally: Tally, offset: int, length: int) -> None:
    """Add to ``tally`` what ``disk.extents`` tells of a range."""
    extents = disk.extents(offset=offset, length=length)
    if isinstance(disk, VhdxDisk):
        last = len(disk.layers)
        asks = [
            Census(layer, depth, tally.add, asks_below=depth < last).holes
            for depth, layer in enumerate(disk.layers, 1)
        ]
        extents = disk.resolved(offset, length, asks)
    for extent in extents:
        tally.add(Stretch.of(extent))


def layer_extents(disk: VhdxDisk, depth: int) -> Iterator[Extent]:
    """What the layer at ``depth`` (1 is the image itself) says of its own disk, whatever lies over it."""
    layer = disk.layers[depth - 1]
    for extent in merged(layer.reader.extents(0, layer.geometry.disk_size)):
        yield extent._replace(depth=depth) if extent.depth else extent


def count_layer(disk: VhdxDisk, depth: int, tally: Tally, offset: int, length: int) -> None:
    """Add to ``tally`` what `layer_extents` tells of a range."""
    census = Census(disk.layers[depth - 1], depth, tally.add, asks_below=False)
    deque(census.holes(offset, length), maxlen=0)  # nothing is left to anybody below
