"""What a piece of a disk looks like of which nobody knows where it belongs: a guess, to sort by."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vhdx.filesystems import sectors
from vhdx.filesystems.detect import detect
from vhdx.partitions import gpt, mbr

if TYPE_CHECKING:
    from vhdx.filesystems.base import Read

SAMPLE = 64 * 1024
"""Bytes that are looked at closely."""
_PAGE = 4096
_SECTORS = (512, 4096)
_BOOT_SECTORS = frozenset({"NTFS", "exFAT", "FAT12", "FAT16", "FAT32", "ReFS", "BitLocker"})
_EXT_MAGIC = slice(0x38, 0x3A)
_EXT_LOG_BLOCK_SIZE = slice(0x18, 0x1C)
_XFS_DIRECTORIES = (b"XD2B", b"XD2D", b"XDB3", b"XDD3")
_COMPRESSED = {
    b"\x1f\x8b\x08": "gzip",
    b"PK\x03\x04": "ZIP",
    b"\xfd7zXZ\0": "xz",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
}
_TEXT = frozenset(b"\t\n\f\r\x1b") | frozenset(range(0x20, 0x7F))
_FEW_OTHERS = 0.05
_UNIFORM, _DENSE = 400.0, 7.5
"""Chi-squared of bytes by value above which they are not random (255 is the mean), and bits of entropy in a
byte from which on they are compressed."""


class Looks(NamedTuple):
    """A kind, one of a few, and more where that is known: of which file system, of which program."""

    kind: str
    detail: str | None = None


def looks_of(read: Read, size: int, first: int) -> Looks:
    """What ``size`` bytes look like, of which the first that are no zeros are near ``first``."""
    head = read(min(size, 2 * max(_SECTORS)), 0)
    sample = read(min(SAMPLE, size - first), first)
    pages = [sample[at : at + _PAGE] for at in range(0, len(sample), _PAGE)]
    return (
        _partition_table(head)
        or _file_system(read, size)
        or _copy_of_ext(head)
        or next((found for page in pages if (found := _directory(page)) is not None), None)
        or _end_of_gpt(read, size)
        or _packed(sample)
        or _bytes(sample)
    )


def _partition_table(head: bytes) -> Looks | None:
    for size in _SECTORS:
        if gpt.damage(head[size : 2 * size], gpt.PRIMARY_SECTOR) is None:
            return Looks("partition table", "GPT")
    record = mbr.unpack(head[: mbr.RECORD_SIZE]) if len(head) >= mbr.RECORD_SIZE else None
    if record is None or sectors.recognised(head) is not None:
        return None
    is_used = any(entry.is_used for entry in record.entries)
    return Looks("partition table", "MBR") if is_used else Looks("boot sector")


def _file_system(read: Read, size: int) -> Looks | None:
    found = detect(read, size)
    if found is None:
        return None
    kind = found.recognised.identity.kind
    return Looks("boot sector" if kind in _BOOT_SECTORS else "file system superblock", kind)


def _copy_of_ext(head: bytes) -> Looks | None:
    """Copies of the superblock begin their block."""
    shift = int.from_bytes(head[_EXT_LOG_BLOCK_SIZE], "little")
    if head[_EXT_MAGIC] != b"\x53\xef" or shift > 6:
        return None
    return Looks("file system superblock", "ext2/3/4")


def _directory(page: bytes) -> Looks | None:
    """A block of a directory, or records of files."""
    is_ext = page[4:7] == b"\x0c\x00\x01" and page[8:9] == b"." and page[18:19] + page[20:22] == b"\x02.."
    if is_ext:
        return Looks("directory", "ext2/3/4")
    if page.startswith(b"INDX"):
        return Looks("directory", "NTFS")
    if page.startswith(b"FILE"):
        return Looks("file records", "NTFS")
    if page.startswith(_XFS_DIRECTORIES):
        return Looks("directory", "XFS")
    if page.startswith(b".".ljust(11)) and page[32:43] == b"..".ljust(11):
        return Looks("directory", "FAT")
    return None


def _end_of_gpt(read: Read, size: int) -> Looks | None:
    for sector in _SECTORS:
        if size >= sector and read(len(gpt.SIGNATURE), size - sector) == gpt.SIGNATURE:
            return Looks("partition table", "backup of a GPT")
    return None


def _packed(sample: bytes) -> Looks | None:
    for magic, name in _COMPRESSED.items():
        if sample.startswith(magic):
            return Looks("compressed", name)
    return None


def _bytes(sample: bytes) -> Looks:
    """By how often each value of a byte comes."""
    import numpy as np  # noqa: PLC0415  slow to import

    counts = np.bincount(np.frombuffer(sample, dtype=np.uint8), minlength=256)
    length = max(1, len(sample))
    if _is_text(sample, int(counts[sorted(_TEXT)].sum())):
        return Looks("text")
    expected = length / 256
    if float(((counts - expected) ** 2 / expected).sum()) < _UNIFORM:
        return Looks("random")
    shares = counts[counts > 0] / length
    return Looks("compressed" if float(-(shares * np.log2(shares)).sum()) > _DENSE else "data")


def _is_text(sample: bytes, printable: int) -> bool:
    """Whether a piece is text up to where it ends in zeros."""
    text = sample.rstrip(b"\0")
    if b"\0" in text or not text:
        return False
    few = _FEW_OTHERS * len(text)
    if len(text) - printable <= few:
        return True
    try:
        text[:-4].decode()  # a character may be cut at the end
    except UnicodeDecodeError:
        return False
    return sum(byte < 0x80 and byte not in _TEXT for byte in text) <= few
