"""The group descriptors of ext2, ext3 and ext4, and the blocks that hold bookkeeping.

Where bitmaps and tables stand, what the descriptors count, and which blocks are in use whatever a bitmap
says. Must not know what stands in a bitmap.
"""

from __future__ import annotations

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.crc import raw_crc16_rows, raw_crc32c, raw_crc32c_rows
from vhdx.filesystems.ext_superblock import (
    GDT_CHECKSUM,
    META_BG,
    SPARSE_SUPER,
    SPARSE_SUPER2,
    WIDE,
    Superblock,
)
from vhdx.filesystems.runs import joined, overlapping, spans
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vhdx.filesystems.base import Read, Runs

    Numbers = NDArray[np.int64]
    Rows = NDArray[np.uint8]

_PIECE = 1 << 20
_WIDE_SIZE = 64
_CHECKSUM_OFFSET = 0x1E
_BITMAP_UNINITIALISED = 0x2


class Groups(NamedTuple):
    """What the descriptors say, one element a group. Positions in blocks."""

    bitmaps: Numbers
    inode_bitmaps: Numbers
    inode_tables: Numbers
    free_clusters: Numbers
    uninitialised: NDArray[np.bool_]
    """The bitmap was never written: nothing is in use but bookkeeping."""
    bitmap_checksums: Numbers


