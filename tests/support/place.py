"""Where the parts of a described image lie in the file.

Blocks follow the regions in the order of their numbers, each bitmap before the first block of its chunk. If
blocks have space by default (fixed disks), block i stands in the i-th place and bitmaps follow.
"""

from dataclasses import dataclass

from .describe import Description, round_up
from .layout import BITMAP_PRESENT, BITMAP_SIZE, FULLY_PRESENT, HEADER_SECTION, MIB, PARTIALLY_PRESENT
from .parts import Bitmap, Block, Region


@dataclass(frozen=True)
class Plan:
    """Where the parts of an image lie in the file, as placed (a lying entry changes nothing here)."""

    log_offset: int
    regions: dict[str, tuple[int, int]]
    blocks_offset: int
    blocks: dict[int, int]
    bitmaps: dict[int, int]
    end: int

    @property
    def bat_offset(self) -> int:
        """File offset of the BAT region."""
        return self.regions["bat"][0]

    @property
    def metadata_offset(self) -> int:
        """File offset of the metadata region."""
        return self.regions["metadata"][0]


def place(image: Description) -> Plan:
    """Where everything lies."""
    cursor = HEADER_SECTION
    log_offset = 0
    regions: dict[str, tuple[int, int]] = {}
    extra = [name for name in image.regions if name not in image.placement]
    for name in (*image.placement, *extra):
        region = image.regions.get(name, Region())
        chosen, size = (image.log_offset, image.log_size) if name == "log" else (region.at, region.size)
        if size is None:
            size = max(round_up(image.bat_entries * 8), MIB) if name == "bat" else MIB
        at = cursor if chosen is None else chosen
        if name == "log":
            log_offset = at
        elif not region.omit:
            regions[name] = (at, size)
        cursor = round_up(max(cursor, at + size))
    cursor += image.gap
    return _plan_blocks(image, log_offset, regions, cursor)


def _plan_blocks(
    image: Description, log_offset: int, regions: dict[str, tuple[int, int]], start: int
) -> Plan:
    in_place = image.usual_state in (FULLY_PRESENT, PARTIALLY_PRESENT)
    cursor = end = start + (image.payload_blocks * image.block_size if in_place else 0)
    blocks: dict[int, int] = {}
    bitmaps: dict[int, int] = {}
    for chunk in sorted(image.bitmaps):
        chosen = image.bitmaps[chunk].file_offset
        if chosen is not None:
            bitmaps[chunk] = chosen
            end = max(end, chosen + BITMAP_SIZE)
    for number in sorted(image.blocks):
        block = image.blocks[number]
        chunk = number // image.ratio
        if chunk not in bitmaps and _wants_bitmap(image, chunk, block):
            bitmaps[chunk] = cursor
            cursor += BITMAP_SIZE
        if block.file_offset is not None:
            blocks[number] = block.file_offset
        elif block.state in (FULLY_PRESENT, PARTIALLY_PRESENT) or block.anchored:
            blocks[number] = start + number * image.block_size if in_place else cursor
            cursor += 0 if in_place else image.block_size
        end = max(end, cursor, blocks.get(number, 0) + image.block_size if number in blocks else 0)
    for chunk in sorted(image.bitmaps):
        if chunk not in bitmaps and (image.bitmaps[chunk].state or 0) == BITMAP_PRESENT:
            bitmaps[chunk] = cursor
            cursor += BITMAP_SIZE
    return Plan(log_offset, regions, start, blocks, bitmaps, max(end, cursor))


def _wants_bitmap(image: Description, chunk: int, block: Block) -> bool:
    told = image.bitmaps.get(chunk, Bitmap()).state
    if told is not None:
        return told == BITMAP_PRESENT
    return block.present is not None or (block.state == PARTIALLY_PRESENT and image.differencing)
