"""The images that cases change: one of each kind, small, each with the areas worth changing."""

from collections.abc import Iterator
from functools import cache

from tests.support.build import ImageBuilder
from tests.support.layout import (
    BAT_ENTRY,
    DATA_DESCRIPTOR,
    HEADER,
    HEADER_OFFSETS,
    IDENTIFIER,
    KIB,
    LOCATOR,
    LOCATOR_ENTRY,
    LOG_ENTRY,
    METADATA_ENTRY,
    METADATA_TABLE,
    MIB,
    PARTIALLY_PRESENT,
    REGION_ENTRY,
    REGION_TABLE,
    REGION_TABLE_OFFSETS,
    SECTOR,
    TABLE_SIZE,
    TIB,
    UNMAPPED,
    ZERO,
)
from tests.support.logs import Data, LogBuilder, Zero
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.presets import disk2vhd_like, qemu_like
from tests.support.sparse import Content, content_of

from .case import Area, Seed

SIZE = 3 * MIB + 5 * 512


@cache
def seeds() -> tuple[Seed, ...]:
    """All seeds. Cases name them by number: new ones go to the end."""
    parent = content_of(clean())
    return (
        _seed("dynamic", clean()),
        _seed("dirty", dirty()),
        _seed("child", child(clean()), parent),
        _seed("fixed", ImageBuilder(SIZE, disk_type="fixed", blocks={1: Block(_data(1))})),
        _seed("as QEMU", qemu_like(disk_size=17 * MIB, blocks={0: Block(_data(0)), 2: Block(_data(2))})),
        _seed("as Disk2vhd", disk2vhd_like(disk_size=5 * MIB, blocks={1: Block(_data(1))})),
        _seed("4096-byte sectors", sectors_of_4096()),
        _seed("child of 4096-byte sectors", child(sectors_of_4096()), content_of(sectors_of_4096())),
        _seed("large", ImageBuilder(4 * TIB, 32 * MIB, blocks={0: Block(_data(0)), 131000: Block(_data(7))})),
        _seed("dirty child", dirty_child(), parent),
    )


def clean() -> ImageBuilder:
    """A dynamic image whose last block is short."""
    image = ImageBuilder(SIZE)
    image.blocks = {
        0: Block(_data(0)),
        1: Block(state=ZERO),
        2: Block(_data(2)),
        3: Block(_data(3)),
    }
    return image


def sectors_of_4096() -> ImageBuilder:
    """A dynamic image of 4096-byte sectors and blocks of 2 MiB."""
    image = ImageBuilder(9 * MIB, 2 * MIB, logical_sector_size=4096)
    image.blocks = {0: Block(_data(0)), 2: Block(_data(2)), 3: Block(state=UNMAPPED)}
    return image


def child(parent: ImageBuilder) -> ImageBuilder:
    """A child with a block of each kind."""
    image = parent.child()
    image.parent_data_write_guid = parent.guid("data write")
    image.blocks = {
        0: Block(_data(10), PARTIALLY_PRESENT, present=b"\xfd\x7f" * 8),
        1: Block(_data(11)),
        2: Block(state=UNMAPPED),
        3: Block(_data(13), PARTIALLY_PRESENT, present={1, 2, 4}),
    }
    return image


def dirty() -> ImageBuilder:
    """The dynamic image with a log: without its replay block 0 is another block, and block 2 is absent."""
    before = clean()
    places = clean().plan().blocks
    before.bat = {0: places[3] | 6, 2: 0}
    return _with_log(before, clean())


def dirty_child() -> ImageBuilder:
    """The child with a log that changes its table."""
    before = child(clean())
    before.bat = {0: 0, 1: 2}
    return _with_log(before, child(clean()))


def _with_log(before: ImageBuilder, after: ImageBuilder) -> ImageBuilder:
    """An image whose log holds an old entry, one that makes its table right, and one more."""
    plan = after.plan()
    log = LogBuilder(sequence_number=2**33 + 5, position=3 * SECTOR)
    log.add(Data(min(plan.blocks.values()), b"before the tail, never replayed!" * 128))
    tail = log.add(Data(plan.bat_offset, content_of(after).read(SECTOR, plan.bat_offset)))
    free = plan.metadata_offset + MIB // 2
    log.add(Zero(free, 2 * SECTOR), Data(free, pattern(8, SECTOR)), tail=tail)
    before.log = log
    return before


def _data(block: int) -> bytes:
    return pattern(block, 2 * SECTOR)


def _seed(name: str, image: ImageBuilder, parent: Content | None = None) -> Seed:
    plan = image.plan()
    log = plan.log_offset, image.log_size
    return Seed(name, content_of(image), tuple(_areas(image)), log, parent)


def _areas(image: ImageBuilder) -> Iterator[Area]:
    """Those that a checksum seals first: bits of a case name them by their order."""
    plan = image.plan()
    for copy, offset in HEADER_OFFSETS.items():
        yield Area(f"header {copy}", offset, HEADER.size, HEADER, sealed=True)
    for copy, offset in REGION_TABLE_OFFSETS.items():
        yield Area(f"region table {copy}", offset, TABLE_SIZE, REGION_TABLE, REGION_ENTRY, 16, sealed=True)
    yield Area("identifier", 0, 1024, IDENTIFIER)
    metadata = plan.metadata_offset
    yield Area("metadata table", metadata, TABLE_SIZE, METADATA_TABLE, METADATA_ENTRY, 32)
    yield Area("items", metadata + TABLE_SIZE, 4 * KIB)
    if image.differencing:
        place = 40
        yield Area("locator", metadata + TABLE_SIZE + place, 4 * KIB, LOCATOR, LOCATOR_ENTRY, LOCATOR.size)
    yield Area("BAT", plan.bat_offset, 512, rows=BAT_ENTRY)
    if image.ratio * 8 < MIB:
        yield Area("bitmap slot", plan.bat_offset + image.ratio * 8, 64, rows=BAT_ENTRY)
    yield Area("end of the BAT", plan.bat_offset + image.bat_entries * 8 - 64, 64, rows=BAT_ENTRY)
    for number, (at, entry) in enumerate(_log_entries(image)):
        yield Area(f"log entry {number}", at, len(entry), LOG_ENTRY, DATA_DESCRIPTOR, LOG_ENTRY.size)
    yield Area("log", plan.log_offset, 16 * SECTOR, LOG_ENTRY, DATA_DESCRIPTOR, LOG_ENTRY.size)
    yield Area("end of the log", plan.log_offset + image.log_size - 4 * SECTOR, 4 * SECTOR, LOG_ENTRY)
    for chunk, at in plan.bitmaps.items():
        yield Area(f"bitmap {chunk}", at, 1024)
    for block, at in plan.blocks.items():
        yield Area(f"block {block}", at, 2 * SECTOR)


def _log_entries(image: ImageBuilder) -> Iterator[tuple[int, bytes]]:
    if isinstance(image.log, LogBuilder):
        offset = image.plan().log_offset
        yield from ((offset + at, entry) for at, entry in image.log.pieces())
