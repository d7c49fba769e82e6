"""Where the structures of a new image go, and how large they are [MS-VHDX 2.2]. Pure."""

from __future__ import annotations

from vhdx.format.header import HEADER_SECTION_SIZE
from vhdx.format.metadata import TABLE_SIZE
from vhdx.format.region import aligned
from vhdx.typed import NamedTuple
from vhdx.units import GIB, MIB, TIB

_DEFAULT_BLOCK_SIZES = ((32 * TIB, 64 * MIB), (100 * GIB, 32 * MIB), (GIB, 16 * MIB))
"""(above this disk size, this block size), as QEMU chooses them."""
_SMALL_DISK_BLOCK_SIZE = 8 * MIB


def default_block_size(disk_size: int) -> int:
    """The block size for a disk of ``disk_size`` bytes when nobody chose one."""
    for above, block_size in _DEFAULT_BLOCK_SIZES:
        if disk_size > above:
            return block_size
    return _SMALL_DISK_BLOCK_SIZE


class Layout(NamedTuple):
    """The order in which Windows places things: log, metadata, BAT, blocks. Sizes and offsets in bytes."""

    log_length: int
    metadata_length: int

    @property
    def log_offset(self) -> int:
        """The log begins right behind the header section."""
        return HEADER_SECTION_SIZE

    @property
    def metadata_offset(self) -> int:
        """The metadata region begins behind the log."""
        return self.log_offset + self.log_length

    @property
    def bat_offset(self) -> int:
        """The BAT region begins behind the metadata, unless the disk's size is known only at the end."""
        return self.metadata_offset + self.metadata_length


def metadata_length(items_length: int) -> int:
    """The length of a metadata region whose items take ``items_length`` bytes."""
    return aligned(TABLE_SIZE + items_length)
