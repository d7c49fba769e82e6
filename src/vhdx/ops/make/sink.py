"""What writes what a conversion makes: a flat disk, or one of blocks. What is not written reads as zeros."""

from __future__ import annotations

from vhdx.build.vhd import new_footer
from vhdx.format import vhd
from vhdx.ops.make.plan import VHD_TOO_LARGE
from vhdx.typed import TYPE_CHECKING, Protocol
from vhdx.units import GIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vhdx.build.structures import Output


class Sink(Protocol):
    """Takes pieces in ascending order, none of them over a multiple of 1 MiB."""

    @property
    def reserved(self) -> bool:
        """False where space was to be reserved on the host and could not be."""

    @property
    def span(self) -> int:
        """Multiples of so many bytes are where what stands in one piece in the file ends."""

    def place(self, offset: int) -> int:
        """The file offset of a byte of the disk; asked for in ascending order, as pieces come."""

    def put(self, data: memoryview, offset: int) -> None:
        """Write data to a disk offset."""

    def finish(self, disk_size: int) -> int:
        """Complete what is made; its length in bytes."""


class RawSink:
    """A flat disk; what is not written stays a hole."""

    reserved = True

    span = GIB

    def __init__(self, storage: Output) -> None:
        self._storage = storage

    def place(self, offset: int) -> int:
        """Where it stands on the disk."""
        return offset

    def put(self, data: memoryview, offset: int) -> None:
        """Write data where it belongs."""
        self._storage.write_at(data, offset)

    def finish(self, disk_size: int) -> int:
        """Give the file its length."""
        self._storage.resize(disk_size)
        return disk_size


class FixedVhdSink(RawSink):
    """A fixed VHD: a flat file with a footer behind it."""

    def put(self, data: memoryview, offset: int) -> None:
        """Write data where it belongs. Raises ValueError behind what the format can hold."""
        _refuse_far(offset)
        super().put(data, offset)

    def finish(self, disk_size: int) -> int:
        """Give the file its length and its footer."""
        footer = new_footer(vhd.FIXED, disk_size)
        self._storage.resize(disk_size)
        self._storage.write_at(footer, disk_size)
        return disk_size + len(footer)


def _refuse_far(offset: int) -> None:
    """Raise ValueError for what no VHD holds: of a pipe the size is known only at its end."""
    if offset >= vhd.MAXIMUM_DISK_SIZE:
        raise ValueError(VHD_TOO_LARGE)


class BlockBuilder(Protocol):
    """Makes a file of blocks, which have their places in it in the order in which they are asked for."""

    @property
    def reserved(self) -> bool:
        """False where space was to be reserved on the host and could not be."""

    def place(self, block: int) -> int:
        """The file offset of a block's contents."""

    def finish(self, disk_size: int) -> int:
        """Write what points at the blocks; the length of the file in bytes."""


class BlockSink:
    """A file of blocks: a block gets its place when the first data for it arrives."""

    def __init__(self, storage: Output, builder: BlockBuilder, block_size: int) -> None:
        self._storage = storage
        self._builder = builder
        self._block_shift = block_size.bit_length() - 1
        self.span = block_size
        self._block = -1
        self._place = 0

    @property
    def reserved(self) -> bool:
        """Whether the host could reserve the space of a fixed image."""
        return self._builder.reserved

    def place(self, offset: int) -> int:
        """In the block that it is in, which gets its place now."""
        block = offset >> self._block_shift
        if block != self._block:
            self._block, self._place = block, self._builder.place(block)
        return self._place + offset - (block << self._block_shift)

    def put(self, data: memoryview, offset: int) -> None:
        """Write data into its block."""
        self._storage.write_at(data, self.place(offset))

    def finish(self, disk_size: int) -> int:
        """Write what points at the blocks."""
        return self._builder.finish(disk_size)


class DynamicVhdSink(BlockSink):
    """A dynamic VHD."""

    def put(self, data: memoryview, offset: int) -> None:
        """Write data into its block. Raises ValueError behind what the format can hold."""
        _refuse_far(offset)
        super().put(data, offset)


def touched_blocks(ranges: Iterable[tuple[int, int]], block_size: int) -> Iterator[tuple[int, int]]:
    """(first, count) of the blocks that ranges in order lie in, each block once."""
    reached = 0
    for offset, length in ranges:
        first = max(reached, offset // block_size)
        reached = max(reached, (offset + length - 1) // block_size + 1)
        if reached > first:
            yield first, reached - first
