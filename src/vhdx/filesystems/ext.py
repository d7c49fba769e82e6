"""ext2, ext3 and ext4: from the superblock to the ranges that are certainly free.

Ties the parts together: trusted is what was unmounted cleanly or whose journal is replayed in memory, agreed
is that whose bitmaps, descriptors and superblock count the same. Orphans, files deleted while open, are still
in use in the bitmaps; mounting only gives more back.
"""

from __future__ import annotations

from vhdx.filesystems import ext_bitmaps, jbd2
from vhdx.filesystems.base import Identity, NotFreeError
from vhdx.filesystems.crc import raw_crc32c
from vhdx.filesystems.ext_groups import bookkeeping, read_groups
from vhdx.filesystems.ext_inode import journal_blocks
from vhdx.filesystems.ext_superblock import (
    ERROR,
    FAST_COMMIT,
    FAST_COMMIT_REPLAY,
    HAS_JOURNAL,
    MMP,
    RECOVER,
    VALID,
    Superblock,
    read_superblock,
    require_understood,
    shown_label,
    shown_uuid,
)
from vhdx.filesystems.runs import joined_chunks
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.base import Read, Runs, State

_MMP_MAGIC = (0x004D4D50).to_bytes(4, "little")
_MMP_CLEAN = 0xFF4D4D50
_MMP_CHECKSUM_OFFSET = 0x3FC


def recognise(read: Read, size: int) -> RecognisedExt | None:
    """The file system in ``size`` bytes, None if the magic of ext2, ext3 and ext4 is not there."""
    superblock = read_superblock(read, size)
    return None if superblock is None else RecognisedExt(read, superblock)


class RecognisedExt:
    """A superblock with the right magic. Nothing of it is believed yet."""

    def __init__(self, read: Read, superblock: Superblock) -> None:
        self._read = read
        self._superblock = superblock

    @property
    def identity(self) -> Identity:
        """What the superblock says."""
        superblock = self._superblock
        return Identity(
            superblock.kind,
            shown_label(superblock),
            shown_uuid(superblock),
            superblock.blocks * superblock.block_size,
            superblock.block_size,
        )

    def trusted(self) -> TrustedExt:
        """Understood, without errors, and unmounted cleanly or replayed. Raises NotFreeError else."""
        read, superblock = self._read, self._superblock
        require_understood(superblock)
        _require_state(superblock)
        _require_no_other_host(read, superblock)
        if not superblock.incompat & RECOVER:
            return TrustedExt(read, superblock, "clean")
        read = jbd2.replayed(_journal(read, superblock), superblock.blocks)
        return TrustedExt(read, _after_replay(read, superblock), "replayed")


class TrustedExt:
    """Unmounted cleanly, or read through its replayed journal."""

    def __init__(self, read: Read, superblock: Superblock, state: State) -> None:
        self.read = read
        """The file system as it is once its journal is replayed."""
        self.superblock = superblock
        self.state = state

    @property
    def claimed_free(self) -> int | None:
        """The superblock's count, which is exact only after a clean unmount."""
        return self.superblock.free_blocks * self.superblock.block_size if self.state == "clean" else None

    def agreed(self) -> AgreedExt:
        """All descriptors and bitmaps read and compared. Raises NotFreeError where they do not agree."""
        superblock = self.superblock
        if self.state == "clean":
            _require_empty_journal(self.read, superblock)
        groups = read_groups(self.read, superblock)
        counted = int(groups.free_clusters.sum()) * superblock.cluster_blocks
        if self.state == "clean" and counted != superblock.free_blocks:
            raise NotFreeError(
                f"its superblock counts {superblock.free_blocks} free blocks and its groups {counted}; "
                "repair it with `e2fsck -f`"
            )
        found = ext_bitmaps.Bookkeeping(superblock, groups, bookkeeping(superblock, groups))
        for _ in ext_bitmaps.free_runs(self.read, found):
            pass
        return AgreedExt(self.read, found)


class AgreedExt:
    """Bitmaps that agree with their descriptors, and these with the superblock."""

    def __init__(self, read: Read, found: ext_bitmaps.Bookkeeping) -> None:
        self._read = read
        self._bookkeeping = found

    def free_runs(self) -> Iterator[Runs]:
        """The bitmaps are read, and compared, once more: nothing of their size is kept in memory."""
        return joined_chunks(ext_bitmaps.free_runs(self._read, self._bookkeeping))


def _require_state(superblock: Superblock) -> None:
    if superblock.state & ERROR:
        raise NotFreeError("Linux found errors in it; repair it with `e2fsck -f`")
    if not superblock.state & VALID or superblock.state & FAST_COMMIT_REPLAY:
        raise NotFreeError(
            "it was not unmounted cleanly, or is mounted now; unmount it, or repair it with `e2fsck -f`"
        )
    if superblock.compat & HAS_JOURNAL and (superblock.journal_device or not superblock.journal_inode):
        raise NotFreeError("its journal is on another device; trim it inside the guest", "unknown")
    dirty = superblock.incompat & RECOVER
    if dirty and not superblock.compat & HAS_JOURNAL:
        raise NotFreeError("it is to be replayed from a journal that it has not; repair it with `e2fsck -f`")
    if dirty and superblock.compat & FAST_COMMIT:
        raise NotFreeError(
            "it was not unmounted cleanly, and fast commits are not replayed; mount it once and unmount it"
        )


def _require_no_other_host(read: Read, superblock: Superblock) -> None:
    """Multiple mount protection: the block says whether a host, or e2fsck, uses the file system."""
    if not superblock.incompat & MMP:
        return
    if not superblock.first_block < superblock.mmp_block < superblock.blocks:
        raise NotFreeError("its MMP block does not exist; repair it with `e2fsck -f`")
    raw = read(1024, superblock.mmp_block * superblock.block_size)
    stated = int.from_bytes(raw[_MMP_CHECKSUM_OFFSET:], "little")
    if raw[:4] != _MMP_MAGIC or (
        superblock.has_metadata_checksums
        and raw_crc32c(superblock.seed, raw[:_MMP_CHECKSUM_OFFSET]) != stated
    ):
        raise NotFreeError("its MMP block is damaged; repair it with `e2fsck -f`")
    if int.from_bytes(raw[4:8], "little") != _MMP_CLEAN:
        raise NotFreeError(
            "its MMP block says that it is in use; unmount it there, or mount it here once and unmount it"
        )


def _journal(read: Read, superblock: Superblock) -> jbd2.Journal:
    places = journal_blocks(read, superblock, jbd2.MOST_BLOCKS)
    return jbd2.opened(read, places, superblock.block_size)


def _require_empty_journal(read: Read, superblock: Superblock) -> None:
    if superblock.compat & HAS_JOURNAL and not _journal(read, superblock).is_empty:
        raise NotFreeError(
            "its superblock says that its journal is empty and the journal is not; repair it with `e2fsck -f`"
        )


def _after_replay(read: Read, before: Superblock) -> Superblock:
    """The superblock of the replayed file system, which must be the same one."""
    after = read_superblock(read, before.blocks * before.block_size)
    if after is None:
        raise NotFreeError("its journal writes over its superblock; repair it with `e2fsck -f`")
    require_understood(after)
    _require_state(after)
    if _shape(after) != _shape(before):
        raise NotFreeError("it was being resized; mount it once and unmount it")
    return after


def _shape(superblock: Superblock) -> tuple[object, ...]:
    return (
        superblock.blocks,
        superblock.block_size,
        superblock.group_blocks,
        superblock.cluster_blocks,
        superblock.incompat & ~RECOVER,
        superblock.uuid,
    )
