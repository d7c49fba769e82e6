"""A jbd2 journal replayed in memory, and the file system read through it.

Ends where Linux ends, and refuses what Linux refuses to mount. Nothing is written: the guest replays the
journal itself. Must not know what stands in the blocks that are replayed, nor how the journal was found.
"""

from __future__ import annotations

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.crc import crc32_big_endian
from vhdx.filesystems.jbd2_blocks import (
    COMMIT,
    DESCRIPTOR,
    ESCAPED,
    MAGIC,
    REVOKE,
    JournalSuperblock,
    Tag,
    block_checksum,
    commit_seconds,
    is_sound,
    is_sound_commit,
    journal_superblock,
    kind_of,
    revoked_of,
    tags_of,
)
from vhdx.filesystems.runs import spans
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vhdx.filesystems.base import Read

    Numbers = NDArray[np.int64]

MOST_BLOCKS = 1 << 20
"""Blocks of a journal, and records in it: 4 GiB with 4 KiB blocks, four times what mkfs makes by itself."""
_PIECE = 1 << 20
_SEQUENCES = 1 << 32
_ALL = 0xFFFFFFFF


class Writes(NamedTuple):
    """Copies of blocks in the journal, one element a copy."""

    block: Numbers
    """Which block of the file system it is."""
    place: Numbers
    """In which block of the file system the copy stands."""
    escaped: NDArray[np.bool_]
    checksum: Numbers
    transaction: Numbers
    """Counted from the first transaction of the journal."""


class Revokes(NamedTuple):
    """Blocks whose copies of the same and of earlier transactions do not count."""

    block: Numbers
    transaction: Numbers


class Journal(NamedTuple):
    """A journal in the file system that it belongs to."""

    read: Read
    places: Numbers
    """The block of the file system that each block of the journal is."""
    block_size: int
    superblock: JournalSuperblock

    @property
    def is_empty(self) -> bool:
        """Whether everything in it has been written to where it belongs."""
        return self.superblock.start == 0

    def block(self, position: int) -> bytes:
        """The bytes of one of its blocks."""
        return self.read(self.block_size, int(self.places[position]) * self.block_size)

    def after(self, position: int, count: int) -> int:
        """The position ``count`` blocks further on; behind the last block comes the first."""
        first, length = self.superblock.first, self.superblock.length
        return first + (position - first + count) % (length - first)


def opened(read: Read, places: Numbers, block_size: int) -> Journal:
    """The journal in the given blocks. Raises NotFreeError where it is damaged or not understood."""
    superblock = journal_superblock(read(block_size, int(places[0]) * block_size), block_size)
    if superblock.length > len(places):
        raise NotFreeError("its journal is shorter than its superblock says; repair it with `e2fsck -f`")
    return Journal(read, places, block_size, superblock)


def replayed(journal: Journal, blocks: int) -> Read:
    """Reads the file system of so many ``blocks`` as it is once the journal is replayed.

    Raises NotFreeError where the journal is damaged.
    """
    import numpy as np  # noqa: PLC0415  whoever only looks at a disk need not wait for it

    if journal.is_empty:
        return journal.read
    writes = _valid(*_records(journal))
    _require_checksums(journal, writes)
    if (writes.block >= blocks).any() or (writes.block < 0).any():
        raise NotFreeError("its journal writes outside of the file system; repair it with `e2fsck -f`")
    if np.isin(writes.block, journal.places).any():
        raise NotFreeError("its journal writes over itself; repair it with `e2fsck -f`")
    return _overlaid(journal, _last_of_each_block(writes))


def _records(journal: Journal) -> tuple[Writes, Revokes]:
    """Everything that was committed, in order."""
    import numpy as np  # noqa: PLC0415  see above

    superblock = journal.superblock
    writes, revokes, last_commit = [_writes([], [], 0)], [_revokes([], 0)], 0
    position, number, scan = superblock.start, 0, _Scan(journal)
    while True:
        raw = journal.block(position)
        kind = kind_of(raw, (superblock.sequence + number) % _SEQUENCES)
        if kind == DESCRIPTOR:
            position = scan.descriptor(raw, position, number)
        elif kind == REVOKE:
            position = scan.revoke(raw, position, number)
        elif kind == COMMIT and scan.commits(raw, last_commit):
            writes += scan.writes
            revokes += scan.revokes
            last_commit = commit_seconds(raw)
            number += 1
            position = scan.next_transaction(position)
        else:
            return (
                Writes(*(np.concatenate(column) for column in zip(*writes, strict=True))),
                Revokes(*(np.concatenate(column) for column in zip(*revokes, strict=True))),
            )


