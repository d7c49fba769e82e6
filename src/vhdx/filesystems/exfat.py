"""exFAT: what it is, whether it was unmounted cleanly, and whether its bitmap holds its own tables."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from vhdx.filesystems.base import Identity, NotFreeError, State
from vhdx.filesystems.exfat_boot import (
    BOOT_LENGTH,
    FIRST_CLUSTER,
    NAME,
    SECTOR_SHIFTS,
    Boot,
    is_sound,
    parsed,
)
from vhdx.filesystems.exfat_root import Clusters, Root, root_directory
from vhdx.filesystems.reading import NotUnderstood, within
from vhdx.filesystems.runs import joined_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.base import Read, Recognised, Runs

_KIND = "exFAT"
_BOOT_SECTORS = 12
_ADVICE = "run chkdsk or fsck.exfat on it"
_FLAGS = {
    2: f"it was not unmounted cleanly: {_ADVICE}",
    4: f"its medium had failures when it was last in use: {_ADVICE}",
}


def recognise(read: Read, size: int) -> Recognised | None:
    """The exFAT at the start of ``size`` bytes, or None."""
    if size < BOOT_LENGTH:
        return None
    start = read(BOOT_LENGTH, 0)
    if len(start) < BOOT_LENGTH or start[3:11] != NAME or start[108] not in SECTOR_SHIFTS:
        return None
    boot = parsed(start)
    if boot is None:
        return NotUnderstood(
            Identity(_KIND, None, None, 0, 0), "its boot sector is damaged, or of an unknown kind"
        )
    return Exfat(within(read, size), boot)


class Exfat:
    """An exFAT whose boot sector was understood."""

    def __init__(self, read: Read, boot: Boot) -> None:
        self._read, self._boot = read, boot
        self._clusters = Clusters(read, boot)

    @cached_property
    def identity(self) -> Identity:
        """What it says of itself."""
        boot = self._boot
        uuid = f"{boot.serial >> 16:04X}-{boot.serial & 0xFFFF:04X}"
        return Identity(_KIND, self._label(), uuid, boot.size, boot.cluster_size)

    @cached_property
    def _root(self) -> Root:
        return root_directory(self._clusters, self._boot)

    def _label(self) -> str | None:
        try:
            return self._root.label
        except NotFreeError:  # told by `trusted`
            return None

    def trusted(self) -> TrustedExfat:
        """Pass one: the boot region, its flags, and the root directory. Raises NotFreeError."""
        boot = self._boot
        if not is_sound(self._read(_BOOT_SECTORS * boot.sector_size, 0), boot.sector_size):
            raise NotFreeError(f"the checksum of its boot sectors is wrong: {_ADVICE}")
        for flag, reason in _FLAGS.items():
            if boot.flags & flag:
                raise NotFreeError(reason)
        if boot.fats != 1:
            raise NotFreeError("it has two FATs (TexFAT), which is not understood", "unknown")
        return TrustedExfat(boot, self._clusters, self._root)


class TrustedExfat:
    """An exFAT that was unmounted cleanly."""

    state: State = "clean"
    claimed_free: int | None = None

    def __init__(self, boot: Boot, clusters: Clusters, root: Root) -> None:
        self._boot, self._clusters, self._root = boot, clusters, root

    def agreed(self) -> AgreedExfat:
        """Pass two: the bitmap holds itself, the root directory and the table of upper case."""
        root = self._root
        for cluster in (*root.clusters, *root.bitmap.clusters, *root.upper_case.clusters):
            byte, bit = divmod(cluster - FIRST_CLUSTER, 8)
            if not self._clusters.read(root.bitmap, 1, byte)[0] >> bit & 1:
                raise NotFreeError(
                    f"cluster {cluster} holds its own tables and is free by its bitmap: {_ADVICE}"
                )
        return AgreedExfat(self._boot, self._clusters, root)


class AgreedExfat:
    """An exFAT whose bitmap holds its own tables."""

    def __init__(self, boot: Boot, clusters: Clusters, root: Root) -> None:
        self._boot, self._clusters, self._root = boot, clusters, root

    def free_runs(self) -> Iterator[Runs]:
        """The runs of free clusters; files without a chain are known to the bitmap only."""
        from vhdx.filesystems.bitmap import (  # noqa: PLC0415  needs numpy, which is slow to import
            clear_runs_in_pieces,
            in_bytes,
        )

        clear = joined_chunks(clear_runs_in_pieces(self._read, self._boot.clusters))
        return in_bytes(clear, self._boot.heap_offset, self._boot.cluster_size)

    def _read(self, length: int, offset: int) -> bytes:
        return self._clusters.read(self._root.bitmap, length, offset)
