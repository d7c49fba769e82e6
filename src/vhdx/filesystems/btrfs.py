"""btrfs on one device: its superblock, and what its extent tree leaves free of the device.

It copies before it writes: what its superblock points to is whole at every instant, so there is no dirty
state. Only what was synced since (the log tree) is not in the extent tree, and is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import UUID

from vhdx.filesystems.area import Area, number, text_at
from vhdx.filesystems.base import Identity, NotFreeError, State
from vhdx.filesystems.btrfs_chunks import Chunks, device_of
from vhdx.filesystems.btrfs_space import AgreedBtrfs, chunks_of, extent_root, extents
from vhdx.filesystems.btrfs_tree import CHECKSUMS, Forest, Root, checksum_fits
from vhdx.filesystems.reading import power_of_two

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.base import Read

_KIND = "btrfs"
_MAGIC = b"_BHRfS_M"
_SUPERBLOCK = 64 << 10
_LENGTH = 4096
_FLAGS = {
    1 << 32: "it is a seed, on which other file systems are built",
    1 << 33: "it is a dump of metadata only",
    1 << 34: "it is a dump of metadata only",
    1 << 35: "a change of its identity was not finished",
    1 << 36: "a change of its identity was not finished",
    1 << 38: "a change of its checksums was not finished",
}
_INCOMPAT = 0xFFF | 1 << 16
_RO_COMPAT = 0xF
"""FREE_SPACE_TREE, FREE_SPACE_TREE_VALID, VERITY, BLOCK_GROUP_TREE."""
_NAMED_FEATURES = {
    1 << 12: "it is made for zoned devices",
    1 << 13: "it has the second version of the extent tree",
    1 << 14: "it has a tree of RAID stripes",
    1 << 17: "it has a tree of remapped places",
}
_METADATA_UUID = 1 << 10


@dataclass(frozen=True)
class Superblock:
    """The superblock at 64 KiB."""

    data: bytes

    def at(self, offset: int, length: int = 8) -> int:
        """A number in it."""
        return number(self.data, offset, length)

    @property
    def device_size(self) -> int:
        """Bytes of the device that it takes."""
        return self.at(0xC9 + 8)

    @property
    def bytes_used(self) -> int:
        """Its own count of what its extents have; copies count once."""
        return self.at(0x78)

    @property
    def sector_size(self) -> int:
        """The unit of extents, bytes."""
        return self.at(0x90, 4)

    @property
    def node_size(self) -> int:
        """Bytes in a node of a tree."""
        return self.at(0x94, 4)

    @property
    def checksum_type(self) -> int:
        """Which checksum its metadata has."""
        return self.at(0xC4, 2)

    @property
    def tree_id(self) -> bytes:
        """The identity that its nodes carry."""
        place = 0x23B if self.at(0xBC) & _METADATA_UUID else 0x20
        return self.data[place : place + 16]


def recognise(read: Read, size: int) -> Btrfs | None:
    """The btrfs that begins here, if one does and its sizes make sense."""
    data = Area(read, size).peek(_SUPERBLOCK, _LENGTH)
    if data[0x40:0x48] != _MAGIC or len(data) < _LENGTH:
        return None
    found = Superblock(data)
    if not (power_of_two(found.sector_size, 512, 65536) and power_of_two(found.node_size, 512, 65536)):
        return None
    if not _SUPERBLOCK + _LENGTH <= found.device_size < 1 << 62:
        return None
    return Btrfs(Area(read, size), found)


@dataclass(frozen=True)
class Btrfs:
    """A btrfs whose signature was found."""

    area: Area
    superblock: Superblock

    @cached_property
    def identity(self) -> Identity:
        """What its superblock says."""
        found = self.superblock
        label, identifier = text_at(found.data, 0x12B, 256), str(UUID(bytes=found.data[0x20:0x30]))
        return Identity(_KIND, label, identifier, found.device_size, found.sector_size)

    def trusted(self) -> TrustedBtrfs:
        """One device, no log tree, no change under way, features that are known."""
        for reason, state in _refusals(self.superblock):
            raise NotFreeError(reason, state)
        return TrustedBtrfs(self.area, self.superblock)


def _refusals(found: Superblock) -> Iterator[tuple[str, State]]:
    if found.checksum_type not in CHECKSUMS:
        yield f"its metadata has checksums of an unknown type ({found.checksum_type})", "unknown"
    elif not checksum_fits(found.data, found.checksum_type):
        yield "the checksum of its superblock is wrong", "unclean"
    if found.at(0x30) != _SUPERBLOCK:
        yield "its superblock is a copy of one that belongs elsewhere", "unclean"
    devices = found.at(0x88)
    if devices != 1 or found.at(0x70) != found.device_size:
        yield f"it spreads over {devices} devices, of which this is one", "unknown"
    for offset, reasons in ((0x38, _FLAGS), (0xBC, _NAMED_FEATURES)):
        for flag in reasons:
            if found.at(offset) & flag:
                yield reasons[flag], "unknown"
    unknown = found.at(0xBC) & ~_INCOMPAT or found.at(0xB4) & ~_RO_COMPAT
    if unknown:
        yield f"it has unknown features ({unknown:#x})", "unknown"
    if found.at(0x60):
        yield "it has a log of what was synced last: mount and unmount it once, which replays it", "unclean"


@dataclass(frozen=True)
class TrustedBtrfs:
    """A btrfs whose committed trees are all there is."""

    area: Area
    superblock: Superblock
    state: State = "clean"

    @property
    def claimed_free(self) -> int:
        """What its count of used bytes leaves; metadata that is stored twice counts once in it."""
        return max(self.superblock.device_size - self.superblock.bytes_used, 0)

    def agreed(self) -> AgreedBtrfs:
        """Read the chunks and the whole extent tree: extents rise, are in chunks, and as many as counted."""
        found = self.superblock
        forest = Forest(
            self.area, found.node_size, found.checksum_type, found.tree_id, Chunks.of_superblock(found.data)
        )
        chunk_root = Root(found.at(0x58), found.at(0xA4), found.at(0xC7, 1))
        forest = forest.with_chunks(chunks_of(forest, chunk_root, device_of(found.data), found.device_size))
        root = extent_root(forest, Root(found.at(0x50), found.at(0x48), found.at(0xC6, 1)))
        used = forest.chunks.check_inside(extents(forest, root))
        if used != found.bytes_used:
            raise NotFreeError(f"its extents have {used} bytes and its superblock counts {found.bytes_used}")
        return AgreedBtrfs(forest, root, found.device_size)
