"""Which layer of a long chain is the first under the image that says something, remembered piece by piece.

Only the image itself is written to, so that what its parents say stays as it was found.
"""

from __future__ import annotations

from vhdx.errors import CorruptImageError
from vhdx.image.read import ASK_BELOW
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vhdx.image.image import Image
    from vhdx.image.read import Reader
    from vhdx.storage.base import ReadableStorage

    Answer = tuple[Callable[[int, int], int], Reader, ReadableStorage]

_REMEMBERED_PIECES = 64 * 1024


def answers_of(layers: Sequence[Image]) -> tuple[Answer, ...]:
    """How each layer is asked for a place, whose generation is compared, and where its bytes are read."""
    return tuple((layer.reader.locate, layer.reader, layer.storage) for layer in layers)


class Nearest:
    """Who is to be asked in a chain of three layers or more: the image, then those that may know."""

    def __init__(self, layers: Sequence[Image]) -> None:
        self._layers = layers
        self._shift = min(layer.geometry.block_shift for layer in layers)
        self._size = layers[0].geometry.disk_size
        answers = answers_of(layers)
        self._parents = answers[1:]
        self._from = [(answers[0], *self._parents[skipped:]) for skipped in range(len(layers))]
        self._known: dict[int, tuple[Answer, ...]] = {}

    def answers(self, offset: int, length: int) -> tuple[Answer, ...]:
        """Whom to ask for a range: all where it reaches over pieces, each with an answer of its own."""
        piece = offset >> self._shift
        if piece != (offset + length - 1) >> self._shift:
            return self._from[0]
        known = self._known.get(piece)
        return self._find(piece) if known is None else known

    def _find(self, piece: int) -> tuple[Answer, ...]:
        start = piece << self._shift
        length = min(1 << self._shift, self._size - start)
        skipped = 0
        try:
            for locate, _, _ in self._parents:
                if locate(start, length) != ASK_BELOW:
                    break
                skipped += 1
        except (CorruptImageError, OSError):  # told to whoever reads what cannot be read, and to nobody else
            return self._from[0]
        if len(self._known) >= _REMEMBERED_PIECES:
            self._known.clear()
        found = self._known[piece] = self._from[skipped]
        return found
