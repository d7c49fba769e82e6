"""What is doubtful about the disk of a chain: the doubts of each layer, where that layer can be seen."""

from __future__ import annotations

from vhdx.extents import Doubt, ExtentKind, merged
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vhdx.disk.layers import Answers
    from vhdx.extents import Extent

    Resolve = Callable[[int, int, Sequence[Answers]], Iterator[Extent]]
    """The extents of a range, asked of some layers from the top on."""


class DoubtfulLayer(NamedTuple):
    """One file of a chain: its name, its own doubts if it was salvaged, and what it says of a range."""

    name: str
    doubts: Callable[[], Iterator[Doubt]] | None
    extents: Answers


def doubts_of(
    layers: Sequence[DoubtfulLayer], size: int, resolve: Resolve, ends_early: str | None
) -> Iterator[Doubt]:
    """Layer by layer, from the top; ``ends_early`` says why a layer's parent is missing."""
    for above, layer in enumerate(layers):
        for doubt in layer.doubts() if layer.doubts else ():
            length = min(doubt.length, size - doubt.offset)
            for offset, seen in _seen(layers[:above], resolve, doubt.offset, length):
                yield Doubt(offset, seen, f"{layer.name}: {doubt.reason}")
    if ends_early is not None:
        for offset, seen in _seen(layers, resolve, 0, size):
            yield Doubt(offset, seen, f"{layers[-1].name}: {ends_early}; zeros are read")


def _seen(
    above: Sequence[DoubtfulLayer], resolve: Resolve, offset: int, length: int
) -> Iterator[tuple[int, int]]:
    """The parts of a range about which the layers above say nothing."""
    if not above:
        if length > 0:
            yield offset, length
        return
    for extent in merged(resolve(offset, max(0, length), [layer.extents for layer in above])):
        if extent.kind is ExtentKind.UNALLOCATED:
            yield extent.offset, extent.length
