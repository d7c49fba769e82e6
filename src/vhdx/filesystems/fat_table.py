"""Pass two over a FAT: its copies against each other, and each chain against what is free."""

from __future__ import annotations

import numpy as np

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.bitmap import clear_runs_in_pieces, in_bytes
from vhdx.filesystems.runs import joined_chunks
from vhdx.typed import TYPE_CHECKING, NamedTuple

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
    chains = _chains(table)
    root = boot.root_cluster
    if root is not None:
        if not _FIRST <= root < table.count:
            raise NotFreeError(f"its root directory is outside of it: {_ADVICE}")
        _must_be_used(chains.used, np.array([root]), "its root directory")
    _must_be_right(chains)
    return AgreedFat(boot, chains.used)


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


class _Chains(NamedTuple):
    """Bits of each entry: whether it is in use, and whether its chain goes on with the next one.

    ``elsewhere`` are the entries with which chains go on that do not. Behind the last entry are clear bits.
    """

    used: Bits
    following: Bits
    elsewhere: Entries


def _chains(table: _Table) -> _Chains:
    used, following, elsewhere = [], [], []
    for first, entries in table.pieces():
        if not first:
            _must_be_marked_clean(entries, table.boot)
            entries = np.concatenate((np.full(_FIRST, table.boot.width.bad), entries[_FIRST:]))  # noqa: PLW2901
        in_use = entries != 0
        next_one = entries == np.arange(first + 1, first + len(entries) + 1, dtype=np.uint32)
        used.append(np.packbits(in_use, bitorder="little"))
        following.append(np.packbits(next_one, bitorder="little"))
        elsewhere.append(_links(entries[in_use & ~next_one], table))
        if sum(map(len, elsewhere)) > _MOST_FRAGMENTS:
            raise NotFreeError(
                f"its files are in more than {_MOST_FRAGMENTS} pieces, which is not compared", "unknown"
            )
    behind = np.zeros(1, np.uint8)
    return _Chains(
        np.concatenate((*used, behind)), np.concatenate((*following, behind)), np.concatenate(elsewhere)
    )


def _links(entries: Entries, table: _Table) -> Entries:
    """Those of used entries that lead to another one; the others end a chain, or mark a bad cluster."""
    if ((entries < _FIRST) | (entries >= table.count) & (entries < table.boot.width.bad)).any():
        raise NotFreeError(f"its FAT has entries that mean nothing: {_ADVICE}")
    return entries[entries < table.count].astype(np.uint32)


def _must_be_marked_clean(entries: Entries, boot: Boot) -> None:
    if entries[0] & 0xFF != boot.media:
        raise NotFreeError(f"the first byte of its FAT contradicts its boot sector: {_ADVICE}")
    if ~entries[1] & boot.width.clean:
        raise NotFreeError(f"it was not unmounted cleanly: {_ADVICE}")
    if ~entries[1] & boot.width.no_errors:
        raise NotFreeError(f"errors were met when it was last in use: {_ADVICE}")


def _must_be_right(chains: _Chains) -> None:
    """No link leads to what is free, and no two lead to one cluster."""
    used, following, targets = chains
    _must_be_used(used, targets, "a chain of its FAT")
    before = np.concatenate((np.zeros(1, np.uint8), following[:-1])) >> 7
    lost = np.flatnonzero((following << 1 | before) & ~used)
    if len(lost):
        raise NotFreeError(f"a chain of its FAT leads to a free cluster near {lost[0] * 8}: {_ADVICE}")
    targets = np.sort(targets)
    if (targets[1:] == targets[:-1]).any() or _bits_at(following, targets - 1).any():
        raise NotFreeError(f"two chains of its FAT go through one cluster: {_ADVICE}")


def _must_be_used(used: Bits, clusters: NDArray[np.integer], what: str) -> None:
    free = np.flatnonzero(_bits_at(used, clusters) == 0)
    if len(free):
        raise NotFreeError(f"{what} leads to cluster {clusters[free[0]]}, which is free: {_ADVICE}")


def _bits_at(bits: Bits, numbers: NDArray[np.integer]) -> Bits:
    found: Bits = bits[numbers >> 3] >> (numbers & 7).astype(np.uint8) & 1
    return found
