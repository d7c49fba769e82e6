"""FAT12, FAT16 and FAT32: what it is, and whether it was unmounted cleanly."""

from __future__ import annotations

from array import array

from vhdx.filesystems.base import Identity, NotFreeError, State
from vhdx.filesystems.fat_boot import BOOT_LENGTH, Boot, is_fat, parsed, width
from vhdx.filesystems.reading import NotUnderstood, within
from vhdx.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.filesystems.base import Read, Recognised
    from vhdx.filesystems.fat_table import AgreedFat

_NO_NAME = "NO NAME"
_FIRST = 2
"""The entry of the first cluster."""
_SHORT_TABLE = 8 << 20
"""Bytes that are read for one number: two million clusters of FAT32."""


def recognise(read: Read, size: int) -> Recognised | None:
    """The FAT at the start of ``size`` bytes, or None."""
    if size < BOOT_LENGTH:
        return None
    start = read(BOOT_LENGTH, 0)
    if len(start) < BOOT_LENGTH or not is_fat(start):
        return None
    boot = parsed(start)
    if isinstance(boot, str):
        return NotUnderstood(Identity(width(start).kind, None, None, 0, 0), boot)
    return Fat(within(read, size), boot, start)


class Fat:
    """A FAT whose boot sector was understood."""

    def __init__(self, read: Read, boot: Boot, start: bytes) -> None:
        self._read, self._boot = read, boot
        kind = boot.width
        serial = int.from_bytes(start[kind.serial_at : kind.serial_at + 4], "little")
        label = start[kind.serial_at + 4 : kind.serial_at + 15].decode("latin-1").rstrip(" \0")
        self.identity = Identity(
            kind.kind,
            None if label == _NO_NAME else label or None,
            f"{serial >> 16:04X}-{serial & 0xFFFF:04X}",
            boot.size,
            boot.cluster_size,
        )

    def trusted(self) -> TrustedFat:
        """Pass one: the byte that those who mount it set; the bits in its table belong to pass two."""
        if self._boot.in_use:
            raise NotFreeError("it was not unmounted cleanly: run chkdsk or fsck.fat on it")
        return TrustedFat(self._read, self._boot)


class TrustedFat:
    """A FAT that nobody has mounted, by its boot sector."""

    state: State = "clean"

    def __init__(self, read: Read, boot: Boot) -> None:
        self._read, self._boot = read, boot

    @property
    def claimed_free(self) -> int | None:
        """The clusters whose entry is 0, where the table is short; FAT32's own count is only a hint."""
        boot, count = self._boot, self._boot.clusters + _FIRST
        length = -(-count * boot.width.bits // 8)
        if length > _SHORT_TABLE:
            return None
        table = self._read(length, boot.fat_offset + boot.copies[0] * boot.fat_length)
        return _zeros(table, boot.width.bits, count) * boot.cluster_size

    def agreed(self) -> AgreedFat:
        """Pass two: the whole table. Raises NotFreeError."""
        from vhdx.filesystems.fat_table import agreed  # noqa: PLC0415  needs numpy, which is slow to import

        return agreed(self._read, self._boot)


def _zeros(table: bytes, bits: int, count: int) -> int:
    """How many of the entries of clusters are 0. The upper four bits of FAT32's say nothing."""
    if bits == 12:
        pairs = [int.from_bytes(table[at : at + 3], "little") for at in range(0, len(table), 3)]
        entries = [entry for pair in pairs for entry in (pair & 0xFFF, pair >> 12)]
        return entries[_FIRST:count].count(0)
    return array("H" if bits == 16 else "I", table)[_FIRST:].count(0)
