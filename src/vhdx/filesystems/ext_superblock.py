"""The superblock of ext2, ext3 and ext4: its fields, and which of its features are understood.

Numbers of it are bounded here, before anybody computes with them. Must not know groups or journals.
"""

from __future__ import annotations

import struct
import uuid

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.crc import raw_crc32c
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vhdx.filesystems.base import Read

OFFSET = 1024
SIZE = 1024
_MAGIC = 0xEF53
_CHECKSUM_OFFSET = 0x3FC
_LARGEST_LOG_BLOCK_SIZE = 6
_FEWEST_BLOCKS_IN_GROUP = 256
MOST_GROUPS = 1 << 21
"""256 TiB with 4 KiB blocks, 16 TiB with 1 KiB blocks. Bounds what the descriptors take in memory."""

VALID, ERROR, FAST_COMMIT_REPLAY = 0x1, 0x2, 0x20

HAS_JOURNAL, SPARSE_SUPER2, FAST_COMMIT = 0x4, 0x200, 0x400
COMPRESSION, RECOVER, JOURNAL_DEVICE, META_BG, WIDE, MMP = 0x1, 0x4, 0x8, 0x10, 0x80, 0x100
CHECKSUM_SEED = 0x2000
SPARSE_SUPER, GDT_CHECKSUM, SNAPSHOT, BIGALLOC, METADATA_CHECKSUM = 0x1, 0x10, 0x80, 0x200, 0x400

_KNOWN_COMPAT = 0x1 | 0x2 | HAS_JOURNAL | 0x8 | 0x10 | 0x20 | SPARSE_SUPER2 | FAST_COMMIT | 0x800 | 0x1000
_KNOWN_INCOMPAT = (
    0x2 | RECOVER | META_BG | 0x40 | WIDE | MMP | 0x200 | 0x400 | CHECKSUM_SEED | 0x4000 | 0x8000 | 0x30000
)
# Processing orphans (0x10000) gives back what their bitmap bits still hold: until then it is not free.
_KNOWN_RO_COMPAT = (
    SPARSE_SUPER | 0x2 | 0x4 | 0x8 | GDT_CHECKSUM | 0x20 | 0x40 | 0x100 | BIGALLOC | METADATA_CHECKSUM
    | 0x1000 | 0x2000 | 0x4000 | 0x8000 | 0x10000
)  # fmt: skip
_EXT3_INCOMPAT = 0x2 | RECOVER | META_BG
_EXT3_RO_COMPAT = SPARSE_SUPER | 0x2 | 0x4

_REFUSED_FEATURES = (
    (
        "incompat",
        COMPRESSION,
        "it is compressed, which no released kernel understands; copy its files elsewhere",
    ),
    (
        "incompat",
        JOURNAL_DEVICE,
        "it is the external journal of another file system; mount that one once and unmount it",
    ),
    (
        "ro_compat",
        SNAPSHOT,
        "it keeps snapshots of its own, whose blocks look free; trim it inside the guest",
    ),
)


