"""ext2, ext3 and ext4 of all shapes, filled by the kernel where it can mount them, else by debugfs."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.filesystems.journals import raw
from tests.filesystems.making import (
    KIB,
    MIB,
    fill,
    half,
    hashes_of,
    look,
    mounted,
    mounts,
    raw_file,
    run,
    spoil,
)
from tests.filesystems.noise import patch
from vhdx.filesystems import ext

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vhdx.filesystems.base import Examined

WSL = ("-t", "ext4", "-G", "4096")


class Shape(NamedTuple):
    """Options of mke2fs, and what of it is special."""

    name: str
    options: tuple[str, ...]
    size: int = 48 * MIB


class Aged(NamedTuple):
    """A file system that was used, what is in it, and whether the kernel of this machine mounts it."""

    image: Path
    hashes: dict[str, str]
    mounts: bool


def shape(name: str, options: str, size: int = 48 * MIB) -> Shape:
    return Shape(name, tuple(options.split()), size)


ODD = 67 * MIB + 3 * KIB
SHAPES = (
    shape("ext2, 1 KiB", "-t ext2 -b 1024"),
    shape("ext2, 4 KiB", "-t ext2 -b 4096"),
    shape("ext2, revision 0", "-t ext2 -r 0 -b 1024", ODD),
    shape("ext2 without sparse_super", "-t ext2 -O ^sparse_super,^resize_inode -b 1024", ODD),
    shape("ext2, 64 KiB", "-t ext2 -b 65536"),
    shape("ext3, 1 KiB", "-t ext3 -b 1024", ODD),
    shape("ext3, 4 KiB", "-t ext3 -b 4096"),
    shape("ext3, 64 KiB", "-t ext3 -b 65536 -J size=64", 200 * MIB),
    shape("ext4, 1 KiB", "-t ext4 -b 1024", ODD),
    shape("ext4, 2 KiB", "-t ext4 -b 2048", ODD),
    shape("ext4, 4 KiB", "-t ext4 -b 4096", 300 * MIB + 12 * KIB),
    shape("ext4, 64 KiB", "-t ext4 -b 65536 -J size=64", 200 * MIB),
    shape("ext4 as WSL makes it", " ".join(WSL) + " -b 4096", 300 * MIB),
    shape("WSL, many groups", " ".join(WSL) + " -b 1024 -g 1024", ODD),
    shape("ext4 without flex_bg", "-t ext4 -O ^flex_bg -b 1024", ODD),
    shape("ext4, 32 bits", "-t ext4 -O ^64bit -b 1024", ODD),
    shape("ext4 without checksums", "-t ext4 -O ^metadata_csum,^uninit_bg -b 1024", ODD),
    shape("ext4 with uninit_bg", "-t ext4 -O ^metadata_csum,uninit_bg,64bit -b 1024", ODD),
    shape("ext4 with uninit_bg, 32 bits", "-t ext4 -O ^metadata_csum,uninit_bg,^64bit -b 1024", ODD),
    shape("ext4 with metadata_csum_seed", "-t ext4 -O metadata_csum_seed -b 1024"),
    shape("bigalloc, 4 KiB", "-t ext4 -O bigalloc -b 4096 -C 65536", 300 * MIB + 12 * KIB),
    shape("bigalloc, 1 KiB", "-t ext4 -O bigalloc -b 1024 -C 16384", ODD),
    shape("bigalloc without checksums", "-t ext4 -O bigalloc,^metadata_csum -b 1024 -C 8192", ODD),
    shape("meta_bg, 1 KiB", "-t ext4 -O meta_bg,^resize_inode -b 1024 -g 512", ODD),
    shape("meta_bg, 4 KiB, 32 bits", "-t ext4 -O meta_bg,^resize_inode,^64bit -b 4096 -g 256", 300 * MIB),
    shape("meta_bg and bigalloc", "-t ext4 -O meta_bg,^resize_inode,bigalloc -b 1024 -C 4096", ODD),
    shape("meta_bg without flex_bg", "-t ext4 -O meta_bg,^resize_inode,^flex_bg -b 1024 -g 1024", ODD),
    shape("sparse_super2", "-t ext4 -O sparse_super2,^resize_inode -b 1024", ODD),
    shape(
        "sparse_super2, one copy", "-t ext4 -O sparse_super2,^resize_inode -E num_backup_sb=1 -b 1024", ODD
    ),
    shape("quota and project", "-t ext4 -O quota,project -b 1024"),
    shape("MMP", "-t ext4 -O mmp -b 4096"),
    shape("inline data", "-t ext4 -O inline_data -I 512 -b 4096"),
    shape("without a journal", "-t ext4 -O ^has_journal -b 1024"),
    shape("orphan file, fast commits", "-t ext4 -O orphan_file,fast_commit -b 1024"),
    shape("verity, casefold, ea_inode, large_dir", "-t ext4 -O verity,casefold,ea_inode,large_dir -b 4096"),
    shape("inodes of 128 bytes", "-t ext4 -I 128 -N 4096 -b 1024"),
    shape("packed metadata", "-t ext4 -E packed_meta_blocks=1 -b 1024", ODD),
    shape("for a RAID", "-t ext4 -E stride=16,stripe_width=32 -b 1024", ODD),
    shape("few inodes, no room to grow", "-t ext4 -O ^resize_inode -N 256 -b 1024", ODD),
)


def made(folder: Path, what: Shape) -> Path:
    """The file system, empty."""
    image = raw_file(folder / "image", what.size)
    run("mkfs.ext4", "-q", "-F", *what.options, image)
    return image


def aged(folder: Path, what: Shape, seed: int = 7) -> Aged:
    """The file system, filled to a half with files of which half are deleted again; hashes of the others."""
    image = made(folder, what)
    if not mounts(image):
        return _aged_by_debugfs(folder, what, seed)
    with mounted(image) as point:
        hashes = fill(point, seed, _filling(what))
        for name in half(hashes, seed):
            del hashes[name]
            (point / name).unlink()
    return Aged(image, hashes, mounts=True)


def _filling(what: Shape) -> int:
    return min(what.size // 2, 24 * MIB)


def _aged_by_debugfs(folder: Path, what: Shape, seed: int) -> Aged:
    image = raw_file(folder / "image", what.size)
    with tempfile.TemporaryDirectory(dir=folder) as source:
        hashes = fill(Path(source), seed, _filling(what))
        run("mkfs.ext4", "-q", "-F", *what.options, "-d", source, image)
    gone = half(hashes, seed)
    run("debugfs", "-w", "-f", "-", image, text="".join(f"rm {name}\n" for name in gone))
    run("e2fsck", "-fy", image, codes=(0, 1))  # debugfs keeps no quotas
    return Aged(image, {name: hashes[name] for name in hashes if name not in gone}, mounts=False)


def contents(found: Aged) -> dict[str, str]:
    """The hashes of the files now, read by the kernel or by debugfs."""
    if found.mounts:
        with mounted(found.image, "ro") as point:
            return hashes_of(point, found.hashes)
    with tempfile.TemporaryDirectory(dir=found.image.parent) as target:
        run("debugfs", "-R", f"rdump / {target}", found.image)
        return hashes_of(Path(target), found.hashes)


def looked(image: Path) -> Examined:
    return look(ext.recognise, image)


def noised(image: Path) -> Examined:
    """Examine, then spoil everything that was called free."""
    examined = looked(image)
    assert examined.file_system.reasons == ()
    assert spoil(image, examined.free_ranges()) == examined.file_system.free
    return examined


def free_bytes_by_dumpe2fs(image: Path) -> int:
    header = run("dumpe2fs", "-h", image)
    (blocks,) = re.findall(r"^Free blocks:\s+(\d+)$", header, re.MULTILINE)
    (size,) = re.findall(r"^Block size:\s+(\d+)$", header, re.MULTILINE)
    return int(blocks) * int(size)


def free_ranges_by_dumpe2fs(image: Path) -> list[tuple[int, int]]:
    """The free blocks of each group as dumpe2fs lists them, as bytes, those that touch joined."""
    (size,) = re.findall(r"^Block size:\s+(\d+)$", run("dumpe2fs", "-h", image), re.MULTILINE)
    ranges: list[tuple[int, int]] = []
    for line in re.findall(r"^  Free blocks: (.+)$", run("dumpe2fs", image), re.MULTILINE):
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", line):
            offset, end = int(first) * int(size), (int(last or first) + 1) * int(size)
            if ranges and sum(ranges[-1]) == offset:
                offset = ranges.pop()[0]
            ranges.append((offset, end - offset))
    return ranges


def superblock_of(image: Path) -> bytearray:
    return bytearray(image.read_bytes()[1024:2048])


def with_superblock(image: Path, changes: Iterable[tuple[int, int, int]]) -> None:
    """Set fields of the superblock, (offset, size, value), and make its checksum right again."""
    superblock = superblock_of(image)
    for at, size, value in changes:
        superblock[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
    superblock[0x3FC:] = raw(0xFFFFFFFF, bytes(superblock[:0x3FC])).to_bytes(4, "little")
    patch(image, 1024, superblock)


def free_ranges_by_partclone(image: Path) -> list[tuple[int, int]]:
    """What partclone would not copy."""
    target, log = image.with_suffix(".domain"), image.with_suffix(".log")
    run("partclone.extfs", "-D", "-s", image, "-o", target, "-L", log, "-q", "-F")
    rows = re.findall(r"^(0x\w+)\s+(0x\w+)\s+\?$", target.read_text(), re.MULTILINE)
    return [(int(offset, 16), int(length, 16)) for offset, length in rows]
