"""What an inode of ext2, ext3 and ext4 holds beside its blocks: extended attributes, and small contents."""

from __future__ import annotations

import struct

from vhdx.errors import FileSystemError
from vhdx.filesystems.ext_groups import inode_table
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.base import Read
    from vhdx.filesystems.ext_superblock import Superblock

INLINE_FLAG = 0x10000000
_OLD_SIZE = 128
_MAGIC = (0xEA020000).to_bytes(4, "little")
_BLOCK_HEADER = 32
_ATTRIBUTE = struct.Struct("<BBHIII")  # name length, prefix, offset and inode of the value, its size, hash
_PREFIXES = {
    1: "user.",
    2: "system.posix_acl_access",
    3: "system.posix_acl_default",
    4: "trusted.",
    6: "security.",
    7: "system.",
    8: "system.richacl",
}
_LONGEST_VALUE = 64 << 10
_IN_BLOCKS = slice(0x28, 0x64)
_IN_BLOCKS_LENGTH = 60
"""The 60 bytes that list the blocks of other files, where small contents begin."""
INLINE_DATA = "system.data"
"""The attribute that holds the rest of them."""


class Attribute(NamedTuple):
    """``value`` is None where the contents of the inode ``holder``, ``size`` bytes, are the value."""

    name: str
    value: bytes | None
    holder: int
    size: int


class Inode(NamedTuple):
    """The bytes of an inode, and what reads its file system."""

    read: Read
    superblock: Superblock
    number: int
    raw: bytes

    @property
    def flags(self) -> int:
        """Its flags."""
        return int.from_bytes(self.raw[0x20:0x24], "little")

    @property
    def size(self) -> int:
        """Bytes of its contents."""
        return int.from_bytes(self.raw[0x04:0x08] + self.raw[0x6C:0x70], "little")

    @property
    def inline_entries(self) -> tuple[bytes, bytes]:
        """A directory's entries that stand in the inode itself, behind the number of the one above it."""
        data = self.inline_data
        return data[4:_IN_BLOCKS_LENGTH], data[_IN_BLOCKS_LENGTH:]

    @property
    def inline_data(self) -> bytes:
        """Contents that stand in the inode itself, as far as there is room for."""
        rest = [each.value or b"" for each in self._own_attributes() if each.name == INLINE_DATA]
        return self.raw[_IN_BLOCKS] + b"".join(rest)

    def attributes(self) -> Iterator[Attribute]:
        """All extended attributes: those in the inode, then those in its block of them."""
        yield from self._own_attributes()
        block = int.from_bytes(self.raw[0x68:0x6C], "little") | (
            int.from_bytes(self.raw[0x76:0x78], "little") << 32
        )
        if not block:
            return
        if block >= self.superblock.blocks:
            raise self._damaged()
        size = self.superblock.block_size
        data = self.read(size, block * size)
        if data[:4] != _MAGIC:
            raise self._damaged()
        yield from self._listed(data, _BLOCK_HEADER, 0)

    def _own_attributes(self) -> Iterator[Attribute]:
        if len(self.raw) <= _OLD_SIZE + 4:
            return
        start = _OLD_SIZE + int.from_bytes(self.raw[0x80:0x82], "little")
        if self.raw[start : start + 4] == _MAGIC:
            yield from self._listed(self.raw, start + 4, start + 4)

    def _listed(self, data: bytes, position: int, base: int) -> Iterator[Attribute]:
        """The attributes from ``position`` on; their values stand at offsets from ``base``."""
        while data[position : position + 4] not in (bytes(4), b""):
            if position + _ATTRIBUTE.size > len(data):
                raise self._damaged()
            length, prefix, offset, holder, size, _ = _ATTRIBUTE.unpack_from(data, position)
            name = data[position + _ATTRIBUTE.size : position + _ATTRIBUTE.size + length]
            if size > _LONGEST_VALUE or (not holder and base + offset + size > len(data)):
                raise self._damaged()
            value = None if holder else data[base + offset : base + offset + size]
            yield Attribute(
                _PREFIXES.get(prefix, f"prefix{prefix}.") + name.decode("utf-8", "surrogateescape"),
                value,
                holder,
                size,
            )
            position += (_ATTRIBUTE.size + length + 3) & ~3

    def _damaged(self) -> FileSystemError:
        return FileSystemError(f"the extended attributes of inode {self.number} are damaged")


def inode(read: Read, superblock: Superblock, number: int) -> Inode:
    """The inode of this number. Raises FileSystemError where there is none."""
    if not 0 < number <= superblock.inodes:
        raise FileSystemError(f"there is no inode {number}")
    group, index = divmod(number - 1, superblock.group_inodes)
    offset = inode_table(read, superblock, group) * superblock.block_size + index * superblock.inode_size
    raw = read(superblock.inode_size, offset)
    if len(raw) < superblock.inode_size:
        raise FileSystemError(f"inode {number} lies behind the end of the volume")
    return Inode(read, superblock, number, raw)
