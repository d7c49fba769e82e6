"""Pass two over an NTFS: what its files claim against its bitmap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.filesystems.bitmap import clear_runs_in_pieces, in_bytes
from vhdx.filesystems.claims import must_be_apart, used_runs
from vhdx.filesystems.ntfs_claims import claims
from vhdx.filesystems.ntfs_record import ADVICE, DATA, damaged
from vhdx.filesystems.ntfs_volume import CLUSTER_BITMAP
from vhdx.filesystems.runs import joined_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.base import Runs
    from vhdx.filesystems.ntfs_boot import Boot
    from vhdx.filesystems.ntfs_volume import Stream, Volume


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
        raise damaged("its bitmap of clusters is too short")
    used = used_runs(claims(volume.mft, boot.record_size, boot.clusters), ADVICE)
    if not len(used) or used[0, 0]:
        raise damaged("no file of it holds its boot sector")
    for free in clear_runs_in_pieces(bitmap.read, boot.clusters):
        must_be_apart(free, used, ADVICE)
    return AgreedNtfs(boot, bitmap)
