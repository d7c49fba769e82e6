"""Pass two over a FAT: its copies against each other, and each chain against what is free."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.bitmap import clear_runs_in_pieces, in_bytes, joined_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from vhdx.filesystems.base import Read, Runs
    from vhdx.filesystems.fat_boot import Boot

    Entries = NDArray[np.uint32]
    Bits = NDArray[np.uint8]

ENTRIES_AT_ONCE = 1 << 20
_MOST_FRAGMENTS = 16 << 20
"""Links to elsewhere than the next cluster that are held: 64 MiB."""

_FIRST = 2
"""The entry of the first cluster."""

_ADVICE = "run chkdsk or fsck.fat on it"


class AgreedFat:
    """A FAT whose copies are equal and whose chains go only through what is in use, each cluster in one."""

    def __init__(self, boot: Boot, used: Bits) -> None:
        self._boot, self._used = boot, used

    def free_runs(self) -> Iterator[Runs]:
        """The runs of clusters whose entry is 0. The first two entries stand for none."""
        boot = self._boot
        clear = joined_chunks(clear_runs_in_pieces(self._bits, boot.clusters + _FIRST))
        return in_bytes(clear, boot.data_offset - _FIRST * boot.cluster_size, boot.cluster_size)

    def _bits(self, length: int, offset: int) -> bytes:
        return self._used[offset : offset + length].tobytes()


def agreed(read: Read, boot: Boot) -> AgreedFat:
    """Raises NotFreeError where the copies differ or a chain cannot be right."""
    table = _Table(read, boot)
    used, following = _bits_of(table)
    if boot.root_cluster is not None and not _FIRST <= boot.root_cluster < boot.clusters + _FIRST:
        raise NotFreeError(f"its root directory is outside of it: {_ADVICE}")
    _must_be_used(used, np.array([boot.root_cluster or 0]), "its root directory")
    _must_be_chains(table, used, following)
    return AgreedFat(boot, used)


class _Table:
    """The entries of a FAT, piece by piece."""

    def __init__(self, read: Read, boot: Boot) -> None:
        self._read, self.boot = read, boot
        self.count = boot.clusters + _FIRST

    def pieces(self) -> Iterator[tuple[int, Entries]]:
        """(number of the first, entries) of the copies that count, which must be equal."""
        bits = self.boot.width.bits
        for first in range(0, self.count, ENTRIES_AT_ONCE):
            count = min(ENTRIES_AT_ONCE, self.count - first)
            copies = [
                self._copy(number, -(-count * bits // 8), first * bits // 8) for number in self.boot.copies
            ]
            if any(copy != copies[0] for copy in copies):
                raise NotFreeError(f"its FATs differ: {_ADVICE}")
            yield first, _entries(copies[0], bits)[:count]

    def _copy(self, number: int, length: int, offset: int) -> bytes:
        return self._read(length, self.boot.fat_offset + number * self.boot.fat_length + offset)


def _entries(data: bytes, bits: int) -> Entries:
    if bits == 32:
        return np.frombuffer(data, "<u4") & np.uint32(0x0FFFFFFF)
    if bits == 16:
        return np.frombuffer(data, "<u2").astype(np.uint32)
    triples = np.frombuffer(data + bytes(-len(data) % 3), np.uint8).reshape(-1, 3).astype(np.uint32)
    low = triples[:, 0] | (triples[:, 1] & 15) << 8
    high = triples[:, 1] >> 4 | triples[:, 2] << 4
    return np.stack((low, high), axis=1).ravel()


def _bits_of(table: _Table) -> tuple[Bits, Bits]:
    """Two bits of each entry: whether it is in use, and whether its chain goes on with the next one."""
    used, following = [], []
    bad = table.boot.width.bad
    for first, entries in table.pieces():
        if not first:
            _must_be_marked_clean(entries, table.boot)
            entries = np.concatenate((np.full(_FIRST, bad, np.uint32), entries[_FIRST:]))  # noqa: PLW2901
        if ((entries == 1) | (entries >= table.count) & (entries < bad)).any():
            raise NotFreeError(f"its FAT has entries that mean nothing: {_ADVICE}")
        numbers = np.arange(first + 1, first + len(entries) + 1, dtype=np.uint32)
        used.append(np.packbits(entries != 0, bitorder="little"))
        following.append(np.packbits(entries == numbers, bitorder="little"))
    return np.concatenate(used), np.concatenate(following)


def _must_be_marked_clean(entries: Entries, boot: Boot) -> None:
    if entries[0] & 0xFF != boot.media:
        raise NotFreeError(f"the first byte of its FAT contradicts its boot sector: {_ADVICE}")
    if ~entries[1] & boot.width.clean:
        raise NotFreeError(f"it was not unmounted cleanly: {_ADVICE}")
    if ~entries[1] & boot.width.no_errors:
        raise NotFreeError(f"errors were met when it was last in use: {_ADVICE}")


def _must_be_chains(table: _Table, used: Bits, following: Bits) -> None:
    """No link leads to what is free, and no two lead to one cluster."""
    elsewhere: list[Entries] = []
    for first, entries in table.pieces():
        numbers = np.arange(first, first + len(entries), dtype=np.uint32)
        links = (entries >= _FIRST) & (entries < table.count) & (numbers >= _FIRST)
        targets = entries[links]
        _must_be_used(used, targets, "a chain of its FAT")
        elsewhere.append(targets[targets != numbers[links] + 1])
        if sum(map(len, elsewhere)) > _MOST_FRAGMENTS:
            raise NotFreeError(
                f"its files are in more than {_MOST_FRAGMENTS} pieces, which is not compared", "unknown"
            )
    targets = np.sort(np.concatenate(elsewhere))
    if (targets[1:] == targets[:-1]).any() or _bits_at(following, targets - 1).any():
        raise NotFreeError(f"two chains of its FAT go through one cluster: {_ADVICE}")


def _must_be_used(used: Bits, clusters: NDArray[np.integer], what: str) -> None:
    free = np.flatnonzero(_bits_at(used, clusters) == 0)
    if len(free):
        raise NotFreeError(f"{what} leads to cluster {clusters[free[0]]}, which is free: {_ADVICE}")


def _bits_at(bits: Bits, numbers: NDArray[np.integer]) -> Bits:
    found: Bits = bits[numbers >> 3] >> (numbers & 7).astype(np.uint8) & 1
    return found
