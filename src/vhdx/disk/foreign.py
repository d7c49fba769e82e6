"""What files of other programs begin with: they must not be taken for raw disks, as anything else is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vhdx.storage.base import ReadableStorage

_BEGINNINGS = (
    (0, b"QFI\xfb", "a qcow2 image"),
    (0, b"KDMV", "a VMDK"),
    (0, b"# Disk DescriptorFile", "a VMDK"),
    (64, b"\x7f\x10\xda\xbe", "a VDI"),
    (0, b"EVF\x09\x0d\x0a\xff\x00", "an EWF image (E01)"),
    (0, b"\x1f\x8b\x08", "a file that gzip compressed"),
    (0, b"\xfd7zXZ\x00", "a file that xz compressed"),
    (0, b"\x28\xb5\x2f\xfd", "a file that zstd compressed"),
)
"""File offset, bytes, and what begins so. No boot sector, file system or partition table does."""


def foreign_kind(storage: ReadableStorage) -> str | None:
    """What the file is, if it is of a known kind that this library does not read."""
    start = storage.read(min(storage.size(), 128), 0)
    return next((kind for at, magic, kind in _BEGINNINGS if start[at:].startswith(magic)), None)