def read_groups(read: Read, superblock: Superblock) -> Groups:
    """All descriptors, each with its checksum. Raises NotFreeError where one is damaged."""
    import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

    parts, group = [], 0
    block_size = superblock.block_size
    for _, block, count in spans(descriptor_blocks(superblock), _PIECE // block_size):
        rows = np.frombuffer(read(count * block_size, block * block_size), dtype=np.uint8)
        rows = rows.reshape(-1, superblock.descriptor_size)[: superblock.groups - group]
        parts.append(_decoded(rows, group, superblock))
        group += len(rows)
    return Groups(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def inode_table(read: Read, superblock: Superblock, group: int) -> int:
    """The first block of one group's inode table, by its descriptor alone."""
    if superblock.has_metadata_checksums and not superblock.incompat & META_BG:
        return _common_inode_table(read, superblock, group)
    import numpy as np  # noqa: PLC0415  see above

    per_block = superblock.block_size // superblock.descriptor_size
    block = int(descriptor_blocks(superblock)[group // per_block])
    offset = block * superblock.block_size + group % per_block * superblock.descriptor_size
    row = np.frombuffer(read(superblock.descriptor_size, offset), dtype=np.uint8).reshape(1, -1)
    return int(_decoded(row, group, superblock).inode_tables[0])


def _common_inode_table(read: Read, superblock: Superblock, group: int) -> int:
    """The same of file systems as they are made today, without numpy, whose import takes longer."""
    start = (superblock.own_block + 1) * superblock.block_size + group * superblock.descriptor_size
    raw = read(superblock.descriptor_size, start)
    cleared = raw[:_CHECKSUM_OFFSET] + bytes(2) + raw[_CHECKSUM_OFFSET + 2 :]
    computed = raw_crc32c(superblock.seed, group.to_bytes(4, "little") + cleared) & 0xFFFF
    if computed != int.from_bytes(raw[_CHECKSUM_OFFSET : _CHECKSUM_OFFSET + 2], "little"):
        raise _wrong_checksum(group)
    table = int.from_bytes(raw[8:12], "little") | int.from_bytes(raw[0x28:0x2C], "little") << 32
    if not superblock.first_block < table <= superblock.blocks - _table_blocks(superblock):
        raise _points_outside(group)
    return table


def bookkeeping(superblock: Superblock, groups: Groups) -> Runs:
    """The blocks of all bitmaps, inode tables, superblocks and descriptors: (block, count), ascending.

    Raises NotFreeError where two of them claim the same block.
    """
    import numpy as np  # noqa: PLC0415  see above

    parts = [
        _rows(groups.bitmaps, 1),
        _rows(groups.inode_bitmaps, 1),
        _rows(groups.inode_tables, _table_blocks(superblock)),
        _copies(superblock),
        _meta_group_copies(superblock),
    ]
    runs = np.concatenate(parts)
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    if overlapping(runs):
        raise NotFreeError("bitmaps, inode tables or descriptors overlap; repair it with `e2fsck -f`")
    return joined(runs)


def descriptor_blocks(superblock: Superblock) -> Numbers:
    """The block of each block of descriptors."""
    import numpy as np  # noqa: PLC0415  see above

    index = np.arange(_descriptor_block_count(superblock), dtype=np.int64)
    at_the_front = superblock.own_block + 1 + index
    per_block = superblock.block_size // superblock.descriptor_size
    in_their_groups = _after_superblock(superblock, index * per_block)
    return np.where(index < _front_blocks(superblock), at_the_front, in_their_groups)


def superblock_copies(superblock: Superblock) -> Numbers:
    """The blocks in which superblocks stand, that of group 0 and its copies."""
    import numpy as np  # noqa: PLC0415  see above

    groups = np.arange(superblock.groups, dtype=np.int64)
    return _first_blocks(superblock, groups[_has_superblock(superblock, groups)])


def _decoded(rows: Rows, first_group: int, superblock: Superblock) -> Groups:
    """The fields of descriptors that follow each other."""
    import numpy as np  # noqa: PLC0415  see above

    numbers = np.arange(first_group, first_group + len(rows), dtype="<u4")
    _require_checksums(rows, numbers, superblock)
    flags = _field(rows, 0x12, 2)
    groups = Groups(
        bitmaps=_wide_field(rows, 0x00, 0x20, 4),
        inode_bitmaps=_wide_field(rows, 0x04, 0x24, 4),
        inode_tables=_wide_field(rows, 0x08, 0x28, 4),
        free_clusters=_wide_field(rows, 0x0C, 0x2C, 2),
        uninitialised=(flags & _BITMAP_UNINITIALISED != 0) & superblock.has_uninitialised_bitmaps,
        bitmap_checksums=_wide_field(rows, 0x18, 0x38, 2),
    )
    last = superblock.blocks - 1
    for places, most in (
        (groups.bitmaps, last),
        (groups.inode_bitmaps, last),
        (groups.inode_tables, superblock.blocks - _table_blocks(superblock)),
    ):
        # A number of 2^63 and more is negative here.
        wrong = np.flatnonzero((places <= superblock.first_block) | (places > most))
        if len(wrong):
            raise _points_outside(first_group + int(wrong[0]))
    return groups


def _points_outside(group: int) -> NotFreeError:
    return NotFreeError(
        f"the descriptor of group {group} points outside of the file system; repair it with `e2fsck -f`"
    )


def _wrong_checksum(group: int) -> NotFreeError:
    return NotFreeError(
        f"the checksum of the descriptor of group {group} is wrong; repair it with `e2fsck -f`"
    )


def _require_checksums(rows: Rows, numbers: NDArray[np.uint32], superblock: Superblock) -> None:
    import numpy as np  # noqa: PLC0415  see above

    counted = np.concatenate((numbers.view(np.uint8).reshape(-1, 4), rows), axis=1)
    field = slice(4 + _CHECKSUM_OFFSET, 4 + _CHECKSUM_OFFSET + 2)
    if superblock.has_metadata_checksums:
        counted[:, field] = 0
        seeds = np.full(len(rows), superblock.seed, dtype=np.uint32)
        computed = raw_crc32c_rows(seeds, counted) & np.uint32(0xFFFF)
    elif superblock.ro_compat & GDT_CHECKSUM:
        tail = counted[:, field.stop :] if superblock.incompat & WIDE else counted[:, :0]
        uuids = np.broadcast_to(np.frombuffer(superblock.uuid, dtype=np.uint8), (len(rows), 16))
        seeds = np.full(len(rows), 0xFFFF, dtype=np.uint32)
        computed = raw_crc16_rows(seeds, np.concatenate((uuids, counted[:, : field.start], tail), axis=1))
    else:
        return
    wrong = np.flatnonzero(computed != _field(rows, _CHECKSUM_OFFSET, 2))
    if len(wrong):
        raise _wrong_checksum(int(numbers[wrong[0]]))


def bitmap_checksum(superblock: Superblock, bitmap: bytes) -> int:
    """What the descriptor states of a bitmap: 16 bits where it is short, else 32."""
    checksum = raw_crc32c(superblock.seed, bitmap)
    return checksum if superblock.descriptor_size >= _WIDE_SIZE else checksum & 0xFFFF


def _wide_field(rows: Rows, low: int, high: int, size: int) -> Numbers:
    """A number whose upper half stands elsewhere, where descriptors are long enough to have one."""
    value = _field(rows, low, size)
    return value if rows.shape[1] < _WIDE_SIZE else value | _field(rows, high, size) << 8 * size


def _field(rows: Rows, at: int, size: int) -> Numbers:
    import numpy as np  # noqa: PLC0415  see above

    return np.ascontiguousarray(rows[:, at : at + size]).view(f"<u{size}")[:, 0].astype(np.int64)


def _descriptor_block_count(superblock: Superblock) -> int:
    return -(-superblock.groups * superblock.descriptor_size // superblock.block_size)


def _front_blocks(superblock: Superblock) -> int:
    """How many blocks of descriptors follow each superblock; the others stand in the groups they describe."""
    count = _descriptor_block_count(superblock)
    return min(superblock.first_meta_group, count) if superblock.incompat & META_BG else count


def _table_blocks(superblock: Superblock) -> int:
    return -(-superblock.group_inodes * superblock.inode_size // superblock.block_size)


def _copies(superblock: Superblock) -> Runs:
    """Superblocks, with the descriptors that follow them and the space that those may grow into."""
    import numpy as np  # noqa: PLC0415  see above

    groups = np.flatnonzero(_has_superblock(superblock, np.arange(superblock.groups, dtype=np.int64)))
    front, limit = _front_blocks(superblock), superblock.groups
    if superblock.incompat & META_BG:
        limit = front * (superblock.block_size // superblock.descriptor_size)
    lengths = 1 + np.where(groups < limit, front + superblock.reserved_descriptor_blocks, 0)
    starts = _first_blocks(superblock, groups)
    return np.stack((starts, np.minimum(lengths, superblock.blocks - starts)), axis=1)


def _meta_group_copies(superblock: Superblock) -> Runs:
    """Blocks of descriptors in the first, second and last of the groups that they describe."""
    import numpy as np  # noqa: PLC0415  see above

    count = _descriptor_block_count(superblock)
    per_block = superblock.block_size // superblock.descriptor_size
    first = np.arange(_front_blocks(superblock), count, dtype=np.int64) * per_block
    groups = np.unique(np.concatenate((first, first + 1, first + per_block - 1)))
    return _rows(_after_superblock(superblock, groups[groups < superblock.groups]), 1)


def _has_superblock(superblock: Superblock, groups: Numbers) -> NDArray[np.bool_]:
    import numpy as np  # noqa: PLC0415  see above

    if superblock.compat & SPARSE_SUPER2:
        return np.isin(groups, (0, *superblock.backup_groups))
    if not superblock.ro_compat & SPARSE_SUPER:
        return np.ones(len(groups), dtype=np.bool_)
    powers = [base**exponent for base in (3, 5, 7) for exponent in range(1, 21)]
    return np.isin(groups, [0, 1, *(power for power in powers if power < superblock.groups)])


def _first_blocks(superblock: Superblock, groups: Numbers) -> Numbers:
    """Where groups begin; the first one begins with the superblock, whatever stands before that."""
    import numpy as np  # noqa: PLC0415  see above

    starts = superblock.first_block + groups * superblock.group_blocks
    return np.maximum(starts, superblock.own_block)


def _after_superblock(superblock: Superblock, groups: Numbers) -> Numbers:
    return _first_blocks(superblock, groups) + _has_superblock(superblock, groups)


def _rows(starts: Numbers, length: int) -> Runs:
    import numpy as np  # noqa: PLC0415  see above

    return np.stack((starts, np.full(len(starts), length, dtype=np.int64)), axis=1)
