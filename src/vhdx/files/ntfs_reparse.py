"""Reparse points of NTFS: what they make of a file, and why its contents may not be where they should be."""

from __future__ import annotations

import struct

from vhdx.errors import FileSystemError
from vhdx.files.base import Kind
from vhdx.typed import NamedTuple

WOF = 0x80000017
"""Compressed by Windows ("CompactOS"), behind the file's back."""
_MOUNT_POINT, _SYMLINK, _LX_SYMLINK = 0xA0000003, 0xA000000C, 0xA000001D
_CLOUD, _CLOUD_MASK = 0x9000001A, 0xFFFF0FFF
_KINDS = {
    _MOUNT_POINT: Kind.SYMLINK,
    _SYMLINK: Kind.SYMLINK,
    _LX_SYMLINK: Kind.SYMLINK,
    0x80000023: Kind.SOCKET,
    0x80000024: Kind.FIFO,
    0x80000025: Kind.CHARACTER_DEVICE,
    0x80000026: Kind.BLOCK_DEVICE,
}
_ELSEWHERE = {
    _CLOUD: "in the cloud (OneDrive and its like), not or not all of it on the disk",
    0x80000013: "in Windows' store of deduplicated chunks",
    0x80000015: "in the cloud (OneDrive of Windows 8.1)",
    0x8000001B: "in a package of the Store",
    0xC0000004: "on other storage (hierarchical storage management)",
    0x80000006: "on other storage (hierarchical storage management)",
}
_IN_A_WIM = "in a WIM archive (WIMBoot)"
_WOF_PROVIDER_AT, _WOF_OF_FILES, _WOF_ALGORITHM_AT = slice(12, 16), 2, slice(20, 24)
WOF_LZX = 1
_NAMES = struct.Struct("<HHHH")  # offset and length of the substitute and of the printed name
_NAMES_AT = {_MOUNT_POINT: 8, _SYMLINK: 12}
"""Links by names, and how far behind the header these stand."""
_HEADER = 8
_DEVICE = b"$LXDEV"
_OF_NT = (("\\??\\UNC\\", "\\\\"), ("\\??\\Volume{", "\\\\?\\Volume{"), ("\\??\\", ""))
"""How names of the kernel begin, and the same for people."""


class Reparse(NamedTuple):
    """``kind`` is None where the file stays what it is, ``target`` that of links.

    ``elsewhere`` says where its contents are if they are not on the volume, None if they are; ``algorithm``
    how Windows compressed them.
    """

    tag: int
    kind: Kind | None = None
    target: str | None = None
    elsewhere: str | None = None
    algorithm: int | None = None

    @property
    def is_cloud(self) -> bool:
        """Whether it belongs to the cloud, which leaves it where it was once its contents are here."""
        return self.tag & _CLOUD_MASK == _CLOUD


NONE = Reparse(0)


def parsed(value: bytes) -> Reparse:
    """What a reparse point says. Raises FileSystemError where it is cut off."""
    if len(value) < _HEADER:
        raise FileSystemError("its reparse point is cut off")
    tag = int.from_bytes(value[:4], "little")
    kind = _KINDS.get(tag)
    if kind is Kind.SYMLINK:
        target = _target(tag, value)
        return Reparse(tag, None if target is None else kind, target, "behind a link that is cut off")
    algorithm = int.from_bytes(value[_WOF_ALGORITHM_AT], "little") if tag == WOF else None
    return Reparse(tag, kind, None, None if kind else _elsewhere(tag, value), algorithm)


def _elsewhere(tag: int, value: bytes) -> str | None:
    if tag == WOF:
        provider = int.from_bytes(value[_WOF_PROVIDER_AT], "little")
        return None if provider == _WOF_OF_FILES else _IN_A_WIM
    known = _ELSEWHERE.get(_CLOUD if tag & _CLOUD_MASK == _CLOUD else tag)
    return known or "where only the program knows that made it so"


def _target(tag: int, value: bytes) -> str | None:
    """Where a link leads, parted by slashes; None where it does not say."""
    if tag == _LX_SYMLINK:
        return value[_HEADER + 4 :].decode("utf-8", "surrogateescape")
    if len(value) < _HEADER + _NAMES.size:
        return None
    offset, length, printed_offset, printed_length = _NAMES.unpack_from(value, _HEADER)
    names = value[_HEADER + _NAMES_AT[tag] :]
    printed = names[printed_offset : printed_offset + printed_length]
    name = (printed or names[offset : offset + length]).decode("utf-16-le", "replace")
    for of_nt, instead in _OF_NT:
        if name.startswith(of_nt):
            name = instead + name.removeprefix(of_nt)
            break
    return name.replace("\\", "/")


def device_of(attributes: bytes) -> tuple[int, int]:
    """Major and minor number, as WSL keeps them in extended attributes. Raises FileSystemError."""
    position, further = 0, 1
    while further and position + 8 <= len(attributes):
        further, name_length, value_length = struct.unpack_from("<IxBH", attributes, position)
        start = position + 8
        value = attributes[start + name_length + 1 : start + name_length + 1 + value_length]
        if attributes[start : start + name_length].upper() == _DEVICE and len(value) >= 8:
            return int.from_bytes(value[:4], "little"), int.from_bytes(value[4:8], "little")
        position += further
    raise FileSystemError("the number of a device is missing")
