"""What stands in the blocks of a jbd2 journal, the journal of ext3 and ext4: bytes to values. Big-endian.

Must not know where the blocks stand, nor which of them count.
"""

from __future__ import annotations

import struct

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.crc import raw_crc32c
from vhdx.typed import NamedTuple

MAGIC = (0xC03B3998).to_bytes(4, "big")
DESCRIPTOR, COMMIT, SUPERBLOCK_V1, SUPERBLOCK_V2, REVOKE = range(1, 6)

_CHECKSUM_V1 = 0x1
_WIDE, _CHECKSUM_V2, _CHECKSUM_V3 = 0x2, 0x8, 0x10
_FAST_COMMIT = 0x20
_KNOWN_INCOMPAT = 0x1 | _WIDE | 0x4 | _CHECKSUM_V2 | _CHECKSUM_V3
_CRC32, _CRC32C = 1, 4

ESCAPED, _SAME_UUID, _LAST = 0x1, 0x2, 0x8

_HEADER = struct.Struct(">4sII")
_SUPERBLOCK_SIZE = 1024
_SUPERBLOCK_CHECKSUM = 0xFC
_COMMIT_CHECKSUM = 0x10
_TAIL = 4
_UUID = 16
_REVOKE_HEADER = 16


class JournalSuperblock(NamedTuple):
    """The first block of a journal. Positions are blocks of the journal; it is empty where ``start`` is 0."""

    length: int
    first: int
    sequence: int
    start: int
    checksum_v1: bool
    incompat: int
    seed: int

    @property
    def has_checksums(self) -> bool:
        """Whether each block of the journal has a CRC-32C."""
        return bool(self.incompat & (_CHECKSUM_V2 | _CHECKSUM_V3))

    @property
    def tag_size(self) -> int:
        """Bytes of one tag, without the UUID that may follow it."""
        if self.incompat & _CHECKSUM_V3:
            return 16
        return 8 + (4 if self.incompat & _WIDE else 0) + (2 if self.incompat & _CHECKSUM_V2 else 0)


class Tag(NamedTuple):
    """Which block of the file system one block of the journal is a copy of."""

    block: int
    flags: int
    checksum: int


def journal_superblock(raw: bytes, block_size: int) -> JournalSuperblock:
    """The journal's superblock. Raises NotFreeError where it is damaged or not understood."""
    magic, kind, _ = _HEADER.unpack_from(raw)
    if magic != MAGIC or kind not in {SUPERBLOCK_V1, SUPERBLOCK_V2}:
        raise NotFreeError("its journal has no superblock; repair it with `e2fsck -f`")
    size, length, first, sequence, start, errno = struct.unpack_from(">6I", raw, 0x0C)
    # The older superblock ends here; what stands behind it means nothing.
    compat, incompat, ro_compat = struct.unpack_from(">3I", raw, 0x24) if kind == SUPERBLOCK_V2 else (0, 0, 0)
    superblock = JournalSuperblock(
        length, first, sequence, start, bool(compat & _CHECKSUM_V1), incompat, _seed(raw)
    )
    known = _KNOWN_INCOMPAT | (0 if start else _FAST_COMMIT)  # an empty one holds no fast commits either
    if incompat & ~known or ro_compat or compat & ~_CHECKSUM_V1:
        raise NotFreeError(
            f"its journal has features that this reader does not know ({compat:#x}, {incompat:#x}, "
            f"{ro_compat:#x}); mount it once and unmount it",
            "unknown",
        )
    _require_checksum(raw, superblock)
    if errno:
        raise NotFreeError(f"its journal was aborted with error {errno}; repair it with `e2fsck -f`")
    if size != block_size or not 0 < first < length or (start and not first <= start < length):
        raise NotFreeError("the sizes in its journal's superblock are impossible; repair it with `e2fsck -f`")
    return superblock


def kind_of(raw: bytes, sequence: int) -> int | None:
    """What a block is, None if it is no block of the journal's own with this sequence number."""
    magic, kind, its_sequence = _HEADER.unpack_from(raw)
    return int(kind) if magic == MAGIC and its_sequence == sequence else None


