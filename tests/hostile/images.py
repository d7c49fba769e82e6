"""The images that are damaged here: small, with one of everything, every byte of data telling its place."""

from pathlib import Path

from tests.support.build import ImageBuilder
from tests.support.layout import MIB, PARTIALLY_PRESENT, SECTOR, UNMAPPED, ZERO
from tests.support.logs import Data, LogBuilder, Zero, difference
from tests.support.parts import Block
from tests.support.patterns import pattern

SIZE = 3 * MIB + 5 * 512


def clean() -> ImageBuilder:
    """A dynamic image whose last block is short."""
    image = ImageBuilder(SIZE)
    image.blocks = {
        0: Block(pattern(0, MIB)),
        1: Block(state=ZERO),
        2: Block(pattern(2, MIB)),
        3: Block(pattern(3, MIB)),
    }
    return image


def dirty() -> ImageBuilder:
    """The same with a log: without its replay block 0 would be another block, and block 2 be absent."""
    after = clean()
    before = clean()
    places = after.plan().blocks
    before.bat = {0: places[3] | 6, 2: 0}
    log = LogBuilder(sequence_number=2**33 + 5, position=3 * SECTOR)
    log.add(Data(places[0], b"before the tail, never replayed!" * 128))
    tail = log.add(*difference(before.build(), after.build(), 2 * MIB))
    free = after.plan().metadata_offset + MIB // 2
    log.add(
        Zero(free, 2 * SECTOR),
        Data(free + 4 * SECTOR, pattern(9, SECTOR)),
        Data(free, pattern(8, SECTOR)),
        tail=tail,
    )
    before.log = log
    return before


def family(folder: Path) -> tuple[Path, Path]:
    """A child with a block of each kind over a parent; the paths of both."""
    parent = clean()
    path = parent.write(folder / "parent.vhdx")
    child = parent.child()
    child.blocks = {
        0: Block(pattern(0, MIB, 1), PARTIALLY_PRESENT, present=b"\xfd\x7f" * 128),
        1: Block(pattern(1, MIB, 1)),
        2: Block(state=UNMAPPED),
        3: Block(pattern(3, MIB, 1), PARTIALLY_PRESENT, present={1, 2, 4}),
    }
    return child.write(folder / "child.vhdx"), path
