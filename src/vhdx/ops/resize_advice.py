"""What keeps a disk from being smaller, and what makes use of one that became larger: by file system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdx.partitions.relocate import out_of_reach
from vhdx.units import MIB, format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vhdx.disk.volumes import FileSystemOn
    from vhdx.partitions.table import Partition, PartitionTable

_GROWING = {
    "ext2": ("resize2fs {device}",),
    "ext3": ("resize2fs {device}",),
    "ext4": ("resize2fs {device}",),
    "XFS": ("xfs_growfs MOUNTPOINT",),
    "btrfs": ("btrfs filesystem resize max MOUNTPOINT",),
    "NTFS": ("ntfsresize {device}",),
    "FAT16": ("fatresize -s max {device}",),
    "FAT32": ("fatresize -s max {device}",),
    "swap": ("mkswap {device}",),
    "LVM2 PV": ("pvresize {device}", "lvextend -r -l +100%FREE GROUP/VOLUME"),
    "LUKS": ("cryptsetup resize NAME",),
}
"""Commands of Linux, by kind; kinds that no program grows are not here."""


_NEVER_GROWING = frozenset({"exFAT", "FAT12"})


def last_partition(table: PartitionTable) -> Partition | None:
    """The partition that ends last, None where there is none."""
    return max(table.partitions, key=lambda partition: partition.end, default=None)


def file_system_in(partition: Partition | None, found: Sequence[FileSystemOn]) -> FileSystemOn | None:
    """What stands in a partition; without one, what stands on the whole disk."""
    number = None if partition is None else partition.number
    return next((one for one in found if one.partition == number and one.offset is not None), None)


def limit(partition: Partition | None, found: FileSystemOn | None) -> str:
    """Why the disk cannot be smaller: what ends last, and what in it would have to shrink first."""
    what = "" if partition is None else f"partition {partition.number} ends there"
    if found is None:
        return what
    name = f"its {found.kind}" + (f" {found.label!r}" if found.label else "")
    if partition is None:
        return f"{name} ends there, and would have to shrink first"
    if partition.length - found.size >= MIB and not found.reasons:
        sizes = f"{format_size(found.size)} of its {format_size(partition.length)}"
        return f"{what}; {name} takes only {sizes}, so the partition can shrink"
    return f"{what}; {name} would have to shrink first"


def growing(
    partition: Partition | None, found: FileSystemOn | None, *, grown: bool = False
) -> tuple[str, ...]:
    """The commands, in the guest, that let the last partition and its file system have new space.

    ``grown``: the partition has it already. None where it is the file system that cannot have it.
    """
    if found is not None and found.kind in _NEVER_GROWING:
        return ()
    first = () if partition is None or grown else (f"growpart /dev/sdX {partition.number}",)
    device = "/dev/sdX" if partition is None else f"/dev/sdX{partition.number}"
    commands = _GROWING.get(found.kind, ()) if found is not None else ()
    return (*first, *(command.format(device=device) for command in commands))


def useless(table: PartitionTable, disk_size: int, found: FileSystemOn | None) -> tuple[str, ...]:
    """Why nobody can make use of the end of a disk that became larger, as sentences."""
    sentences = []
    beyond = out_of_reach(table, disk_size)
    if beyond:
        sentences.append(
            f"an MBR reaches {format_size(disk_size - beyond)} here: the last {format_size(beyond)} "
            "of the disk can be in none of its partitions; a GPT reaches further"
        )
    if found is not None and found.kind in _NEVER_GROWING:
        sentences.append(
            f"no usual program makes {found.kind} larger: save its files, make it anew, and copy them back"
        )
    return tuple(sentences)