class Superblock(NamedTuple):
    """The fields that readers of free space and journals need. Sizes in bytes, positions in blocks."""

    blocks: int
    free_blocks: int
    first_block: int
    block_size: int
    cluster_blocks: int
    """Blocks in a cluster: what one bit of a bitmap stands for. 1 without bigalloc."""
    group_blocks: int
    group_clusters: int
    group_inodes: int
    inodes: int
    inode_size: int
    state: int
    compat: int
    incompat: int
    ro_compat: int
    uuid: bytes
    label: bytes
    descriptor_size: int
    first_meta_group: int
    reserved_descriptor_blocks: int
    backup_groups: tuple[int, int]
    journal_inode: int
    journal_device: int
    mmp_block: int
    checksum_type: int
    checksum_seed: int
    checksum: int
    raw: bytes

    @property
    def kind(self) -> str:
        """``ext4`` where features say so that neither ext2 nor ext3 have."""
        if self.incompat & ~_EXT3_INCOMPAT or self.ro_compat & ~_EXT3_RO_COMPAT:
            return "ext4"
        return "ext3" if self.compat & HAS_JOURNAL else "ext2"

    @property
    def groups(self) -> int:
        """The number of block groups."""
        return -(-(self.blocks - self.first_block) // self.group_blocks)

    @property
    def own_block(self) -> int:
        """The block that the superblock stands in."""
        return OFFSET // self.block_size

    @property
    def has_metadata_checksums(self) -> bool:
        """Whether structures carry CRC-32C. Rules where both kinds of checksum are switched on."""
        return bool(self.ro_compat & METADATA_CHECKSUM)

    @property
    def has_uninitialised_bitmaps(self) -> bool:
        """Whether the descriptor may say that the bitmap of its group was never written."""
        return bool(self.ro_compat & (METADATA_CHECKSUM | GDT_CHECKSUM))

    @property
    def seed(self) -> int:
        """What the checksums of structures begin with."""
        return self.checksum_seed if self.incompat & CHECKSUM_SEED else raw_crc32c(0xFFFFFFFF, self.uuid)


def read_superblock(read: Read, size: int) -> Superblock | None:
    """The superblock of what stands in ``size`` bytes, or None if its magic is not there."""
    raw = read(SIZE, OFFSET) if size >= OFFSET + SIZE else b""
    return parsed(raw) if raw and _u16(raw, 0x38) == _MAGIC else None


def parsed(raw: bytes) -> Superblock:
    """The fields as they stand, nothing of them judged but what would overflow."""
    features = struct.unpack_from("<III", raw, 0x5C) if _u32(raw, 0x4C) else (0, 0, 0)
    wide = bool(features[1] & WIDE)
    log_block_size, log_cluster_size = _u32(raw, 0x18), _u32(raw, 0x1C)
    legal = log_block_size <= _LARGEST_LOG_BLOCK_SIZE
    ratio = log_cluster_size - log_block_size if features[2] & BIGALLOC else 0
    return Superblock(
        blocks=_u32(raw, 0x04) | (_u32(raw, 0x150) << 32 if wide else 0),
        free_blocks=_u32(raw, 0x0C) | (_u32(raw, 0x158) << 32 if wide else 0),
        first_block=_u32(raw, 0x14),
        block_size=1024 << log_block_size if legal else 0,
        cluster_blocks=1 << ratio if 0 <= ratio < 32 else 0,
        group_blocks=_u32(raw, 0x20),
        group_clusters=_u32(raw, 0x24 if features[2] & BIGALLOC else 0x20),
        group_inodes=_u32(raw, 0x28),
        inodes=_u32(raw, 0x00),
        inode_size=_u16(raw, 0x58) if _u32(raw, 0x4C) else 128,
        state=_u16(raw, 0x3A),
        compat=features[0],
        incompat=features[1],
        ro_compat=features[2],
        uuid=raw[0x68:0x78],
        label=raw[0x78:0x88],
        descriptor_size=_u16(raw, 0xFE) if wide else 32,
        first_meta_group=_u32(raw, 0x104),
        reserved_descriptor_blocks=_u16(raw, 0xCE),
        backup_groups=(_u32(raw, 0x24C), _u32(raw, 0x250)),
        journal_inode=_u32(raw, 0xE0),
        journal_device=_u32(raw, 0xE4),
        mmp_block=int.from_bytes(raw[0x168:0x170], "little"),
        checksum_type=raw[0x175],
        checksum_seed=_u32(raw, 0x270),
        checksum=_u32(raw, _CHECKSUM_OFFSET),
        raw=raw,
    )


def shown_label(superblock: Superblock) -> str | None:
    """The volume's name, None if it has none."""
    return superblock.label.partition(b"\0")[0].decode(errors="replace") or None


def shown_uuid(superblock: Superblock) -> str | None:
    """The UUID as tools print it, None if it is zero."""
    return str(uuid.UUID(bytes=superblock.uuid)) if any(superblock.uuid) else None


def require_understood(superblock: Superblock) -> None:
    """Raises NotFreeError where a feature is unknown, the checksum wrong, or a size impossible."""
    for kind, feature, sentence in _REFUSED_FEATURES:
        if getattr(superblock, kind) & feature:
            raise NotFreeError(sentence, "unknown")
    for kind, known in (
        ("compat", _KNOWN_COMPAT),
        ("incompat", _KNOWN_INCOMPAT),
        ("ro_compat", _KNOWN_RO_COMPAT),
    ):
        if unknown := getattr(superblock, kind) & ~known:
            raise NotFreeError(
                f"it has unknown {kind} features ({unknown:#x}); trim it inside the guest",
                "unknown",
            )
    _require_checksum(superblock)
    _require_sizes(superblock)


def _require_checksum(superblock: Superblock) -> None:
    if not superblock.has_metadata_checksums:
        return
    if superblock.checksum_type != 1:
        raise NotFreeError(
            f"its checksums are of the unknown type {superblock.checksum_type}; trim it inside the guest",
            "unknown",
        )
    if raw_crc32c(0xFFFFFFFF, superblock.raw[:_CHECKSUM_OFFSET]) != superblock.checksum:
        raise NotFreeError("the checksum of its superblock is wrong; repair it with `e2fsck -f`")


def _require_sizes(superblock: Superblock) -> None:
    """What everything else is computed from. The rules are those of the kernel, or stricter."""
    if wrong := next((words for legal, words in _sizes(superblock) if not legal), None):
        raise NotFreeError(f"its superblock is damaged ({wrong}); repair it with `e2fsck -f`")


def _sizes(superblock: Superblock) -> list[tuple[bool, str]]:
    block = superblock.block_size
    if not block:
        return [(False, "block size")]
    first = 1 if block == 1024 and not superblock.ro_compat & BIGALLOC else 0
    group = superblock.group_blocks
    if group < _FEWEST_BLOCKS_IN_GROUP:
        return [(False, "blocks per group")]
    return [
        (superblock.cluster_blocks > 0, "cluster size"),
        (superblock.first_block == first, "first data block"),
        (superblock.blocks > first + superblock.own_block, "number of blocks"),
        (superblock.group_clusters % 8 == 0, "clusters per group"),
        (superblock.group_clusters <= 8 * block, "clusters per group"),
        (superblock.group_clusters * superblock.cluster_blocks == group, "blocks per group"),
        (superblock.groups <= MOST_GROUPS, f"more than {MOST_GROUPS} groups"),
        (0 < superblock.group_inodes <= 8 * block, "inodes per group"),
        (superblock.inodes == superblock.groups * superblock.group_inodes, "number of inodes"),
        (_is_power_of_two(superblock.inode_size, 128, block), "inode size"),
        (_is_power_of_two(superblock.descriptor_size, 32, min(block, 1024)), "size of descriptors"),
        (superblock.free_blocks <= superblock.blocks, "free blocks"),
        (superblock.first_meta_group <= superblock.groups, "first meta group"),
        (superblock.reserved_descriptor_blocks <= block // 4, "reserved descriptors"),
    ]


def _is_power_of_two(value: int, least: int, most: int) -> bool:
    return least <= value <= most and value & (value - 1) == 0


def _u16(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 2], "little")


def _u32(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 4], "little")
