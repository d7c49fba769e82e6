"""Trees of btrfs: their nodes, found through the chunks, checked and walked in the order of keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from vhdx.filesystems.area import number
from vhdx.filesystems.base import NotFreeError
from vhdx.format.checksum import crc32c

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.area import Area
    from vhdx.filesystems.btrfs_chunks import Chunks

_HEADER = 101
_LEAF_ITEM = 25
_POINTER = 33
_DEEPEST = 8
_XXHASH = 1


def _sha256(data: bytes) -> bytes:
    from hashlib import sha256  # noqa: PLC0415  the rarer checksums are the slower imports

    return sha256(data).digest()


def _blake2b(data: bytes) -> bytes:
    from hashlib import blake2b  # noqa: PLC0415

    return blake2b(data, digest_size=32).digest()


CHECKSUMS = {
    0: lambda data: crc32c(data).to_bytes(4, "little"),
    _XXHASH: None,
    2: _sha256,
    3: _blake2b,
}
"""By number. There is none of xxhash in Python: identities, places and generations must do there."""


def checksum_fits(structure: bytes, kind: int) -> bool:
    """Whether a superblock or node has the checksum that it begins with."""
    compute = CHECKSUMS[kind]
    if compute is None:
        return True
    digest = compute(structure[32:])
    return structure[: len(digest)] == digest


class Root(NamedTuple):
    """Where a tree begins: logical address, generation and level of its root."""

    logical: int
    generation: int
    level: int


class Leaf(NamedTuple):
    """A leaf: its node, and the keys and places of its items as a structured array."""

    node: bytes
    keys: Any

    def indices_of(self, objectid: int, kind: int) -> list[int]:
        """Which items have this object and type."""
        keys = self.keys
        indices: list[int] = ((keys["objectid"] == objectid) & (keys["type"] == kind)).nonzero()[0].tolist()
        return indices

    def item(self, index: int) -> bytes:
        """The data of an item. Raises NotFreeError where it leaves the node."""
        start, length = _HEADER + int(self.keys["place"][index]), int(self.keys["length"][index])
        if start + length > len(self.node):
            raise NotFreeError("an item of a tree leaves its node")
        return self.node[start : start + length]


class Forest(NamedTuple):
    """What one needs to read any tree of a file system."""

    area: Area
    node_size: int
    checksum_type: int
    tree_id: bytes
    chunks: Chunks

    def with_chunks(self, chunks: Chunks) -> Forest:
        """The same with all chunks known."""
        return self._replace(chunks=chunks)

    def leaves(self, root: Root, start: int, end: int) -> Iterator[Leaf]:
        """The leaves that may hold items of objects from ``start`` to ``end``, in order.

        Keys rise in each node and a node begins with the key that leads to it, so none can be met twice.
        """
        if root.level >= _DEEPEST:
            raise NotFreeError(f"a tree of it has {root.level} levels")
        yield from self._walk(root, start, end, None)

    def _walk(self, place: Root, start: int, end: int, first: tuple[int, ...] | None) -> Iterator[Leaf]:
        node = self._node(place)
        keys = _keys(node, place.level, number(node, 0x60, 4))
        if first is not None and (not len(keys) or _key(keys[0]) != first):
            raise NotFreeError("a node of a tree does not begin with the key that leads to it")
        if place.level == 0:
            yield Leaf(node, keys)
            return
        objects = keys["objectid"].tolist()
        for index, key in enumerate(keys):
            behind = objects[index + 1] if index + 1 < len(objects) else end
            if objects[index] < end and behind >= start:
                child = Root(int(key["block"]), int(key["generation"]), place.level - 1)
                yield from self._walk(child, start, end, _key(key))

    def _node(self, place: Root) -> bytes:
        """A node as its parent says it."""
        size = self.node_size
        node = self.area.bytes_at(self.chunks.place(place.logical, size), size)
        said = Root(number(node, 0x30, 8), number(node, 0x50, 8), node[0x64])
        if said != place or node[0x20:0x30] != self.tree_id:
            raise NotFreeError(
                f"the node at logical address {place.logical} is not the one that belongs there"
            )
        if not checksum_fits(node, self.checksum_type):
            raise NotFreeError(f"the checksum of the node at logical address {place.logical} is wrong")
        return node


def _key(row: Any) -> tuple[int, ...]:
    return int(row["objectid"]), int(row["type"]), int(row["offset"])


def _keys(node: bytes, level: int, count: int) -> Any:
    """The items of a leaf or the pointers of another node. Raises NotFreeError unless their keys rise."""
    import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

    key = [("objectid", "<u8"), ("type", "u1"), ("offset", "<u8")]
    rest = [("block", "<u8"), ("generation", "<u8")] if level else [("place", "<u4"), ("length", "<u4")]
    if count * (_POINTER if level else _LEAF_ITEM) > len(node) - _HEADER:
        raise NotFreeError(f"a node of a tree has {count} items")
    keys = np.frombuffer(node, np.dtype(key + rest), count, _HEADER)
    before, after = keys[:-1], keys[1:]
    same_type = (before["type"] == after["type"]) & (before["offset"] < after["offset"])
    same_object = (before["objectid"] == after["objectid"]) & ((before["type"] < after["type"]) | same_type)
    if not ((before["objectid"] < after["objectid"]) | same_object).all():
        raise NotFreeError("the keys of a node do not rise")
    return keys
