"""XFS: its superblock, and the free space that the btrees of its allocation groups list."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from vhdx.filesystems.area import Area, text_at
from vhdx.filesystems.area import big_number as big
from vhdx.filesystems.base import Identity, NotFreeError, State
from vhdx.filesystems.reading import power_of_two
from vhdx.filesystems.xfs_groups import Group, Tree, records_of
from vhdx.filesystems.xfs_log import SECTOR, Log, check_cycles, check_unmounted
from vhdx.format.checksum import crc32c
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.base import Read, Runs

_KIND = "XFS"
_MAGIC = b"XFSB"
_RO_COMPAT = 0b1111
"""FINOBT, RMAPBT, REFLINK, INOBTCNT."""
_INCOMPAT = 0xEF
"""FTYPE, SPINODES, META_UUID, BIGTIME, NREXT64, EXCHRANGE, PARENT."""
_NEEDSREPAIR = 0x10
_LOG_INCOMPAT = 1
_FEATURES2 = 0x38A
"""What a version 4 may have: LAZYSBCOUNT, ATTR2, PROJID32, CRC, FTYPE."""
_MORE_FEATURES = 0x8000
_RMAPBT = 2
_LARGEST_LOG = 2 << 30
_LARGEST_SECTOR = 32768


@dataclass(frozen=True)
class Superblock:
    """The first sector. Numbers as they stand there; `recognise` has looked at those that others rest on."""

    data: bytes

    @property
    def block_size(self) -> int:
        """Bytes in a block."""
        return big(self.data, 4, 4)

    @property
    def blocks(self) -> int:
        """Blocks of the file system."""
        return big(self.data, 8, 8)

    @property
    def group_blocks(self) -> int:
        """Blocks in each allocation group but the last, which may be shorter."""
        return big(self.data, 84, 4)

    @property
    def groups(self) -> int:
        """Allocation groups."""
        return big(self.data, 88, 4)

    @property
    def sector_size(self) -> int:
        """Bytes in a sector, in which headers stand."""
        return big(self.data, 102, 2)

    @property
    def version(self) -> int:
        """4 or 5."""
        return big(self.data, 100, 2) & 15

    @property
    def free_blocks(self) -> int:
        """Its own count of free blocks."""
        return big(self.data, 144, 8)

    @property
    def has_rmap(self) -> bool:
        """Whether groups have a reverse map, whose blocks count as space of btrees."""
        return self.version == 5 and bool(big(self.data, 212, 4) & _RMAPBT)

    def place(self, block: int) -> tuple[int, int]:
        """The group of a block number, and the block in it."""
        shift = self.data[124]
        return block >> shift, block & ((1 << shift) - 1)


def recognise(read: Read, size: int) -> Xfs | None:
    """The XFS that begins here, if one does and its geometry makes sense."""
    area = Area(read, size)
    found = Superblock(area.peek(0, _LARGEST_SECTOR))
    if found.data[:4] != _MAGIC or len(found.data) < 512:
        return None
    block, sector = found.block_size, found.sector_size
    if not (power_of_two(block, 512, 65536) and power_of_two(sector, 512, min(block, _LARGEST_SECTOR))):
        return None
    if found.version not in (4, 5):
        return None
    shift, groups, each = found.data[124], found.groups, found.group_blocks
    is_filled = (groups - 1) * each < found.blocks <= groups * each
    if not (is_filled and shift <= 31 and 0 < each <= 1 << shift):
        return None
    return Xfs(area, found)


@dataclass(frozen=True)
class Xfs:
    """An XFS whose signature was found."""

    area: Area
    superblock: Superblock

    @cached_property
    def identity(self) -> Identity:
        """What its superblock says."""
        found = self.superblock
        name, identifier = text_at(found.data, 108, 12), str(UUID(bytes=found.data[32:48]))
        return Identity(_KIND, name, identifier, found.blocks * found.block_size, found.block_size)

    def trusted(self) -> TrustedXfs:
        """Features that are known, and a log that ends with an unmount."""
        _check_superblock(self.superblock)
        log = self._log()
        return TrustedXfs(self.area, self.superblock, log, check_unmounted(log))

    def _log(self) -> Log:
        found = self.superblock
        start, length = big(found.data, 48, 8), big(found.data, 96, 4) * found.block_size
        if start == 0:
            raise NotFreeError("its log is on another device", "unknown")
        group, block = found.place(start)
        offset = (group * found.group_blocks + block) * found.block_size
        if not SECTOR <= length <= _LARGEST_LOG or group >= found.groups:
            raise NotFreeError("its superblock gives its log an impossible place or size")
        return Log(self.area, offset, length, found.data[32:48])


def _check_superblock(found: Superblock) -> None:
    """Raise NotFreeError for damage and for what is not understood."""
    data = found.data
    if data[126]:
        raise NotFreeError("its making was not finished")
    if found.version == 4:
        if big(data, 100, 2) & _MORE_FEATURES and big(data, 200, 4) & ~_FEATURES2:
            raise NotFreeError(f"it has unknown features ({big(data, 200, 4):#x})", "unknown")
        return
    sector = data[: found.sector_size]
    if crc32c(sector[:224] + bytes(4) + sector[228:]).to_bytes(4, "little") != data[224:228]:
        raise NotFreeError("the checksum of its superblock is wrong")
    if big(data, 216, 4) & _NEEDSREPAIR:
        raise NotFreeError("it says that it needs a repair: run xfs_repair")
    for offset, known in ((212, _RO_COMPAT), (216, _INCOMPAT), (220, _LOG_INCOMPAT)):
        unknown = big(data, offset, 4) & ~known
        if unknown:
            raise NotFreeError(
                f"it has unknown features ({unknown:#x} at {offset} of its superblock)", "unknown"
            )


@dataclass(frozen=True)
class TrustedXfs:
    """An XFS that was unmounted cleanly, as far as the end of its log tells."""

    area: Area
    superblock: Superblock
    log: Log
    head: int
    state: State = "clean"

    @property
    def claimed_free(self) -> int:
        """The superblock's count, which is exact after an unmount and includes what the btrees keep ready."""
        return min(self.superblock.free_blocks, self.superblock.blocks) * self.superblock.block_size

    def agreed(self) -> AgreedXfs:
        """Read the log and the free space of every group: records, their sums, both orders, checksums."""
        check_cycles(self.log, self.head)
        found = self.superblock
        total = 0
        for number in range(found.groups):
            total += self._agreed_group(number)
        if total != found.free_blocks:
            raise NotFreeError(
                f"its groups have {total} free blocks and its superblock counts {found.free_blocks}"
            )
        return AgreedXfs(self.area, found)

    def _agreed_group(self, number: int) -> int:
        """The free blocks of a group by the superblock's way of counting."""
        found = self.superblock
        group = group_of(self.area, found, number)
        by_place, by_size = Tree(group, "place"), Tree(group, "size")
        kept = self._kept(number)
        for records in records_of(by_place):
            starts, ends = records[:, 0], records[:, 0] + records[:, 1]
            if any(((starts < end) & (ends > start)).any() for start, end in kept):
                raise NotFreeError(f"group {number} calls its log or its root directory free")
        for _ in records_of(by_size):
            pass
        group.check(by_place.seen, by_size.seen, has_rmap=found.has_rmap)
        return group.free_blocks + group.list_count + group.tree_blocks

    def _kept(self, number: int) -> list[tuple[int, int]]:
        """Blocks of a group, from and to, that cannot be free: its headers, the log, the root directory."""
        found = self.superblock
        headers = -(-4 * found.sector_size // found.block_size)
        kept = [(0, headers)]
        group, block = found.place(big(found.data, 48, 8))
        if group == number:
            kept.append((block, block + self.log.length // found.block_size))
        group, block = found.place(big(found.data, 56, 8) >> found.data[123])
        if group == number:
            kept.append((block, block + 1))
        return kept


@dataclass(frozen=True)
class AgreedXfs:
    """An XFS whose groups were all read and agree with its superblock."""

    area: Area
    superblock: Superblock

    def free_runs(self) -> Iterator[Runs]:
        """The records of each group's btree."""
        found = self.superblock
        for number in range(found.groups):
            for records in records_of(Tree(group_of(self.area, found, number), "place")):
                runs = records * found.block_size
                runs[:, 0] += number * found.group_blocks * found.block_size
                yield runs


def group_of(area: Area, found: Superblock, number: int) -> Group:
    """An allocation group, its header read and checked."""
    last = found.blocks - (found.groups - 1) * found.group_blocks
    return Group.read(
        area,
        number=number,
        offset=number * found.group_blocks * found.block_size,
        blocks=last if number == found.groups - 1 else found.group_blocks,
        block_size=found.block_size,
        sector_size=found.sector_size,
        has_checksums=found.version == 5,
    )
