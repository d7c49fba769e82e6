"""What a VHD without a parent holds behind clear bits of its bitmaps: bytes that some programs show.

A clear bit means that the sector is not stored. Programs that work on whole blocks (Xen's) never set bits;
QEMU shows what stands there, libvhdi and this library zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vhdx.extents import ExtentKind
from vhdx.format import vhd
from vhdx.image.vhd_load import bitmap_length, block_count
from vhdx.storage.zeros import stored_nonzero_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.format.vhd import DynamicHeader
    from vhdx.image.vhd import VhdImage
    from vhdx.progress import Progress


class HiddenRun(NamedTuple):
    """Bytes that are not zeros and belong to sectors whose bits are clear."""

    disk_offset: int
    file_offset: int
    length: int


def hidden_runs(
    image: VhdImage, progress: Progress | None = None, most_blocks: int | None = None
) -> Iterator[HiddenRun]:
    """Such runs, in order of the disk; only in the first ``most_blocks`` blocks that are stored, if given.

    A file with a parent has none: there a clear bit asks the parent. ``progress`` is called with the bytes of
    the disk that were looked at, and their number.
    """
    header = image.header
    if header is None or image.has_parent:
        return
    looked = 0
    for block in range(block_count(header, image.footer)):
        place = image.named_place(header, block)
        if place is None or image.fault(header, block, place) is not None:
            continue
        if looked == most_blocks:
            return
        looked += 1
        yield from _hidden_in(image, header, block, place)
        if progress is not None:
            progress(min((block + 1) * header.block_size, image.size), image.size)


def _hidden_in(image: VhdImage, header: DynamicHeader, block: int, place: int) -> Iterator[HiddenRun]:
    start = block * header.block_size
    data = place + bitmap_length(header)
    for extent in image.extents(start, min(header.block_size, image.size - start)):
        if extent.kind is ExtentKind.UNALLOCATED:
            moved = extent.offset - (data + extent.offset - start)
            place = data + extent.offset - start
            for run, length in stored_nonzero_runs(image.storage, place, extent.length, vhd.SECTOR_SIZE):
                yield HiddenRun(run + moved, run, length)
