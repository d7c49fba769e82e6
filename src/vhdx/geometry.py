"""Pure arithmetic of blocks, chunks and table slots [MS-VHDX 2.4, 2.5]. The only place that splits ranges.

Knows sizes, not contents: what a BAT entry holds is none of its business.
"""

from __future__ import annotations

from vhdx.format.bat import ENTRY_SIZE
from vhdx.format.region import aligned
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

BITMAP_BLOCK_SIZE = 1024 * 1024
SECTORS_PER_CHUNK = BITMAP_BLOCK_SIZE * 8


class Span(NamedTuple):
    """The part of a range that lies in one payload block; offsets and length in bytes."""

    block: int
    offset_in_block: int
    length: int


class _Sizes(NamedTuple):
    """What a geometry keeps: four sizes that are chosen, and what follows from them."""

    disk_size: int
    block_size: int
    logical_sector_size: int
    differencing: bool
    block_shift: int
    chunk_ratio: int
    block_count: int
    chunk_count: int
    bat_entry_count: int


class Geometry(_Sizes):
    """Sizes in bytes of a disk, its blocks and sectors, and everything that follows from them."""

    __slots__ = ()

    def __new__(cls, disk_size: int, block_size: int, logical_sector_size: int, differencing: bool) -> Self:
        """The geometry of a disk of these sizes."""
        blocks = -(-disk_size // block_size)
        ratio = SECTORS_PER_CHUNK * logical_sector_size // block_size
        chunks = -(-blocks // ratio)
        entries = chunks * (ratio + 1) if differencing else blocks + (blocks - 1) // ratio
        return super().__new__(
            cls,
            disk_size,
            block_size,
            logical_sector_size,
            differencing,
            block_shift=block_size.bit_length() - 1,
            chunk_ratio=ratio,
            block_count=blocks,
            chunk_count=chunks,
            bat_entry_count=entries if blocks else 0,
        )

    def resized(self, disk_size: int) -> Geometry:
        """The same for a disk of another size."""
        return Geometry(disk_size, self.block_size, self.logical_sector_size, self.differencing)

    @property
    def bat_length(self) -> int:
        """Bytes of the BAT region that the disk needs [MS-VHDX 2.2.3]."""
        return aligned(self.bat_entry_count * ENTRY_SIZE)

    @property
    def sectors_per_block(self) -> int:
        """Logical sectors in a payload block, and so bits in its part of a sector bitmap."""
        return self.block_size // self.logical_sector_size

    def payload_index(self, block: int) -> int:
        """The BAT slot of a payload block."""
        return block + block // self.chunk_ratio

    def bitmap_index(self, chunk: int) -> int:
        """The BAT slot of the sector bitmap block of a chunk."""
        return (chunk + 1) * self.chunk_ratio + chunk

    def is_bitmap_index(self, index: int) -> bool:
        """Whether a BAT slot belongs to a sector bitmap block."""
        return index % (self.chunk_ratio + 1) == self.chunk_ratio

    def slot_name(self, index: int) -> str:
        """Which block a BAT slot belongs to, in words."""
        chunk, within = divmod(index, self.chunk_ratio + 1)
        if within == self.chunk_ratio:
            return f"the sector bitmap of chunk {chunk}"
        return f"payload block {chunk * self.chunk_ratio + within}"

    def blocks_of_slots(self, index: int, count: int) -> range:
        """The payload blocks that depend on some BAT slots: a bitmap's slot stands for its whole chunk."""
        period = self.chunk_ratio + 1
        first_chunk, first = divmod(index, period)
        last_chunk, last = divmod(index + count - 1, period)
        if self.differencing and self.first_bitmap_index_from(index) < index + count:
            first = 0
        start = first_chunk * self.chunk_ratio + min(first, self.chunk_ratio)
        stop = last_chunk * self.chunk_ratio + min(last + 1, self.chunk_ratio)
        return range(min(start, self.block_count), min(stop, self.block_count))

    def first_bitmap_index_from(self, index: int) -> int:
        """The first BAT slot at or behind ``index`` that belongs to a sector bitmap block."""
        return self.bitmap_index(index // (self.chunk_ratio + 1))

    def chunk_of(self, block: int) -> int:
        """The chunk that a payload block lies in."""
        return block // self.chunk_ratio

    def first_bit(self, block: int) -> int:
        """The bit of a block's first sector, counted in the sector bitmap block of its chunk."""
        return block % self.chunk_ratio * self.sectors_per_block

    def block_length(self, block: int) -> int:
        """How many bytes of the disk lie in a block: the last one of an odd disk is short."""
        return min(self.block_size, self.disk_size - block * self.block_size)

    def blocks_touched(self, offset: int, length: int) -> range:
        """The blocks that a range of the disk lies in; empty for an empty range."""
        if length == 0:
            return range(0)
        return range(offset >> self.block_shift, ((offset + length - 1) >> self.block_shift) + 1)

    def covered(self, offset: int, length: int) -> range:
        """The blocks that lie wholly in a range; up to the disk's end also a short last one."""
        first = -(-offset // self.block_size)
        end = offset + length
        last = self.block_count if end == self.disk_size else end >> self.block_shift
        return range(first, max(first, last))

    def spans_outside(self, offset: int, length: int, blocks: range) -> Iterator[Span]:
        """The spans of a range that lie in none of ``blocks``, which it covers."""
        if not blocks:
            yield from self.spans(offset, length)
            return
        yield from self.spans(offset, blocks.start * self.block_size - offset)
        behind = min(blocks.stop * self.block_size, offset + length)
        yield from self.spans(behind, offset + length - behind)

    def offset_of(self, span: Span) -> int:
        """The disk offset at which a span begins."""
        return (span.block << self.block_shift) + span.offset_in_block

    def slot_runs(self, block: int, count: int, slots: int) -> Iterator[tuple[int, int, int]]:
        """(block, its BAT slot, how many) with slots side by side, none over a multiple of ``slots``."""
        end = block + count
        while block < end:
            index = self.payload_index(block)
            in_chunk = self.chunk_ratio - block % self.chunk_ratio
            part = min(end - block, in_chunk, slots - index % slots)
            yield block, index, part
            block += part

    def spans(self, offset: int, length: int) -> Iterator[Span]:
        """The range split at block borders, in order; nothing for an empty range."""
        end = offset + length
        while offset < end:
            block = offset >> self.block_shift
            stop = min(end, (block + 1) << self.block_shift)
            yield Span(block, offset - (block << self.block_shift), stop - offset)
            offset = stop