class _Scan:
    """What was read of a transaction whose commit block has not come yet."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._blocks_left = journal.superblock.length - journal.superblock.first
        self._records_left = MOST_BLOCKS
        self._begin()

    def _begin(self) -> None:
        self.writes: list[Writes] = []
        self.revokes: list[Revokes] = []
        self._sound = True
        self._crc32 = _ALL

    def descriptor(self, raw: bytes, position: int, transaction: int) -> int:
        """Remember the copies that a descriptor block names; the position behind them."""
        journal = self._journal
        tags = tags_of(raw, journal.superblock)
        copies = [journal.after(position, 1 + index) for index in range(len(tags))]
        self._sound &= is_sound(raw, journal.superblock)
        self._count(1 + len(tags), len(tags))
        self.writes.append(_writes(tags, journal.places[copies].tolist(), transaction))
        if journal.superblock.checksum_v1:
            for data in (raw, *map(journal.block, copies)):
                self._crc32 = crc32_big_endian(data, self._crc32)
        return journal.after(position, 1 + len(copies))

    def revoke(self, raw: bytes, position: int, transaction: int) -> int:
        """Remember the blocks of a revoke block; the position behind it."""
        self._sound &= is_sound(raw, self._journal.superblock)
        blocks = revoked_of(raw, self._journal.superblock) if self._sound else []
        self._count(1, len(blocks))
        self.revokes.append(_revokes(blocks, transaction))
        return self._journal.after(position, 1)

    def commits(self, raw: bytes, last_commit: int) -> bool:
        """Whether the transaction counts. Raises NotFreeError where it was committed and is damaged."""
        # A damaged block is an error only where a commit block follows that is no leftover of earlier times.
        if self._sound and is_sound_commit(raw, self._journal.superblock, self._crc32):
            return True
        if commit_seconds(raw) < last_commit:
            return False
        raise NotFreeError("a transaction of its journal is damaged; repair it with `e2fsck -f`")

    def next_transaction(self, position: int) -> int:
        """Forget what the commit block at ``position`` ends; the position behind it."""
        self._begin()
        self._count(1, 0)
        return self._journal.after(position, 1)

    def _count(self, blocks: int, records: int) -> None:
        self._blocks_left -= blocks
        self._records_left -= records
        if self._blocks_left < 0 or self._records_left < 0:
            raise NotFreeError("its journal has no end; repair it with `e2fsck -f`")


def _writes(tags: list[Tag], places: list[int], transaction: int) -> Writes:
    import numpy as np  # noqa: PLC0415  see above

    # A block number of 2^63 and more becomes negative, which is refused later.
    columns = np.array(tags, dtype=np.uint64).reshape(-1, 3).astype(np.int64)
    return Writes(
        block=columns[:, 0],
        place=np.array(places, dtype=np.int64),
        escaped=columns[:, 1] & ESCAPED != 0,
        checksum=columns[:, 2],
        transaction=np.full(len(tags), transaction, dtype=np.int64),
    )


def _revokes(blocks: list[int], transaction: int) -> Revokes:
    import numpy as np  # noqa: PLC0415  see above

    numbers = np.array(blocks, dtype=np.uint64).astype(np.int64)
    return Revokes(numbers, np.full(len(blocks), transaction, dtype=np.int64))


def _valid(writes: Writes, revokes: Revokes) -> Writes:
    """The writes that no transaction of the same or a later time revokes."""
    import numpy as np  # noqa: PLC0415  see above

    if not len(revokes.block):
        return writes
    order = np.argsort(revokes.block, kind="stable")  # within a block they stay in order of time
    blocks, transactions = revokes.block[order], revokes.transaction[order]
    last = np.searchsorted(blocks, writes.block, side="right") - 1
    revoked = (last >= 0) & (blocks[last] == writes.block) & (transactions[last] >= writes.transaction)
    return _chosen(writes, ~revoked)


def _last_of_each_block(writes: Writes) -> Writes:
    """What is left when each write has overwritten those before it, in the order of the blocks."""
    import numpy as np  # noqa: PLC0415  see above

    order = np.argsort(writes.block, kind="stable")
    blocks = writes.block[order]
    is_last = np.ones(len(blocks), dtype=np.bool_)
    is_last[:-1] = blocks[1:] != blocks[:-1]
    return _chosen(writes, order[is_last])


def _chosen(writes: Writes, which: NDArray[np.bool_] | Numbers) -> Writes:
    block, place, escaped, checksum, transaction = writes
    return Writes(block[which], place[which], escaped[which], checksum[which], transaction[which])


def _require_checksums(journal: Journal, writes: Writes) -> None:
    """All of them, also of copies that are overwritten: with a damaged one Linux refuses to mount."""
    superblock, block_size = journal.superblock, journal.block_size
    if not superblock.has_checksums:
        return
    for index, place, count in spans(writes.place, _PIECE // block_size):
        data = journal.read(count * block_size, place * block_size)
        for row in range(count):
            sequence = (superblock.sequence + int(writes.transaction[index + row])) % _SEQUENCES
            block = data[row * block_size : (row + 1) * block_size]
            if block_checksum(block, sequence, superblock) != writes.checksum[index + row]:
                raise NotFreeError("a block in its journal has a wrong checksum; repair it with `e2fsck -f`")


def _overlaid(journal: Journal, writes: Writes) -> Read:
    """Reads with the blocks of ``writes``, which ascend, in place of what stands there."""
    import numpy as np  # noqa: PLC0415  see above

    read, block_size = journal.read, journal.block_size

    def copy(index: int) -> bytes:
        data = read(block_size, int(writes.place[index]) * block_size)
        return MAGIC + data[len(MAGIC) :] if writes.escaped[index] else data

    def read_replayed(length: int, offset: int) -> bytes:
        data = read(length, offset)
        begin, end = np.searchsorted(
            writes.block, (offset // block_size, -(-(offset + length) // block_size))
        )
        if begin == end:
            return data
        patched = bytearray(data)
        for index in range(begin, end):
            at = int(writes.block[index]) * block_size - offset
            skipped = max(0, -at)
            part = copy(index)[skipped : length - at]
            patched[at + skipped : at + skipped + len(part)] = part
        return bytes(patched)

    return read_replayed
