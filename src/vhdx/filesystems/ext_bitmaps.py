"""The block bitmaps of ext2, ext3 and ext4: compared with what the descriptors count, and as free runs."""

from __future__ import annotations

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.bits import clear_runs, set_bits
from vhdx.filesystems.ext_groups import Groups, bitmap_checksum
from vhdx.filesystems.runs import counts_between, spans
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from vhdx.filesystems.base import Read, Runs
    from vhdx.filesystems.ext_superblock import Superblock

    Bitmaps = NDArray[np.uint8]

_BATCH = 1 << 22
"""Clusters looked at in one go: half a MiB of bitmaps, and 32 MiB of runs at the very worst."""


class Bookkeeping(NamedTuple):
    """Everything that says what is in use."""

    superblock: Superblock
    groups: Groups
    in_use: Runs
    """Blocks of bookkeeping, (block, count), ascending and disjoint."""


def free_runs(read: Read, bookkeeping: Bookkeeping) -> Iterator[Runs]:
    """Free clusters as bytes: (offset, length), ascending; touching runs may be parted where a group begins.

    Raises NotFreeError at the first group that contradicts its descriptor.
    """
    import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

    superblock = bookkeeping.superblock
    cluster_size = superblock.cluster_blocks * superblock.block_size
    origin = superblock.first_block * superblock.block_size
    per_batch = max(1, _BATCH // superblock.group_clusters)
    for first in range(0, superblock.groups, per_batch):
        end = min(first + per_batch, superblock.groups)
        runs = _agreed(read, bookkeeping, first, end) + np.array((first * superblock.group_clusters, 0))
        yield _without_cut_cluster(runs, superblock) * cluster_size + np.array((origin, 0))


def _without_cut_cluster(runs: Runs, superblock: Superblock) -> Runs:
    """A last cluster that the end of the file system cuts is kept, though it counts as free."""
    whole = (superblock.blocks - superblock.first_block) // superblock.cluster_blocks
    if len(runs) and runs[-1].sum() > whole:
        runs[-1, 1] -= 1
        return runs if runs[-1, 1] else runs[:-1]
    return runs


def _agreed(read: Read, bookkeeping: Bookkeeping, first: int, end: int) -> Runs:
    """The free clusters of some groups, counted from the first of them, as many as the descriptors say."""
    import numpy as np  # noqa: PLC0415  see above

    superblock, groups, _ = bookkeeping
    bitmaps = np.zeros((end - first, superblock.group_clusters // 8), dtype=np.uint8)
    written = first + np.flatnonzero(~groups.uninitialised[first:end])
    for index, block, count in spans(groups.bitmaps[written], bitmaps.size // superblock.block_size + 1):
        rows = written[index : index + count]
        bitmaps[rows - first] = _checked(read, superblock, groups, block, rows)
    _set_bookkeeping(bitmaps, bookkeeping, first)
    runs = clear_runs(bitmaps.reshape(-1), bitmaps.size * 8)
    borders = np.arange(end - first + 1, dtype=np.int64) * superblock.group_clusters
    miscounted = counts_between(runs, borders) != groups.free_clusters[first:end]
    _refuse(miscounted, first, "does not agree with the number of free blocks in its descriptor")
    return runs


def _checked(
    read: Read, superblock: Superblock, groups: Groups, block: int, rows: NDArray[np.int64]
) -> Bitmaps:
    """The bitmaps of groups whose bitmaps follow each other from ``block``."""
    import numpy as np  # noqa: PLC0415  see above

    block_size, length = superblock.block_size, superblock.group_clusters // 8
    data = read(len(rows) * block_size, block * block_size)
    if superblock.has_metadata_checksums:
        stated = groups.bitmap_checksums[rows].tolist()
        for index, checksum in enumerate(stated):
            begin = index * block_size
            if bitmap_checksum(superblock, data[begin : begin + length]) != checksum:
                raise NotFreeError(
                    f"the checksum of the bitmap of group {int(rows[index])} is wrong; "
                    "repair it with `e2fsck -f`"
                )
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, block_size)[:, :length]


def _set_bookkeeping(bitmaps: Bitmaps, bookkeeping: Bookkeeping, first: int) -> None:
    """Set what bookkeeping takes, and what lies behind the end of the file system.

    Raises NotFreeError where a bitmap that was written called bookkeeping free.
    """
    import numpy as np  # noqa: PLC0415  see above

    superblock, groups, in_use = bookkeeping
    flat, ratio = bitmaps.reshape(-1), superblock.cluster_blocks
    origin = superblock.first_block + first * superblock.group_blocks
    limit = origin + len(bitmaps) * superblock.group_blocks
    set_bits(flat, -(-(superblock.blocks - origin) // ratio), len(flat) * 8)
    begin = int(np.searchsorted(in_use.sum(axis=1), origin, side="right"))
    end = int(np.searchsorted(in_use[:, 0], limit))
    if begin == end:
        return
    before = bitmaps.copy()
    for block, count in in_use[begin:end].tolist():
        from_block, to_block = max(block, origin) - origin, min(block + count, limit) - origin
        set_bits(flat, from_block // ratio, -(-to_block // ratio))
    written = ~groups.uninitialised[first : first + len(bitmaps)]
    _refuse(
        (bitmaps != before).any(axis=1) & written, first, "calls bitmaps, inode tables or descriptors free"
    )


def _refuse(wrong: NDArray[np.bool_], first: int, what: str) -> None:
    import numpy as np  # noqa: PLC0415  see above

    if wrong.any():
        group = first + int(np.argmax(wrong))
        raise NotFreeError(f"the bitmap of group {group} {what}; repair it with `e2fsck -f`")
