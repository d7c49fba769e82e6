"""The image builder: a description of an image, legal or not, and the sparse file it stands for.

It knows where things lie and what a right writer would put there; what a test says about a part (parts.py)
wins over that, and `patches` win over everything. No image is ever held in memory as a whole, but for
`build()`.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid5

import numpy as np

from . import layout
from .bat import Fill, Words, bat_pieces
from .describe import Description
from .layout import FULLY_PRESENT, NOT_PRESENT, PARTIALLY_PRESENT, UNDEFINED, UNMAPPED, ZERO, ZERO_GUID
from .logs import LogBuilder
from .metadata import metadata_pieces
from .parts import Bitmap, Block, Header, Region, RegionTable, given
from .place import Plan, place


class ImageBuilder(Description):
    """A description that can be written; change any field, then `write` it or, if it is small, `build` it."""

    def child(self, name: str = "parent.vhdx") -> "ImageBuilder":
        """A differencing image without blocks whose parent is this one, found as `name` beside it."""
        return ImageBuilder(
            disk_size=self.disk_size,
            block_size=self.block_size,
            logical_sector_size=self.logical_sector_size,
            physical_sector_size=self.physical_sector_size,
            disk_type="differencing",
            seed=self.seed + 1,
            disk_id=self.guid("disk id"),
            parent_data_write_guid=self.guid("data write"),
            parent_name=name,
        )

    def plan(self) -> Plan:
        """Where everything lies in the file."""
        return place(self)

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the image as a sparse file."""
        with open(path, "wb") as file:
            for offset, data in self.pieces():
                file.seek(offset)
                file.write(data)
            file.truncate(self.length())
        return Path(path)

    def build(self) -> bytes:
        """The image as bytes."""
        image = bytearray(self.length())
        for offset, data in self.pieces():
            image[offset : offset + len(data)] = data
        return bytes(image)

    def length(self) -> int:
        """The length of the file."""
        return self.plan().end + len(self.tail) if self.file_length is None else self.file_length

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """What is not zero in the file, as (file offset, bytes); later pieces win over earlier ones."""
        length = self.length()
        for offset, data in self._parts(self.plan()):
            if data and offset < length:
                yield offset, data[: length - offset]

    def content(self, parent: bytes = b"") -> bytes:
        """What a right reader must return for the whole disk, as far as `blocks` say.

        It knows nothing of logs, patches, `fill` and raw entries: the naive reader is there for those.
        """
        below = parent[: self.disk_size] if self.differencing else b""
        disk = bytearray(below.ljust(self.disk_size, b"\0"))
        size = self.logical_sector_size
        for number in range(self.payload_blocks):
            block = self.blocks.get(number) or Block(state=self.usual_state)
            start = number * self.block_size
            if block.state == PARTIALLY_PRESENT and self.differencing:
                own = self._block_bytes(block)
                for sector in self._present_sectors(block):
                    disk[start + sector * size : start + (sector + 1) * size] = own[sector * size :][:size]
            elif block.state == FULLY_PRESENT:
                disk[start : start + self.block_size] = self._block_bytes(block)
            elif block.state in (UNDEFINED, ZERO, UNMAPPED):
                disk[start : start + self.block_size] = bytes(self.block_size)
            elif block.state != NOT_PRESENT:
                raise ValueError(f"no reader can be right about state {block.state}")
        return bytes(disk[: self.disk_size])

    def _block_bytes(self, block: Block) -> bytes:
        own = bytearray(self.block_size)
        for at, data in block.pieces().items():
            own[at : at + len(data)] = data
        return bytes(own)

    def _present_sectors(self, block: Block) -> list[int]:
        present = () if block.present is None else block.present
        if isinstance(present, bytes):
            return [
                s
                for s in range(min(self.sectors_per_block, len(present) * 8))
                if present[s >> 3] >> (s & 7) & 1
            ]
        return sorted(present)

    def _parts(self, plan: Plan) -> Iterator[tuple[int, bytes]]:
        yield 0, layout.pack_identifier(self.creator, signature=self.identifier_signature)
        for copy, offset in layout.HEADER_OFFSETS.items():
            yield offset, self._header(copy, plan)
        for copy, offset in layout.REGION_TABLE_OFFSETS.items():
            yield offset, self._region_table(copy, plan)
        if isinstance(self.log, LogBuilder):
            yield from ((plan.log_offset + at, data) for at, data in self.log.pieces())
        elif self.log:
            yield plan.log_offset, self.log
        for name, (at, _) in plan.regions.items():
            yield at, self.regions.get(name, Region()).data
        if "metadata" in plan.regions:
            yield from ((plan.metadata_offset + at, data) for at, data in metadata_pieces(self))
        if "bat" in plan.regions:
            yield from ((plan.bat_offset + at, data) for at, data in self._bat(plan))
        yield from self._bitmap_pieces(plan)
        for number, at in plan.blocks.items():
            yield from ((at + inner, data) for inner, data in self.blocks[number].pieces().items())
        yield plan.end, self.tail
        yield from self.patches

    def _header(self, copy: int, plan: Plan) -> bytes:
        told = self.headers.get(copy, Header())
        if told.raw is not None:
            return told.raw
        usual = {
            "sequence_number": self.sequence_numbers[copy - 1],
            "file_write_guid": self.guid("file write"),
            "data_write_guid": self.guid("data write"),
            "log_guid": self._log_guid(),
            "log_length": self.log_size,
            "log_offset": plan.log_offset,
        }
        return layout.pack_header(**{**usual, **given(told)})

    def _log_guid(self) -> UUID:
        if self.log_guid is not None:
            return self.log_guid
        return self.log.guid if isinstance(self.log, LogBuilder) and self.log.placed else ZERO_GUID

    def _region_table(self, copy: int, plan: Plan) -> bytes:
        told = self.region_tables.get(copy, RegionTable())
        if told.raw is not None:
            return told.raw
        listed = [*self.table_order, *(name for name in plan.regions if name not in self.table_order)]
        entries = [self._region_entry(name, *plan.regions[name]) for name in listed if name in plan.regions]
        return layout.pack_region_table(**{"entries": entries, **given(told)})

    def _region_entry(self, name: str, at: int, size: int) -> bytes:
        told = self.regions.get(name, Region())
        known = {"bat": layout.BAT_GUID, "metadata": layout.METADATA_GUID}
        return layout.pack_region_entry(
            told.guid or known.get(name) or uuid5(ZERO_GUID, f"region {name}"),
            at if told.file_offset is None else told.file_offset,
            size if told.length is None else told.length,
            (self.region_required if name in known else 0) if told.required is None else told.required,
        )

    def _bat(self, plan: Plan) -> Iterator[tuple[int, bytes]]:
        told: dict[int, int] = {}
        for number, block in self.blocks.items():
            at = plan.blocks.get(number, 0)
            told[self.bat_index(number)] = layout.pack_bat_entry(block.state, at, block.reserved)
        for chunk in {*plan.bitmaps, *self.bitmaps}:
            bitmap = self.bitmaps.get(chunk, Bitmap())
            at = plan.bitmaps.get(chunk, 0)
            state = (layout.BITMAP_PRESENT if at else 0) if bitmap.state is None else bitmap.state
            told[self.bitmap_index(chunk)] = layout.pack_bat_entry(state, at, bitmap.reserved)
        told |= self.bat
        yield from bat_pieces(self.bat_entries, self.ratio, self.payload_blocks, told, self._fill(plan))

    def _fill(self, plan: Plan) -> Fill | None:
        state = self.usual_state
        if self.fill is not None or state == NOT_PRESENT:
            return self.fill
        in_place = state in (FULLY_PRESENT, PARTIALLY_PRESENT)
        start, step = (plan.blocks_offset, self.block_size) if in_place else (0, 0)
        return lambda blocks: _in_a_row(blocks, state | start, step)

    def _bitmap_pieces(self, plan: Plan) -> Iterator[tuple[int, bytes]]:
        for chunk, at in plan.bitmaps.items():
            yield at, self.bitmaps.get(chunk, Bitmap()).data
        for number, block in self.blocks.items():
            chunk, place = divmod(number, self.ratio)
            if chunk in plan.bitmaps and block.present is not None:
                bits = np.zeros(self.sectors_per_block, dtype=np.uint8)
                bits[self._present_sectors(block)] = 1
                packed = np.packbits(bits, bitorder="little").tobytes()
                yield plan.bitmaps[chunk] + place * len(packed), packed


def _in_a_row(blocks: Words, first: int, step: int) -> Words:
    return blocks * np.uint64(step) + np.uint64(first)
