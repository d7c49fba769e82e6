"""A file system on a new disk, in a partition if that is wanted, and files in it."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from typing import TYPE_CHECKING, Literal, NamedTuple
from uuid import UUID, uuid4

from vhdx.disk.raw import RawDisk
from vhdx.filesystems import fat_making
from vhdx.ops.files.insert import InsertOptions, insert
from vhdx.ops.make import host_mkfs
from vhdx.partitions.making import Made, gpt_with_one, mbr_with_one
from vhdx.storage.file import open_for_reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdx.disk.base import VirtualDisk

FileSystemKind = Literal["fat12", "fat16", "fat32", "exfat", "ext2", "ext3", "ext4", "ntfs", "xfs"]
TableKind = Literal["gpt", "mbr"]
KINDS = (*fat_making.KINDS, *host_mkfs.PROGRAMS)
_BASIC_DATA = UUID("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7")
_LINUX = UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
_EFI_SYSTEM, _EFI_SYSTEM_MBR = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"), 0xEF
_TYPES = {
    "fat12": (_BASIC_DATA, 0x01),
    "fat16": (_BASIC_DATA, 0x0E),
    "fat32": (_BASIC_DATA, 0x0C),
    "exfat": (_BASIC_DATA, 0x07),
    "ntfs": (_BASIC_DATA, 0x07),
    **dict.fromkeys(("ext2", "ext3", "ext4", "xfs"), (_LINUX, 0x83)),
}
"""Of a GPT, of an MBR."""
_PIECE = 1 << 20


class Formatting(NamedTuple):
    """What is to stand on the disk: a ``kind`` of file system, in a table of ``partition``'s kind or without.

    ``contents`` is a directory of the host whose files are put into it, ``efi`` makes the partition an EFI
    system partition.
    """

    kind: FileSystemKind
    partition: TableKind | None = None
    label: str | None = None
    contents: str | None = None
    efi: bool = False

    def check(self) -> None:
        """Raise ValueError, OSError for what can be told to fail before anything is made."""
        if self.kind not in KINDS:
            raise ValueError(f"file_system is {self.kind!r}, must be one of {', '.join(KINDS)}")
        if self.efi and (self.partition is None or self.kind not in fat_making.KINDS):
            raise ValueError("an EFI system partition is a partition with a FAT")
        if self.contents is not None and not os.path.isdir(self.contents):
            raise NotADirectoryError(20, "Not a directory", self.contents)
        if self.kind in fat_making.KINDS:
            if self.label is not None:
                fat_making.checked_label(self.label)
        else:
            host_mkfs.check(self.kind, has_contents=self.contents is not None)


def format_disk(disk: VirtualDisk, formatting: Formatting, beside: str, tell: Callable[[str], None]) -> None:
    """Write it all on a disk of zeros; ``beside`` is a directory with room for a raw file, if one is needed.

    Raises ValueError for sizes that the kind cannot have, OSError where a program of the host is missing or
    fails.
    """
    place = _partitioned(disk, formatting)
    unit = disk.logical_sector_size
    if formatting.kind in fat_making.KINDS:
        found = fat_making.shape(formatting.kind, place.length, unit)
        serial, hidden = secrets.randbits(32), place.offset // unit
        for offset, data in fat_making.made(found, label=formatting.label, serial=serial, hidden=hidden):
            disk.pwrite(data, place.offset + offset)
    else:
        _made_by_host(disk, place, formatting, beside)
    for patch in place.patches:
        disk.pwrite(patch.data, patch.disk_offset)
    if formatting.contents is not None and formatting.kind not in host_mkfs.FILLING:
        options = InsertOptions(recursive=True, contents=True)
        insert(disk, [formatting.contents], "/", tell=tell, options=options)


def _partitioned(disk: VirtualDisk, formatting: Formatting) -> Made:
    """The table, and the place of the only partition; the whole disk where there is none."""
    gpt_type, mbr_type = (_EFI_SYSTEM, _EFI_SYSTEM_MBR) if formatting.efi else _TYPES[formatting.kind]
    size, unit = disk.size, disk.logical_sector_size
    if formatting.partition is None:
        return Made((), 0, size)
    if formatting.partition == "mbr":
        return mbr_with_one(size, unit, mbr_type, disk_id=secrets.randbits(32) | 1)
    name = formatting.label or ("EFI system partition" if formatting.efi else "")
    return gpt_with_one(size, unit, gpt_type, name, disk_id=uuid4(), unique_id=uuid4())


def _made_by_host(disk: VirtualDisk, place: Made, formatting: Formatting, beside: str) -> None:
    """By the host's mkfs on a raw file, of which everything that is not a hole is copied."""
    with contextlib.ExitStack() as held:
        file = held.enter_context(tempfile.NamedTemporaryFile(dir=beside, prefix="vhdx-", suffix=".raw"))
        file.truncate(place.length)
        unit = disk.logical_sector_size
        asked = host_mkfs.Asked(
            formatting.kind, file.name, unit, place.offset // unit, formatting.label, formatting.contents
        )
        host_mkfs.run(asked)
        raw = held.enter_context(RawDisk(open_for_reading(file.name)))
        for start, length in raw.data_ranges():
            for offset in range(start, start + length, _PIECE):
                data = raw.pread(min(_PIECE, start + length - offset), offset)
                if any(data):
                    disk.pwrite(data, place.offset + offset)
