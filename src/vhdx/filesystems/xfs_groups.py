"""Allocation groups of XFS: the header of one, and its two btrees of free space."""

from __future__ import annotations

from dataclasses import dataclass

from vhdx.filesystems.area import big_number as big
from vhdx.filesystems.base import NotFreeError
from vhdx.format.checksum import crc32c
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal, TypeAlias

    from vhdx.filesystems.area import Area
    from vhdx.filesystems.base import Runs

Order: TypeAlias = "Literal['place', 'size']"
_DEEPEST = 9
_MAGICS = {
    ("place", True): b"AB3B",
    ("place", False): b"ABTB",
    ("size", True): b"AB3C",
    ("size", False): b"ABTC",
}
_ROOTS: dict[Order, tuple[int, int]] = {"place": (16, 28), "size": (20, 32)}
"""Where the header of a group says the root of a btree, and how many levels it has."""
_MIX = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Group:
    """An allocation group and its header. ``offset`` in bytes, the others in blocks."""

    area: Area
    number: int
    offset: int
    blocks: int
    block_size: int
    has_checksums: bool
    header: bytes

    @classmethod
    def read(
        cls,
        area: Area,
        *,
        number: int,
        offset: int,
        blocks: int,
        block_size: int,
        sector_size: int,
        has_checksums: bool,
    ) -> Group:
        """Read the header of a group. Raises NotFreeError where it does not hold."""
        header = area.bytes_at(offset + sector_size, sector_size)
        if header[:4] != b"XAGF" or big(header, 8, 4) != number or big(header, 12, 4) != blocks:
            raise NotFreeError(f"the header of group {number} is not that of this group")
        if has_checksums:
            _check(header, 216, f"the header of group {number}")
        return cls(area, number, offset, blocks, block_size, has_checksums, header)

    @property
    def free_blocks(self) -> int:
        """Blocks in the btrees of free space."""
        return big(self.header, 52, 4)

    @property
    def list_count(self) -> int:
        """Blocks kept ready for the btrees: in use, but the superblock counts them as free."""
        return big(self.header, 48, 4)

    @property
    def tree_blocks(self) -> int:
        """Blocks of btrees without their roots; the superblock counts them as free, too."""
        return big(self.header, 60, 4)

    def check(self, by_place: Seen, by_size: Seen, *, has_rmap: bool) -> None:
        """Raise NotFreeError unless both btrees hold the same records, as many as the header says."""
        if (by_place.records, by_place.blocks, by_place.mixed) != (
            by_size.records,
            by_size.blocks,
            by_size.mixed,
        ):
            raise NotFreeError(f"the two btrees of free space in group {self.number} differ")
        if by_place.blocks != self.free_blocks:
            raise NotFreeError(
                f"group {self.number} lists {by_place.blocks} free blocks and counts {self.free_blocks}"
            )
        rmap = max(big(self.header, 80, 4) - 1, 0) if has_rmap else 0
        if by_place.nodes + by_size.nodes - 2 + rmap != self.tree_blocks:
            raise NotFreeError(f"group {self.number} counts other blocks of btrees than it has")


class Seen(NamedTuple):
    """What a walk over a btree came to. ``mixed`` is the same for the same records in any order."""

    nodes: int = 0
    records: int = 0
    blocks: int = 0
    mixed: int = 0


class Tree:
    """One of the two btrees of a group; ``seen`` says what was walked over."""

    def __init__(self, group: Group, order: Order) -> None:
        self.group = group
        self.order: Order = order
        self.seen = Seen()
        self.last = -1
        """The key of the last record: records rise, so no node can be met twice."""

    @property
    def name(self) -> str:
        """The btree in words."""
        return f"the btree of free space by {self.order} in group {self.group.number}"


def records_of(tree: Tree) -> Iterator[Runs]:
    """Rows of (first block in the group, number of blocks), leaf by leaf; each is checked.

    Raises NotFreeError where a node is not one of this btree, or records leave the group or do not rise.
    """
    root, levels = (big(tree.group.header, place, 4) for place in _ROOTS[tree.order])
    if not 1 <= levels <= _DEEPEST:
        raise NotFreeError(f"{tree.name} has {levels} levels")
    yield from _walk(tree, root, levels - 1, is_root=True)


def _walk(tree: Tree, block: int, level: int, *, is_root: bool = False) -> Iterator[Runs]:
    node = _node(tree, block, level)
    count = big(node, 6, 2)
    head = 56 if tree.group.has_checksums else 16
    most = (len(node) - head) // (12 if level else 8)
    if count > most or not (count or is_root):
        raise NotFreeError(f"a node of {tree.name} has {count} records")
    tree.seen = tree.seen._replace(nodes=tree.seen.nodes + 1)
    if level == 0:
        yield _leaf(tree, node[head : head + 8 * count])
        return
    pointers = head + 8 * most
    for index in range(count):
        yield from _walk(tree, big(node, pointers + 4 * index, 4), level - 1)


def _node(tree: Tree, block: int, level: int) -> bytes:
    group = tree.group
    if block >= group.blocks:
        raise NotFreeError(f"{tree.name} leads out of the group")
    node = group.area.bytes_at(group.offset + block * group.block_size, group.block_size)
    if node[:4] != _MAGICS[tree.order, group.has_checksums] or big(node, 4, 2) != level:
        raise NotFreeError(f"{tree.name} leads to block {block}, which is none of it")
    if group.has_checksums:
        if big(node, 48, 4) != group.number:
            raise NotFreeError(f"{tree.name} leads to block {block}, which is of another group")
        _check(node, 52, f"block {block} of {tree.name}")
    return node


def _leaf(tree: Tree, data: bytes) -> Runs:
    import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

    records = np.frombuffer(data, ">u4").reshape(-1, 2).astype(np.int64)
    if not len(records):
        return records
    starts, counts = records[:, 0], records[:, 1]
    if counts.min() < 1 or (starts + counts).max() > tree.group.blocks:
        raise NotFreeError(f"a record of {tree.name} leaves the group")
    if tree.order == "place":
        keys, reach = starts, starts + counts - 1
    else:
        keys = reach = counts << 32 | starts
    if keys[0] <= tree.last or (keys[1:] <= reach[:-1]).any():
        raise NotFreeError(f"records of {tree.name} overlap or are out of order")
    tree.last = int(reach[-1])
    words = (starts << 32 | counts).astype(np.uint64) * np.uint64(_MIX)
    mixed = int((words ^ words >> np.uint64(29)).sum(dtype=np.uint64))
    seen = tree.seen
    tree.seen = Seen(
        seen.nodes,
        seen.records + len(records),
        seen.blocks + int(counts.sum()),
        (seen.mixed + mixed) & 0xFFFFFFFFFFFFFFFF,
    )
    return records


def _check(structure: bytes, place: int, name: str) -> None:
    """Raise NotFreeError unless the checksum at ``place`` fits."""
    if (
        crc32c(structure[:place] + bytes(4) + structure[place + 4 :]).to_bytes(4, "little")
        != (structure[place : place + 4])
    ):
        raise NotFreeError(f"the checksum of {name} is wrong")
