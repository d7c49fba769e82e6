"""Pass two over an exFAT: the clusters of all its files and directories against its bitmap."""

from __future__ import annotations

from itertools import chain

import numpy as np

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.bitmap import clear_runs_in_pieces, in_bytes
from vhdx.filesystems.claims import must_be_apart, used_runs
from vhdx.filesystems.exfat_boot import FIRST_CLUSTER
from vhdx.filesystems.exfat_root import LONGEST_DIRECTORY, Area
from vhdx.filesystems.runs import joined_chunks
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from vhdx.filesystems.base import Runs
    from vhdx.filesystems.exfat_boot import Boot
    from vhdx.filesystems.exfat_root import Clusters, Root

_ENTRY_LENGTH = 32
_END, _FILE, _SECONDARY = 0x00, 0x85, 0xC0
_HAS_CLUSTERS, _NO_CHAIN = 1, 2
_DIRECTORY = 0x10
_FIRST_PIECE, _LONGEST_PIECE = 4 << 10, 1 << 20
_ADVICE = "run chkdsk or fsck.exfat on it"


class AgreedExfat:
    """An exFAT whose bitmap holds every cluster of its files, directories and tables."""

    def __init__(self, boot: Boot, clusters: Clusters, root: Root) -> None:
        self._boot, self._clusters, self._root = boot, clusters, root

    def free_runs(self) -> Iterator[Runs]:
        """The runs of free clusters."""
        return in_bytes(joined_chunks(self.clear()), self._boot.heap_offset, self._boot.cluster_size)

    def clear(self) -> Iterator[Runs]:
        """The runs of clear bits; bit 0 is cluster 2."""
        return clear_runs_in_pieces(self._read, self._boot.clusters)

    def _read(self, length: int, offset: int) -> bytes:
        return self._clusters.read(self._root.bitmap, length, offset)


def agreed(boot: Boot, clusters: Clusters, root: Root) -> AgreedExfat:
    """Raises NotFreeError where a file's cluster is free by the bitmap, or that of another file too."""
    found = AgreedExfat(boot, clusters, root)
    own = (_runs_of(area) for area in (root.clusters, root.bitmap.clusters, root.upper_case.clusters))
    used = used_runs(chain(own, _Tree(boot, clusters).claims(root.clusters)), _ADVICE)
    for free in found.clear():
        must_be_apart(free + np.array([FIRST_CLUSTER, 0], np.int64), used, _ADVICE)
    return found


class _Stored(NamedTuple):
    """What directory entries say of bytes in clusters, entry by entry."""

    first: NDArray[np.int64]
    counts: NDArray[np.int64]
    in_one_piece: NDArray[np.bool_]
    is_directory: NDArray[np.bool_]


class _Tree:
    """All directories, each once."""

    def __init__(self, boot: Boot, clusters: Clusters) -> None:
        self._boot, self._clusters = boot, clusters
        self._left = boot.clusters

    def claims(self, root: list[int]) -> Iterator[Runs]:
        """The runs of all files and directories below the root, in no order."""
        seen = {root[0]}
        waiting = [root]
        while waiting:
            stored = self._entries(waiting.pop())
            self._must_fit(stored)
            whole = stored.in_one_piece
            yield np.stack((stored.first[whole], stored.counts[whole]), axis=1)
            for index in np.flatnonzero(~whole | stored.is_directory).tolist():
                area = self._area(stored, index)
                if not whole[index]:
                    yield _runs_of(area)
                if stored.is_directory[index]:
                    if area[0] in seen:
                        raise NotFreeError(f"a directory of it stands in two places: {_ADVICE}")
                    seen.add(area[0])
                    waiting.append(area)

    def _must_fit(self, stored: _Stored) -> None:
        """So that no more is followed than the volume has."""
        first, counts, whole, is_directory = stored
        self._left -= int(counts.sum())
        end = self._boot.clusters + FIRST_CLUSTER
        inside = (first >= FIRST_CLUSTER) & (first <= end - np.where(whole, counts, 1))
        small = counts[is_directory] * self._boot.cluster_size <= LONGEST_DIRECTORY + self._boot.cluster_size
        if self._left < 0 or not inside.all() or not small.all():
            raise NotFreeError(f"files of it have more clusters than there are: {_ADVICE}")

    def _area(self, stored: _Stored, index: int) -> list[int]:
        first, count = int(stored.first[index]), int(stored.counts[index])
        if stored.in_one_piece[index]:
            return list(range(first, first + count))
        return self._clusters.first_of_chain(first, count)

    def _listing(self, directory: list[int]) -> bytes:
        """The entries of a directory before its end, behind which may be much more."""
        area = Area(directory, len(directory) * self._boot.cluster_size)
        pieces: list[bytes] = []
        offset, length = 0, _FIRST_PIECE
        while offset < area.length:
            length = min(length, area.length - offset)
            piece = self._clusters.read(area, length, offset)
            ends = np.flatnonzero(np.frombuffer(piece, np.uint8)[::_ENTRY_LENGTH] == _END)
            pieces.append(piece[: ends[0] * _ENTRY_LENGTH] if len(ends) else piece)
            if len(ends):
                break
            offset, length = offset + length, min(2 * length, _LONGEST_PIECE)
        return b"".join(pieces)

    def _entries(self, directory: list[int]) -> _Stored:
        entries = np.frombuffer(self._listing(directory), np.uint8).reshape(-1, _ENTRY_LENGTH)
        kinds, flags = entries[:, 0], entries[:, 1]
        after_file = np.concatenate((np.zeros(1, bool), kinds[:-1] == _FILE))[: len(kinds)]
        attributes = np.roll(entries[:, 4], 1)
        words, lengths = entries.view("<u4"), entries.view("<u8")[:, 3]
        stored = (kinds >= _SECONDARY) & (flags & _HAS_CLUSTERS != 0) & (lengths > 0)
        counts = (
            np.minimum((lengths[stored] - 1) // np.uint64(self._boot.cluster_size), self._boot.clusters) + 1
        )
        return _Stored(
            words[stored, 5].astype(np.int64),
            counts.astype(np.int64),
            flags[stored] & _NO_CHAIN != 0,
            (after_file & (attributes & _DIRECTORY != 0))[stored],
        )


def _runs_of(clusters: list[int]) -> Runs:
    """Clusters as runs, in the order of their chain."""
    numbers = np.array(clusters, np.int64)
    starts = np.flatnonzero(np.diff(numbers, prepend=-1) != 1)
    return np.stack((numbers[starts], np.diff(starts, append=len(numbers))), axis=1)
