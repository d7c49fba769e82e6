"""A new VHD, written in one forward pass: fixed with a footer behind it, or dynamic with a table.

A dynamic one is laid out as Hyper-V lays it out since Windows 8: copy of the footer, header, table, then
blocks of 2 MiB, each behind a bitmap of which every bit is set, its data at a multiple of 4096 bytes.
"""

from __future__ import annotations

import sys
import time
import uuid
from array import array

from vhdx.format import vhd
from vhdx.format.vhd import DynamicHeader
from vhdx.typed import TYPE_CHECKING
from vhdx.units import MIB

if TYPE_CHECKING:
    from vhdx.build.structures import Output

BLOCK_SIZE = 2 * MIB
BITMAP = b"\xff" * vhd.SECTOR_SIZE
"""Of a block of 2 MiB: a bit for each sector."""
_ALIGNMENT = 4096
TABLE_OFFSET = vhd.FOOTER_SIZE + vhd.HEADER_SIZE
_NO_PARENT = uuid.UUID(int=0)
assert len(BITMAP) * 8 * vhd.SECTOR_SIZE == BLOCK_SIZE


def new_footer(disk_type: int, disk_size: int, identity: uuid.UUID | None = None) -> bytes:
    """The footer of a disk that is made now, with an identity of its own unless one is given."""
    timestamp = int(time.time()) - vhd.EPOCH
    return vhd.footer_of(disk_type, disk_size, timestamp, identity or uuid.uuid4()).pack()


class DynamicVhdBuilder:
    """Gives places to blocks in ascending order, then writes everything that points at them.

    ``disk_size`` None means that it is known only at the end: the table then stands behind the blocks.
    """

    reserved = True
    """Nothing is to be."""

    def __init__(self, storage: Output, disk_size: int | None) -> None:
        self._storage = storage
        self._table = array("I")
        self._has_room = disk_size is not None
        self._end = TABLE_OFFSET + table_length(disk_size or 0)

    def place(self, block: int) -> int:
        """The file offset of a block's data, which read as zeros until they are written.

        Blocks are to be asked for in ascending order, each once.
        """
        data = data_offset(self._end)
        bitmap = data - len(BITMAP)
        self._storage.write_at(BITMAP, bitmap)
        self._extend_table(block)
        self._table.append(bitmap // vhd.SECTOR_SIZE)
        self._end = data + BLOCK_SIZE
        return data

    def _extend_table(self, count: int) -> None:
        self._table.extend(array("I", [vhd.UNUSED_ENTRY]) * (count - len(self._table)))

    def finish(self, disk_size: int) -> int:
        """Write table, header and footers; the length of the file in bytes. The caller flushes."""
        self._extend_table(block_count(disk_size))
        table_offset = TABLE_OFFSET
        if not self._has_room:
            table_offset, self._end = self._end, self._end + table_length(disk_size)
        footer = new_footer(vhd.DYNAMIC, disk_size)
        length = self._end + len(footer)
        self._storage.resize(length)
        self._storage.write_at(packed_table(self._table, disk_size), table_offset)
        self._storage.write_at(dynamic_header(table_offset, disk_size), vhd.FOOTER_SIZE)
        self._storage.write_at(footer, 0)
        self._storage.write_at(footer, self._end)
        return length


def dynamic_header(table_offset: int, disk_size: int) -> bytes:
    """The header of a dynamic VHD without a parent."""
    blocks = block_count(disk_size)
    return DynamicHeader(table_offset, vhd.VERSION, blocks, BLOCK_SIZE, _NO_PARENT, 0, "", ()).pack()


def packed_table(table: array[int], disk_size: int) -> bytes:
    """The table of a dynamic VHD as it stands in the file; takes the array over."""
    if sys.byteorder == "little":
        table.byteswap()
    return table.tobytes().ljust(table_length(disk_size), b"\xff")


def dynamic_file_size(disk_size: int, blocks: int) -> int:
    """The length in bytes of a dynamic VHD in which so many blocks have a place."""
    end = TABLE_OFFSET + table_length(disk_size)
    if blocks:
        end = data_offset(end) + blocks * BLOCK_SIZE + (blocks - 1) * _ALIGNMENT
    return end + vhd.FOOTER_SIZE


def data_offset(end: int) -> int:
    """Where the data of the next block go if what is there ends at ``end``."""
    return -(-(end + len(BITMAP)) // _ALIGNMENT) * _ALIGNMENT


def block_count(disk_size: int) -> int:
    """How many blocks a disk has."""
    return -(-disk_size // BLOCK_SIZE)


def table_length(disk_size: int) -> int:
    """Bytes of the table, whole sectors."""
    return -(-block_count(disk_size) * vhd.ENTRY_SIZE // vhd.SECTOR_SIZE) * vhd.SECTOR_SIZE
