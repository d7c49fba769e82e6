"""Contents that stand in known places of the volume, as they are."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from vhdx.errors import FileSystemError
from vhdx.files.library import joined
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vhdx.files.library import LibraryTree

    Place = tuple[int | None, int]
    """Offset in the volume, None for zeros, and length."""


class PlacedContent:
    """The bytes of a file that lie in places one behind the other, which reach at least to its end."""

    def __init__(self, tree: LibraryTree, name: str, size: int, places: Sequence[Place]) -> None:
        self._tree, self._name = tree, name
        self._places = places
        self._starts = list(accumulate((length for _, length in places), initial=0))
        self.size = size
        if self._starts[-1] < size:
            raise FileSystemError(f"the file {name!r} ends at {self._starts[-1]}, before its size")

    def pread(self, length: int, offset: int) -> bytes:
        """The bytes of a range, as far as the file reaches."""
        left = max(0, min(length, self.size - offset))
        pieces = []
        while left:
            place, stored = self._at(offset)
            count = min(left, stored)
            pieces.append(bytes(count) if place is None else self._stored(count, place))
            offset, left = offset + count, left - count
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def sent(self, output: int, length: int, offset: int) -> int:
        """How many bytes of a range, from its start on, were copied to a descriptor without reading them."""
        length = min(length, self.size - offset)
        if length <= 0:
            return 0
        place, stored = self._at(offset)
        return 0 if place is None else self._tree.source.sent(output, min(length, stored), place)

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """The runs that are stored."""
        runs = zip(self._starts, self._places, strict=False)
        yield from joined(
            ((start, length) for start, (place, length) in runs if place is not None), self.size
        )

    def _at(self, offset: int) -> Place:
        """What stands at an offset: where, and how much from there on."""
        index = bisect_right(self._starts, offset) - 1
        place, length = self._places[index]
        inner = offset - self._starts[index]
        return None if place is None else place + inner, length - inner

    def _stored(self, length: int, place: int) -> bytes:
        with self._tree.asking(f"the file {self._name!r}"):
            data = self._tree.source.pread(length, place)
        if len(data) != length:
            raise FileSystemError(f"the file {self._name!r} lies behind the end of the volume")
        return data
