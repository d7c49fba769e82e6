"""Where the blocks of one file of ext2, ext3 or ext4 stand: its inode, its extents or its block lists."""

from __future__ import annotations

import struct

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.crc import raw_crc32c
from vhdx.filesystems.ext_groups import inode_table
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from vhdx.filesystems.base import Read
    from vhdx.filesystems.ext_superblock import Superblock

    Numbers = NDArray[np.int64]

_EXTENTS_FLAG = 0x80000
_EXTENT_MAGIC = 0xF30A
_DEEPEST = 5
_MOST_NODES = 4096
_LONGEST_EXTENT = 0x8000
_DIRECT = 12
_CHECKSUM_LOW, _CHECKSUM_HIGH = 0x7C, 0x82


def journal_blocks(read: Read, superblock: Superblock, most: int) -> Numbers:
    """The blocks of the journal's inode. Raises NotFreeError where it has holes, or is damaged."""
    number = superblock.journal_inode
    if not 0 < number <= superblock.inodes:
        raise NotFreeError("the inode of its journal does not exist; repair it with `e2fsck -f`")
    inode = _inode(read, superblock, number)
    size = _u32(inode, 0x04) | _u32(inode, 0x6C) << 32
    count = size // superblock.block_size
    if not 0 < count <= min(most, superblock.blocks):
        raise NotFreeError(
            f"its journal has {count} blocks, and at most {most} are read; trim it inside the guest",
            "unknown",
        )
    body = inode[0x28:0x64]
    if _u32(inode, 0x20) & _EXTENTS_FLAG:
        return _by_extents(read, superblock, body, count, inode_seed(superblock, number, inode))
    return _by_lists(read, superblock, body, count)


def inode_seed(superblock: Superblock, number: int, inode: bytes) -> int:
    """What checksums of an inode and of its blocks begin with."""
    return raw_crc32c(superblock.seed, number.to_bytes(4, "little") + inode[0x64:0x68])


def _inode(read: Read, superblock: Superblock, number: int) -> bytes:
    group, index = divmod(number - 1, superblock.group_inodes)
    table = inode_table(read, superblock, group)
    size = superblock.inode_size
    inode = read(size, table * superblock.block_size + index * size)
    if superblock.has_metadata_checksums:
        _require_checksum(superblock, number, inode)
    return inode


def _require_checksum(superblock: Superblock, number: int, inode: bytes) -> None:
    """Inodes of 128 bytes, and those without extra fields, keep only the lower half of it."""
    whole = len(inode) > 128 and int.from_bytes(inode[0x80:0x82], "little") >= 4
    stated = int.from_bytes(inode[_CHECKSUM_LOW : _CHECKSUM_LOW + 2], "little")
    cleared = bytearray(inode)
    cleared[_CHECKSUM_LOW : _CHECKSUM_LOW + 2] = bytes(2)
    if whole:
        stated |= int.from_bytes(inode[_CHECKSUM_HIGH : _CHECKSUM_HIGH + 2], "little") << 16
        cleared[_CHECKSUM_HIGH : _CHECKSUM_HIGH + 2] = bytes(2)
    computed = raw_crc32c(inode_seed(superblock, number, inode), bytes(cleared))
    if stated != (computed if whole else computed & 0xFFFF):
        raise NotFreeError(f"the checksum of inode {number} is wrong; repair it with `e2fsck -f`")


def _by_extents(read: Read, superblock: Superblock, root: bytes, count: int, seed: int) -> Numbers:
    import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

    places, end = np.empty(count, dtype=np.int64), 0
    for logical, place, length in _leaves(read, superblock, root, seed):
        if logical != end or not 0 < length <= _LONGEST_EXTENT or place + length > superblock.blocks:
            raise _broken()
        taken = min(length, count - end)
        places[end : end + taken] = np.arange(place, place + taken)
        end += taken
        if end == count:
            return places
    raise _broken()


def _leaves(read: Read, superblock: Superblock, root: bytes, seed: int) -> Iterator[tuple[int, int, int]]:
    """(logical block, block, count) of each extent, in the order of the tree."""
    waiting: list[tuple[int, int]] = []
    node, expected = root, int.from_bytes(root[6:8], "little")
    for _ in range(_MOST_NODES):
        magic, entries, _, depth = struct.unpack_from("<4H", node)
        if magic != _EXTENT_MAGIC or depth != expected or depth > _DEEPEST or 12 + 12 * entries > len(node):
            raise _broken()
        rows = range(12, 12 + 12 * entries, 12)
        if depth == 0:
            for logical, length, high, low in (struct.unpack_from("<IHHI", node, at) for at in rows):
                yield logical, high << 32 | low, length
        else:
            children = (struct.unpack_from("<IH", node, at + 4) for at in reversed(rows))
            waiting += [(high << 32 | low, depth - 1) for low, high in children]
        if not waiting:
            return
        block, expected = waiting.pop()
        node = _block(read, superblock, block)
        _require_tail(superblock, node, seed)


def _require_tail(superblock: Superblock, node: bytes, seed: int) -> None:
    """The checksum of a block of the tree stands behind the last entry that fits."""
    tail = 12 + int.from_bytes(node[4:6], "little") * 12
    if superblock.has_metadata_checksums and (
        tail + 4 > len(node) or raw_crc32c(seed, node[:tail]) != _u32(node, tail)
    ):
        raise NotFreeError("the checksum of the list of its journal's blocks is wrong; use `e2fsck -f`")


def _by_lists(read: Read, superblock: Superblock, body: bytes, count: int) -> Numbers:
    """Twelve blocks, then a block of numbers, a block of those, and a block of those."""
    import numpy as np  # noqa: PLC0415  see above

    numbers = np.frombuffer(body, dtype="<u4").astype(np.int64)
    parts = [numbers[:_DIRECT][:count]]
    missing = count - len(parts[0])
    per_block = superblock.block_size // 4
    for level in (1, 2, 3):
        pointers = numbers[_DIRECT + level - 1 : _DIRECT + level]
        for below in reversed(range(level)):
            needed = -(-missing // per_block**below)
            pointers = _pointed(read, superblock, pointers, needed)
        parts.append(pointers[:missing])
        missing -= len(parts[-1])
    places = np.concatenate(parts)
    if missing or (places == 0).any() or (places >= superblock.blocks).any():
        raise _broken()
    return places


def _pointed(read: Read, superblock: Superblock, pointers: Numbers, needed: int) -> Numbers:
    """The first ``needed`` numbers in the blocks of numbers."""
    import numpy as np  # noqa: PLC0415  see above

    blocks = pointers[: -(-needed // (superblock.block_size // 4))].tolist()
    parts = [np.frombuffer(_block(read, superblock, block), dtype="<u4") for block in blocks]
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])[:needed].astype(np.int64)


def _block(read: Read, superblock: Superblock, block: int) -> bytes:
    if not 0 < block < superblock.blocks:
        raise _broken()
    return read(superblock.block_size, block * superblock.block_size)


def _broken() -> NotFreeError:
    return NotFreeError("the list of its journal's blocks is damaged; repair it with `e2fsck -f`")


def _u32(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 4], "little")
