"""A volume that files may be put into: one that was unmounted and agrees with itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from vhdx.filesystems import exfat, fat
from vhdx.filesystems.base import NotFreeError, examine
from vhdx.filesystems.exfat_boot import BOOT_LENGTH
from vhdx.filesystems.exfat_boot import parsed as parsed_exfat
from vhdx.filesystems.exfat_root import Clusters, root_directory
from vhdx.filesystems.fat_boot import parsed as parsed_fat
from vhdx.filesystems.insert.agree import check_tree
from vhdx.filesystems.insert.exfat import ExfatLayout
from vhdx.filesystems.insert.fat import FatLayout
from vhdx.filesystems.insert.inserter import Inserter
from vhdx.filesystems.insert.space import FreeClusters
from vhdx.filesystems.reading import within

if TYPE_CHECKING:
    from vhdx.filesystems.base import Read
    from vhdx.filesystems.exfat_boot import Boot as ExfatBoot
    from vhdx.filesystems.fat_boot import Boot as FatBoot
    from vhdx.filesystems.insert.base import Layout

KINDS = ("FAT12", "FAT16", "FAT32", "exFAT")
"""By the names of `filesystems/detect`."""


def open_inserter(kind: str, read: Read, size: int) -> Inserter:
    """What puts files into a volume of this kind, which fills ``size`` bytes at most.

    Raises NotFreeError where it was not unmounted cleanly, or does not agree with itself.
    """
    recognise = exfat.recognise if kind == "exFAT" else fat.recognise
    found = recognise(read, size)
    if found is None:
        raise NotFreeError(f"it is no {kind} any more")
    examined = examine(found, size)
    if examined.file_system.reasons:
        raise NotFreeError("; ".join(examined.file_system.reasons))
    layout = _layout(kind, within(read, size))
    return Inserter(layout, FreeClusters(layout, examined.free_ranges(), examined.file_system.free or 0))


def _layout(kind: str, read: Read) -> Layout:
    """Its layout; what was examined is understood."""
    start = read(BOOT_LENGTH, 0)
    if kind == "exFAT":
        boot = cast("ExfatBoot", parsed_exfat(start))
        clusters = Clusters(read, boot)
        return ExfatLayout(read, boot, clusters, root_directory(clusters, boot))
    layout = FatLayout(read, cast("FatBoot", parsed_fat(start)))
    check_tree(layout)
    return layout
