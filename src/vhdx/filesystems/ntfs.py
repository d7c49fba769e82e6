"""NTFS: what it is, and whether it was left by Windows so that its bitmap may be believed."""

from __future__ import annotations

from functools import cached_property

from vhdx.filesystems import ntfs_log
from vhdx.filesystems.base import Identity, NotFreeError, State
from vhdx.filesystems.bits import clear_count
from vhdx.filesystems.ntfs_boot import BOOT_LENGTH, NAME, Boot, parsed
from vhdx.filesystems.ntfs_index import is_hibernated
from vhdx.filesystems.ntfs_record import ADVICE, DATA, VOLUME_INFORMATION, VOLUME_NAME, damaged
from vhdx.filesystems.ntfs_volume import CLUSTER_BITMAP, LOG_FILE, VOLUME, Volume
from vhdx.filesystems.reading import NotUnderstood, within
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.filesystems.base import Read, Recognised
    from vhdx.filesystems.ntfs_agree import AgreedNtfs

_KIND = "NTFS"
_VERSIONS = ((1, 2), (3, 0), (3, 1))
_FLAGS = {
    0x0001: f"it is marked as dirty: {ADVICE}",
    0x0002: "the size of its log is about to change: start Windows with it once, then shut it down",
    0x4000: f"chkdsk was changing it: {ADVICE}",
}
_SHADOW_AT = 0x1E00
_SHADOW_NAME = bytes.fromhex("6b87083876c1484eb7ae04046e6cc752")
_SHADOW_LENGTH = 0x38
_SHADOW_CATALOGUE = slice(0x30, 0x38)
_SHADOWS = (
    "it has shadow copies, which read free clusters too: delete them in Windows "
    "(`vssadmin delete shadows /all`), then shut it down"
)
_HIBERNATED = "Windows is hibernated on it: resume it, then shut it down with `shutdown /s /f /t 0`"


def recognise(read: Read, size: int) -> Recognised | None:
    """The NTFS at the start of ``size`` bytes, or None."""
    if size < BOOT_LENGTH:
        return None
    start = read(BOOT_LENGTH, 0)
    if start[3:11] != NAME or len(start) < BOOT_LENGTH:
        return None
    boot = parsed(start)
    if boot is None:
        return NotUnderstood(
            Identity(_KIND, None, None, 0, 0), "its boot sector is damaged, or of an unknown kind"
        )
    return Ntfs(within(read, size), boot)


def hibernated(read: Read, size: int) -> bool:
    """Whether a Windows hibernated on this NTFS, or keeps it; then it has others of its disk in memory too.

    Raises NotFreeError where that cannot be found out.
    """
    boot = parsed(within(read, size)(BOOT_LENGTH, 0))
    if boot is None:
        return False
    volume = Volume(within(read, size), boot)
    return ntfs_log.is_kept(volume.stored(LOG_FILE, DATA)) or is_hibernated(volume)


class Ntfs:
    """An NTFS whose boot sector was understood."""

    def __init__(self, read: Read, boot: Boot) -> None:
        self._read, self._boot = read, boot

    @cached_property
    def identity(self) -> Identity:
        """What it says of itself."""
        boot = self._boot
        return Identity(_KIND, self._label(), f"{boot.serial:016X}", boot.size, boot.cluster_size)

    def _label(self) -> str | None:
        try:
            name = Volume(self._read, self._boot).value(VOLUME, VOLUME_NAME)
        except NotFreeError:  # told by `trusted` where it matters
            return None
        return name.decode("utf-16-le", "replace") or None

    def trusted(self) -> TrustedNtfs:
        """Pass one: volume, log and snapshots. Raises NotFreeError."""
        volume = Volume(self._read, self._boot)
        _must_be_known(volume.value(VOLUME, VOLUME_INFORMATION))
        ntfs_log.must_be_clean(volume.stored(LOG_FILE, DATA))
        self._must_have_no_shadows()
        if is_hibernated(volume):
            raise NotFreeError(_HIBERNATED)
        return TrustedNtfs(volume)

    def _must_have_no_shadows(self) -> None:
        start = self._read(_SHADOW_LENGTH, _SHADOW_AT)
        if start.startswith(_SHADOW_NAME) and any(start[_SHADOW_CATALOGUE]):
            raise NotFreeError(_SHADOWS)


def _must_be_known(information: bytes) -> None:
    if len(information) < 12:
        raise damaged("its volume information is too short")
    version = information[8], information[9]
    if version not in _VERSIONS:
        raise NotFreeError(f"its version {version[0]}.{version[1]} is not known here", "unknown")
    flags = int.from_bytes(information[10:12], "little")
    for flag, reason in _FLAGS.items():
        if flags & flag:
            raise NotFreeError(reason)


class TrustedNtfs:
    """An NTFS that was unmounted cleanly, as far as it tells."""

    state: State = "clean"

    def __init__(self, volume: Volume) -> None:
        self._volume = volume

    @property
    def claimed_free(self) -> int | None:
        """What its bitmap says, where that is short. Raises NotFreeError where there is none."""
        boot = self._volume.boot
        clusters = clear_count(self._volume.stored(CLUSTER_BITMAP, DATA).read, boot.clusters)
        return None if clusters is None else clusters * boot.cluster_size

    def agreed(self) -> AgreedNtfs:
        """Pass two: every file against the bitmap. Raises NotFreeError."""
        from vhdx.filesystems.ntfs_agree import agreed  # noqa: PLC0415  needs numpy, which is slow to import

        return agreed(self._volume)
