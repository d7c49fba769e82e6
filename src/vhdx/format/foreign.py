"""What files of other programs begin with: they are neither raw disks nor damaged images. Pure."""

from __future__ import annotations

from vhdx.typed import NamedTuple

PREFIX_SIZE = 512
"""Bytes of a file that tell what it is."""
RAW_SUFFIXES = (".raw", ".img", ".dd", ".bin")
"""Of names that say that a file is a raw disk."""


class Foreign(NamedTuple):
    """What a file is, and what is to be done with it first."""

    kind: str
    advice: str


_CONVERT = "make a raw disk of it first, for one with qemu-img convert -O raw"
_DECOMPRESS = "decompress it first"
_UNPACK = "unpack it first"
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
    (0, b"PK\x03\x04", Foreign("a zip archive", _UNPACK)),
    (0, b"PK\x05\x06", Foreign("an empty zip archive", "get the file that should be in it")),
    (0, b"7z\xbc\xaf\x27\x1c", Foreign("a 7z archive", _UNPACK)),
    (257, b"ustar\x0000", Foreign("a tar archive", _UNPACK)),
    (257, b"ustar  \x00", Foreign("a tar archive", _UNPACK)),
    (
        0,
        b"version https://git-lfs.github.com/spec/",
        Foreign("a Git LFS pointer, which stands for a file", "get that with git lfs pull"),
    ),
    (0, b"\x1f\x8b\x08", Foreign("a file that gzip compressed", _DECOMPRESS)),
    (0, b"\xfd7zXZ\x00", Foreign("a file that xz compressed", _DECOMPRESS)),
    (0, b"\x28\xb5\x2f\xfd", Foreign("a file that zstd compressed", _DECOMPRESS)),
)
"""File offset, bytes, and what begins so. No boot sector, file system or partition table does."""
_PAGE = Foreign("a page of a web site", "what was downloaded is not the file: download it again")
_PAGES = (b"<!doctype html", b"<html", b"<?xml")
_BEFORE_PAGES = b"\xef\xbb\xbf \t\r\n"
ZEROS = Foreign("nothing but zeros at its beginning", "a copy or a download that broke off leaves such files")
"""Of what should be an image; a raw disk may well begin so."""


def foreign(prefix: bytes) -> Foreign | None:
    """What a file that begins so is, if it is of a known kind that this library does not read."""
    if prefix.lstrip(_BEFORE_PAGES)[:16].lower().startswith(_PAGES):
        return _PAGE
    return next((found for at, magic, found in _BEGINNINGS if prefix[at:].startswith(magic)), None)


def foreign_to_images(prefix: bytes) -> Foreign | None:
    """The same of a file that should be an image and not a raw disk, which begins with a signature."""
    return foreign(prefix) if any(prefix) or not prefix else ZEROS
