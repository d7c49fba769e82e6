"""What a btrfs leaves free: its chunks, its extent tree, and both laid over the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vhdx.filesystems.area import number
from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.btrfs_chunks import Chunk, Chunks, Piece, pieces_of, placed, unpacked
from vhdx.filesystems.btrfs_tree import Forest, Root
from vhdx.filesystems.gaps import gaps

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from vhdx.filesystems.base import Runs
    from vhdx.filesystems.btrfs_tree import Leaf

_EXTENT_TREE = 2
_CHUNK_TREE = 256
_ROOT_ITEM = 132
_EXTENT_ITEM = 168
_METADATA_ITEM = 169
_CHUNK_ITEM = 228
_MOST_CHUNKS = 1 << 17
"""Chunks of 1 GiB on 128 TiB."""


def chunks_of(forest: Forest, root: Root, device: int, device_size: int) -> Chunks:
    """All chunks. Raises NotFreeError where their places leave the device or overlap."""
    rows: list[Chunk] = []
    for leaf in forest.leaves(root, _CHUNK_TREE, _CHUNK_TREE + 1):
        indices = leaf.indices_of(_CHUNK_TREE, _CHUNK_ITEM)
        rows += [unpacked(int(leaf.keys["offset"][index]), leaf.item(index), device) for index in indices]
        if len(rows) > _MOST_CHUNKS:
            raise NotFreeError(f"it has more than {_MOST_CHUNKS} chunks", "unknown")
    chunks = Chunks.of(rows)
    if not set(forest.chunks.rows) <= set(rows):
        raise NotFreeError("its superblock and its chunk tree do not agree")
    end = 0
    for offset, chunk in placed(chunks):
        if offset < end or offset + chunk.length > device_size:
            raise NotFreeError("two of its chunks overlap, or one leaves the device")
        end = offset + chunk.length
    return chunks


def extent_root(forest: Forest, root: Root) -> Root:
    """The root of the extent tree, which the root tree names."""
    for leaf in forest.leaves(root, _EXTENT_TREE, _EXTENT_TREE + 1):
        for index in leaf.indices_of(_EXTENT_TREE, _ROOT_ITEM):
            item = leaf.item(index)
            if len(item) < 239:
                raise NotFreeError("the root of its extent tree is cut short")
            return Root(number(item, 176, 8), number(item, 160, 8), item[238])
    raise NotFreeError("it has no extent tree")


def extents(forest: Forest, root: Root, start: int = 0, end: int = 1 << 63) -> Iterator[Runs]:
    """Rows of (logical address, length) of what is in use from ``start`` to ``end``, leaf by leaf."""
    for leaf in forest.leaves(root, start, end):
        yield _extents_in(leaf, forest.node_size, start, end)


def _extents_in(leaf: Leaf, node_size: int, start: int, end: int) -> Runs:
    import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

    keys = leaf.keys
    kinds = keys["type"]
    wanted = (kinds == _EXTENT_ITEM) | (kinds == _METADATA_ITEM)
    places: NDArray[np.uint64] = keys["objectid"][wanted]
    lengths = np.where(kinds == _METADATA_ITEM, np.uint64(node_size), keys["offset"])[wanted]
    if len(places) and max(int(places.max()), int(lengths.max())) >= 1 << 62:
        raise NotFreeError("an extent of it has an impossible place")
    runs = np.stack((places, lengths), axis=1).astype(np.int64)
    return runs[(runs[:, 0] >= start) & (runs[:, 0] < end)]


@dataclass(frozen=True)
class AgreedBtrfs:
    """A btrfs whose chunks and extents were all read and agree with its superblock."""

    forest: Forest
    root: Root
    device_size: int

    def free_runs(self) -> Iterator[Runs]:
        """What neither an extent, nor a superblock, nor the first MiB takes; in the order of the device."""
        yield from gaps(self._used(), 0, self.device_size)

    def _used(self) -> Iterator[Runs]:
        for piece in pieces_of(self.forest.chunks, self.device_size):
            yield from self._used_in(piece)

    def _used_in(self, piece: Piece) -> Iterator[Runs]:
        import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

        if piece.logical is None:
            yield np.array(((piece.offset, piece.length),), np.int64)
            return
        end = piece.logical + piece.length
        for runs in extents(self.forest, self.root, piece.logical, end):
            runs[:, 0] += piece.offset - piece.logical
            yield runs
