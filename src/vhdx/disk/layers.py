"""Layer over layer: who answers for each part of a range. Without recursion, however deep the chain is."""

from __future__ import annotations

from itertools import chain

from vhdx.extents import BlockState, Extent, ExtentKind
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vhdx.storage.base import ReadableStorage

    Answers = Callable[[int, int], Iterator[Extent]]


def resolved(layers: Sequence[Answers], visible: Sequence[int], offset: int, length: int) -> Iterator[Extent]:
    """The extents of a range, in order; a layer that says UNALLOCATED lets the one below it answer.

    ``layers`` give the extents of a range, from the top to the base; ``visible`` is how much of each can be
    seen: a layer is asked only for what every layer over it has. One iterator is kept for each layer that
    is being asked.
    """
    asked = [_answers(layers, visible, 0, offset, length)] if length else []
    while asked:
        extent = next(asked[-1], None)
        depth = len(asked)
        if extent is None:
            asked.pop()
        elif extent.kind is ExtentKind.UNALLOCATED:
            if depth < len(layers) and extent.offset < visible[depth]:
                asked.append(_answers(layers, visible, depth, extent.offset, extent.length))
            else:
                yield extent
        else:
            yield extent if depth == 1 else extent._replace(depth=depth)


def _answers(
    layers: Sequence[Answers], visible: Sequence[int], layer: int, offset: int, length: int
) -> Iterator[Extent]:
    seen = min(length, visible[layer] - offset)
    if seen == length:
        return layers[layer](offset, length)
    nothing = Extent(offset + seen, length - seen, ExtentKind.UNALLOCATED, BlockState.NOT_PRESENT, 0, None)
    return chain(layers[layer](offset, seen), (nothing,))


def stored_ranges(extent: Extent, storages: Sequence[ReadableStorage]) -> Iterator[tuple[int, int]]:
    """The (offset, length) runs of an extent that are no holes in the host's files.

    ``storages`` are those files, one for each layer, from the top to the base.
    """
    if extent.kind is ExtentKind.DATA and extent.file_offset is not None:
        moved = extent.offset - extent.file_offset
        storage = storages[extent.depth - 1]
        for start, length in storage.data_ranges(extent.file_offset, extent.length):
            yield start + moved, length
