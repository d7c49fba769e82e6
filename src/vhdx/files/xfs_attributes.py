"""Extended attributes of XFS: in the inode, in leaves of a tree, or long values in blocks of their own."""

from __future__ import annotations

import struct

from vhdx.errors import FileSystemError
from vhdx.files.xfs_fork import LOCAL
from vhdx.filesystems.area import big_number
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.files.source import Read
    from vhdx.files.xfs_fork import Fork, Geometry

_MAGIC_AT = 8
_NODES = {0xFEBE: (12, 16), 0x3EBE: (56, 64)}
"""Nodes by magic number: where they count what is below, where that is listed."""
_LEAVES = {0xFBEE: (12, 32), 0x3BEE: (56, 80)}
_ENTRY = struct.Struct(">4xHBx")
_DEEPEST = 10
_VALUE_MAGIC, _VALUE_HEADER = b"XARM", 56
_LONGEST_VALUE = 64 << 10
_IS_LOCAL, _NAMESPACE, _NOT_OF_USERS = 1, 6, 0x88
"""Flags of an attribute: its value stands beside it; whose it is; it points to a parent, or is not whole."""
_PREFIXES = {2: "trusted.", 4: "security."}


class Blocks(NamedTuple):
    """The blocks of a fork by their number in it."""

    read: Read
    geometry: Geometry
    fork: Fork

    def block(self, number: int) -> bytes:
        """A block. Raises FileSystemError where there is none."""
        size = self.geometry.block_size
        for first, count, offset in self.fork.extents:
            if first <= number < first + count and offset is not None:
                data = self.read(size, offset + (number - first) * size)
                if len(data) == size:
                    return data
        raise _damaged()

    def leaves(self) -> Iterator[bytes]:
        """From the first to the last one, each of which names the next; a circle is longer than the fork."""
        node = self.block(0)
        for _ in range(_DEEPEST):
            at = _NODES.get(big_number(node, _MAGIC_AT, 2))
            if at is None:
                break
            node = self.block(big_number(node, at[1] + 4, 4))
        for _ in range(sum(extent.blocks for extent in self.fork.extents)):
            yield node
            further = big_number(node, 0, 4)
            if not further:
                return
            node = self.block(further)
        raise _damaged()

    def value(self, number: int, length: int) -> bytes:
        """A value that has blocks of its own; newer ones begin with a header each."""
        pieces, left = [], length
        while left > 0:
            block = self.block(number)
            has_header = self.geometry.version == 5
            if has_header and block[:4] != _VALUE_MAGIC:
                raise _damaged()
            pieces.append(block[_VALUE_HEADER:][:left] if has_header else block[:left])
            left -= len(pieces[-1])
            number += 1
        return b"".join(pieces)


def attributes(read: Read, geometry: Geometry, fork: Fork | None) -> Iterator[tuple[str, bytes]]:
    """The names and values in a fork. Raises FileSystemError at damage."""
    if fork is None:
        return
    if fork.form == LOCAL:
        yield from _in_inode(fork.raw)
    elif fork.pieces:
        blocks = Blocks(read, geometry, fork)
        for leaf in blocks.leaves():
            yield from _in_leaf(leaf, blocks)


def _in_inode(fork: bytes) -> Iterator[tuple[str, bytes]]:
    position = 4
    for _ in range(fork[2] if len(fork) > position else 0):
        if position + 3 > len(fork):
            raise _damaged()
        name_length, length, flags = fork[position : position + 3]
        start = position + 3 + name_length
        name, position = fork[position + 3 : start], start + length
        if position > len(fork):
            raise _damaged()
        if not flags & _NOT_OF_USERS:
            yield _name(name, flags), fork[start:position]


def _in_leaf(leaf: bytes, blocks: Blocks) -> Iterator[tuple[str, bytes]]:
    at = _LEAVES.get(big_number(leaf, _MAGIC_AT, 2))
    if at is None:
        raise _damaged()
    count = big_number(leaf, at[0], 2)
    if at[1] + count * _ENTRY.size > len(leaf):
        raise _damaged()
    for index in range(count):
        place, flags = _ENTRY.unpack_from(leaf, at[1] + index * _ENTRY.size)
        if flags & _NOT_OF_USERS:
            continue
        is_local = flags & _IS_LOCAL
        name_at = place + (3 if is_local else 9)
        if name_at > len(leaf):
            raise _damaged()
        length = big_number(leaf, place, 2) if is_local else big_number(leaf, place + 4, 4)
        value_at = name_at + leaf[name_at - 1]
        if length > _LONGEST_VALUE or value_at + (length if is_local else 0) > len(leaf):
            raise _damaged()
        value = (
            leaf[value_at : value_at + length]
            if is_local
            else blocks.value(big_number(leaf, place, 4), length)
        )
        yield _name(leaf[name_at:value_at], flags), value


def _name(name: bytes, flags: int) -> str:
    return _PREFIXES.get(flags & _NAMESPACE, "user.") + name.decode("utf-8", "surrogateescape")


def _damaged() -> FileSystemError:
    return FileSystemError("they are damaged")
