"""What stands on the disk of an image that may be damaged, by its table alone, and what is missing of it.

For judgements only: blocks without an entry, and whatever the file does not have, are zeros here.
"""

from __future__ import annotations

from vhdx.filesystems.anchors import anchors
from vhdx.filesystems.detect import detect
from vhdx.format.bat import file_offset_of
from vhdx.image.bat import Bat
from vhdx.image.pages import Pages
from vhdx.image.states import is_present
from vhdx.partitions.mbr import EXTENDED_TYPES
from vhdx.partitions.read import read_table
from vhdx.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdx.filesystems.base import Read
    from vhdx.filesystems.detect import Found
    from vhdx.geometry import Geometry
    from vhdx.partitions.table import PartitionTable
    from vhdx.storage.base import ReadableStorage

_MOST_VOLUMES = 128
"""Partitions that are looked at: as many as a GPT usually has room for."""
_EXTENDED = frozenset(f"0x{kind:02x}" for kind in EXTENDED_TYPES)


class Volume(NamedTuple):
    """A partition, or the whole of a disk without any: where it begins, how long it is, what reads it."""

    offset: int
    size: int
    read: Read

    def found(self) -> Found | None:
        """What stands in it."""
        return detect(self.read, self.size)


class Contents:
    """The disk of an image whose table begins at ``bat_offset``."""

    def __init__(self, storage: ReadableStorage, bat_offset: int, geometry: Geometry) -> None:
        self._storage = storage
        self._size = storage.size()
        self._geometry = geometry
        self._bat = Bat(Pages(storage), bat_offset, geometry)

    def read(self, length: int, offset: int) -> bytes:
        """As much of these bytes of the disk as is inside of it."""
        length = max(0, min(length, self._geometry.disk_size - offset))
        parts = []
        for span in self._geometry.spans(offset, length):
            entry = self._bat.payload(span.block)
            place = file_offset_of(entry) + span.offset_in_block
            there = max(0, min(span.length, self._size - place)) if is_present(entry) else 0
            parts.append((self._storage.read(there, place) if there else b"").ljust(span.length, b"\0"))
        return b"".join(parts)

    def lacks(self, offset: int) -> bool:
        """Whether the block that a byte of the disk lies in has no entry."""
        inside = 0 <= offset < self._geometry.disk_size
        return inside and self._bat.payload(offset // self._geometry.block_size) == 0

    @property
    def table(self) -> PartitionTable:
        """The partition table."""
        return read_table(self.read, self._geometry.disk_size, self._geometry.logical_sector_size)

    def volumes(self) -> Iterator[Volume]:
        """The partitions; the whole disk where it has no table."""
        table, size = self.table, self._geometry.disk_size
        if table.kind == "none":
            yield Volume(0, size, self.read)
        for each in table.partitions[:_MOST_VOLUMES]:
            length = min(each.end, size) - each.offset
            if each.type not in _EXTENDED and length > 0:
                yield Volume(each.offset, length, self._reading(each.offset))

    def _reading(self, start: int) -> Read:
        return lambda length, offset: self.read(length, start + offset)

    def lacks_bookkeeping(self) -> bool:
        """Whether something has no entry that a partition table or a file system on the disk always has."""
        return self._lacks_a_gpt() or any(
            self.lacks(volume.offset + place)
            for volume in self.volumes()
            for place in anchors(volume.read, volume.size)
        )

    def _lacks_a_gpt(self) -> bool:
        """Whether a copy of a GPT has no entry; where a disk was cut there is no second one."""
        gpt = self.table.gpt
        if gpt is None or gpt.header.other_sector != gpt.backup_sector:
            return False
        return self.lacks(gpt.sector_size) or self.lacks(gpt.backup_sector * gpt.sector_size)
