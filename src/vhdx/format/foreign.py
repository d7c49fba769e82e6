"""What files of other programs begin with: they are neither raw disks nor damaged images. Pure."""

from __future__ import annotations

from typing import NamedTuple

PREFIX_SIZE = 128
"""Bytes of a file that tell what it is."""


class Foreign(NamedTuple):
    """What a file is, and what is to be done with it first."""

    kind: str
    advice: str


_CONVERT = "make a raw disk of it first, for one with qemu-img convert -O raw"
_DECOMPRESS = "decompress it first"
_EXPORT = "make a raw disk of it first, with ewfexport"
_BEGINNINGS = (
    (0, b"QFI\xfb", Foreign("a qcow2 image", _CONVERT)),
    (0, b"KDMV", Foreign("a VMDK", _CONVERT)),
    (0, b"# Disk DescriptorFile", Foreign("a VMDK", _CONVERT)),
    (64, b"\x7f\x10\xda\xbe", Foreign("a VDI", _CONVERT)),
    (
        0,
        b"EVF\x09\x0d\x0a\xff\x00",
        Foreign("an EWF image (E01)", _EXPORT),
    ),
    (0, b"\x1f\x8b\x08", Foreign("a file that gzip compressed", _DECOMPRESS)),
    (0, b"\xfd7zXZ\x00", Foreign("a file that xz compressed", _DECOMPRESS)),
    (0, b"\x28\xb5\x2f\xfd", Foreign("a file that zstd compressed", _DECOMPRESS)),
)
"""File offset, bytes, and what begins so. No boot sector, file system or partition table does."""


def foreign(prefix: bytes) -> Foreign | None:
    """What a file that begins so is, if it is of a known kind that this library does not read."""
    return next((found for at, magic, found in _BEGINNINGS if prefix[at:].startswith(magic)), None)
