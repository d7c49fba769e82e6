"""Pass two over an NTFS: what its files claim against its bitmap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.bitmap import clear_runs_in_pieces, in_bytes
from vhdx.filesystems.ntfs_claims import claims
from vhdx.filesystems.ntfs_record import DATA
from vhdx.filesystems.ntfs_volume import CLUSTER_BITMAP
from vhdx.filesystems.runs import joined_chunks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vhdx.filesystems.base import Runs
    from vhdx.filesystems.ntfs_boot import Boot
    from vhdx.filesystems.ntfs_volume import Stream, Volume

_AT_ONCE = 1 << 20
_MOST_PIECES = 8 << 20
"""Pieces of used space that are held: 128 MiB."""

_ADVICE = "run chkdsk in Windows, then shut it down"


class AgreedNtfs:
    """An NTFS whose bitmap holds every cluster of every file, each of one file only."""

    def __init__(self, boot: Boot, bitmap: Stream) -> None:
        self._boot, self._bitmap = boot, bitmap

    def free_runs(self) -> Iterator[Runs]:
        """The runs of free clusters."""
        clear = joined_chunks(clear_runs_in_pieces(self._bitmap.read, self._boot.clusters))
        return in_bytes(clear, 0, self._boot.cluster_size)


def agreed(volume: Volume) -> AgreedNtfs:
    """Raises NotFreeError where a file's cluster is free by the bitmap, or that of another file too."""
    boot = volume.boot
    bitmap = volume.stored(CLUSTER_BITMAP, DATA)
    if min(bitmap.length, bitmap.initialised) < -(-boot.clusters // 8):
        raise NotFreeError(f"its bitmap of clusters is too short: {_ADVICE}")
    used = _used(claims(volume.mft, boot.record_size, boot.clusters))
    if not len(used) or used[0, 0]:
        raise NotFreeError(f"no file of it holds its boot sector: {_ADVICE}")
    for free in clear_runs_in_pieces(bitmap.read, boot.clusters):
        _must_be_apart(free, used)
    return AgreedNtfs(boot, bitmap)


def _used(chunks: Iterable[Runs]) -> Runs:
    """All claims as few runs, ascending. Raises NotFreeError where two overlap."""
    used = np.empty((0, 2), np.int64)
    waiting: list[Runs] = []
    count = 0
    for runs in chunks:
        waiting.append(runs)
        count += len(runs)
        if count >= max(_AT_ONCE, len(used)):
            used, waiting, count = _merged([used, *waiting]), [], 0
    return _merged([used, *waiting])


def _merged(chunks: list[Runs]) -> Runs:
    runs = np.concatenate(chunks)
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    starts, ends = runs[:, 0], runs[:, 0] + runs[:, 1]
    overlapping = np.flatnonzero(starts[1:] < ends[:-1])
    if len(overlapping):
        raise NotFreeError(f"cluster {starts[overlapping[0] + 1]} belongs to two files: {_ADVICE}")
    begins = np.concatenate((np.ones(min(len(runs), 1), bool), starts[1:] != ends[:-1]))
    firsts = np.flatnonzero(begins)
    lasts = np.append(firsts[1:], len(runs))[: len(firsts)] - 1
    if len(firsts) > _MOST_PIECES:
        raise NotFreeError(
            f"its used space is in more than {_MOST_PIECES} pieces, which is not compared", "unknown"
        )
    return np.stack((starts[firsts], ends[lasts] - starts[firsts]), axis=1)


def _must_be_apart(free: Runs, used: Runs) -> None:
    ends = used[:, 0] + used[:, 1]
    following = np.searchsorted(ends, free[:, 0], "right")
    starts = np.append(used[:, 0], np.iinfo(np.int64).max)[following]
    wrong = np.flatnonzero(starts < free.sum(axis=1))
    if len(wrong):
        cluster = max(int(starts[wrong[0]]), int(free[wrong[0], 0]))
        raise NotFreeError(f"cluster {cluster} is free by its bitmap and belongs to a file: {_ADVICE}")
