"""Chains of one parent and one child, described byte by byte, as files in a folder."""

from pathlib import Path

from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, MIB, PARTIALLY_PRESENT, ZERO
from tests.support.parts import Block
from tests.support.patterns import pattern

PARENT, CHILD = "parent.vhdx", "child.vhdx"
OWN, BELOW, JUNK = 0x4F574E, 0x42454C, 0x4A554E4B
"""Whose bytes a pattern says it is: the child's, the parent's, nobody's."""


def parent_of(kind: str, disk_size: int, sector_size: int = 512, block_size: int = MIB) -> ImageBuilder:
    """A parent full of data, all ZERO, without any block, or ending in the middle of the child's block 1."""
    size = MIB + MIB // 2 if kind == "shorter" else disk_size
    image = ImageBuilder(size, block_size, sector_size, seed=1)
    if kind == "zero":
        image.default_state = ZERO
    elif kind != "absent":
        image.blocks = {n: Block(pattern(n, block_size, BELOW)) for n in range(image.payload_blocks)}
    return image


def child_over(parent: ImageBuilder, disk_size: int, blocks: dict[int, Block]) -> ImageBuilder:
    """A child that may be larger than its parent."""
    child = parent.child(PARENT)
    child.disk_size = disk_size
    child.blocks = blocks
    return child


def written(folder: Path, parent: ImageBuilder, child: ImageBuilder) -> list[Path]:
    """The files, the child first."""
    parent.write(folder / PARENT)
    return [child.write(folder / CHILD), folder / PARENT]


def own_block(
    number: int, state: int, present: set[int] | range | bytes | tuple[()], size: int = MIB
) -> Block:
    """A block in any state. Where it has space, that holds its own data, and junk where bits are not set."""
    if state in (FULLY_PRESENT, PARTIALLY_PRESENT):
        return Block(pattern(number, size, OWN), state, present=present)
    return Block(pattern(number, size, JUNK), state, present=present)
