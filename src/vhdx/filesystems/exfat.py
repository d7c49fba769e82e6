"""exFAT: what it is, and whether it was unmounted cleanly."""

from __future__ import annotations

from functools import cached_property, partial

from vhdx.filesystems.base import Identity, NotFreeError, State
from vhdx.filesystems.bits import clear_count
from vhdx.filesystems.exfat_boot import (
    BOOT_LENGTH,
    NAME,
    SECTOR_SHIFTS,
    Boot,
    is_sound,
    parsed,
)
from vhdx.filesystems.exfat_root import Clusters, Root, root_directory
from vhdx.filesystems.reading import NotUnderstood, within
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.filesystems.base import Read, Recognised
    from vhdx.filesystems.exfat_files import AgreedExfat

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

    def __init__(self, boot: Boot, clusters: Clusters, root: Root) -> None:
        self._boot, self._clusters, self._root = boot, clusters, root

    @property
    def claimed_free(self) -> int | None:
        """What its bitmap says, where that is short."""
        clusters = clear_count(partial(self._clusters.read, self._root.bitmap), self._boot.clusters)
        return None if clusters is None else clusters * self._boot.cluster_size

    def agreed(self) -> AgreedExfat:
        """Pass two: all files against the bitmap. Raises NotFreeError."""
        from vhdx.filesystems.exfat_files import agreed  # noqa: PLC0415  needs numpy, which is slow to import

        return agreed(self._boot, self._clusters, self._root)
