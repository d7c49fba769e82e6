"""What libfsfat does not know of exFAT: that directories may be in one piece, and have no chain then.

It follows the chain of such a directory, which means nothing, and lists its first cluster only. So it is
shown a table in which each of them has the chain that says the same.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from vhdx.filesystems.base import NotFreeError
from vhdx.filesystems.exfat_boot import BOOT_LENGTH, parsed
from vhdx.filesystems.exfat_root import Clusters, root_directory
from vhdx.filesystems.reading import within

if TYPE_CHECKING:
    from vhdx.files.base import Tell
    from vhdx.files.source import Read

_END = 0xFFFFFFFF


def chained(read: Read, size: int, tell: Tell) -> Read:
    """``read`` with such chains; what of the volume is damaged is told, and left as it is."""
    boot = parsed(read(BOOT_LENGTH, 0))
    if boot is None:
        return read
    from vhdx.filesystems.exfat_files import directories_without_chain  # noqa: PLC0415  needs numpy

    clusters = Clusters(within(read, size), boot)
    try:
        found, damage = directories_without_chain(boot, clusters, root_directory(clusters, boot))
    except NotFreeError as error:
        found, damage = [], error.reason
    if damage is not None:
        tell(f"the file system is damaged, so that not all files may be listed: {damage}")
    patches = [
        (boot.fat_offset + first * 4, struct.pack(f"<{count}I", *range(first + 1, first + count), _END))
        for first, count in found
    ]
    return _patched(read, patches) if patches else read


def _patched(read: Read, patches: list[tuple[int, bytes]]) -> Read:
    def patched(length: int, offset: int) -> bytes:
        data = read(length, offset)
        for start, patch in patches:
            first, end = max(start, offset), min(start + len(patch), offset + length)
            if first < end:
                data = data[: first - offset] + patch[first - start : end - start] + data[end - offset :]
        return data

    return patched