def is_sound(raw: bytes, superblock: JournalSuperblock) -> bool:
    """Whether the checksum of a descriptor or revoke block is right."""
    return not superblock.has_checksums or _checksum_without(raw, len(raw) - _TAIL, superblock.seed)


def is_sound_commit(raw: bytes, superblock: JournalSuperblock, crc32: int) -> bool:
    """Whether a commit block's checksum is right; ``crc32`` is that of all the blocks it commits."""
    if superblock.has_checksums:
        return _checksum_without(raw, _COMMIT_CHECKSUM, superblock.seed)
    if superblock.checksum_v1:
        stated = struct.unpack_from(">BBxxI", raw, _HEADER.size)
        return stated in {(_CRC32, 4, crc32), (0, 0, 0)}
    return True


def commit_seconds(raw: bytes) -> int:
    """When a transaction was committed."""
    return int.from_bytes(raw[0x30:0x38], "big")


def tags_of(raw: bytes, superblock: JournalSuperblock) -> list[Tag]:
    """The tags of a descriptor block, in the order of the blocks that follow it."""
    incompat, size = superblock.incompat, superblock.tag_size
    end = len(raw) - (_TAIL if superblock.has_checksums else 0)
    tags, at = [], _HEADER.size
    while at + size <= end:
        block, checksum, flags = struct.unpack_from(">IHH", raw, at)
        if incompat & _WIDE:
            block |= int.from_bytes(raw[at + 8 : at + 12], "big") << 32
        if incompat & _CHECKSUM_V3:
            checksum = int.from_bytes(raw[at + 12 : at + 16], "big")
        tags.append(Tag(block, flags, checksum))
        if flags & _LAST:
            break
        at += size if flags & _SAME_UUID else size + _UUID
    return tags


def revoked_of(raw: bytes, superblock: JournalSuperblock) -> list[int]:
    """The blocks of a revoke block. Raises NotFreeError where it says that it is longer than it is."""
    wide = bool(superblock.incompat & _WIDE)
    used = int.from_bytes(raw[12:16], "big")
    end = len(raw) - (_TAIL if superblock.has_checksums else 0)
    if not _REVOKE_HEADER <= used <= end:
        raise NotFreeError("a revoke block of its journal is damaged; repair it with `e2fsck -f`")
    count = (used - _REVOKE_HEADER) // (8 if wide else 4)
    return list(struct.unpack_from(f">{count}{'Q' if wide else 'I'}", raw, _REVOKE_HEADER))


def block_checksum(data: bytes, sequence: int, superblock: JournalSuperblock) -> int:
    """What the tag of a block states as its checksum."""
    checksum = raw_crc32c(raw_crc32c(superblock.seed, sequence.to_bytes(4, "big")), data)
    return checksum if superblock.incompat & _CHECKSUM_V3 else checksum & 0xFFFF


def _require_checksum(raw: bytes, superblock: JournalSuperblock) -> None:
    both = _CHECKSUM_V2 | _CHECKSUM_V3
    if not superblock.has_checksums:
        return
    if superblock.incompat & both == both or superblock.checksum_v1 or raw[0x50] != _CRC32C:
        raise NotFreeError("its journal has checksums of two kinds, or of an unknown one", "unknown")
    if not _checksum_without(raw[:_SUPERBLOCK_SIZE], _SUPERBLOCK_CHECKSUM, 0xFFFFFFFF):
        raise NotFreeError("the checksum of its journal's superblock is wrong; repair it with `e2fsck -f`")


def _seed(raw: bytes) -> int:
    return raw_crc32c(0xFFFFFFFF, raw[0x30:0x40])


def _checksum_without(raw: bytes, at: int, seed: int) -> bool:
    """Whether the checksum at ``at`` is that of ``raw`` with the field as zero."""
    stated = int.from_bytes(raw[at : at + 4], "big")
    return raw_crc32c(seed, raw[:at] + bytes(4) + raw[at + 4 :]) == stated
