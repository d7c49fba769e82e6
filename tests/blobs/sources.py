"""Images of every kind that are uploaded, each with the bytes that its disk has."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.journal.test_replay import dirty, images, logged
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, PARTIALLY_PRESENT, SECTOR
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.vhd import FIXED, VhdBuilder

KIB = 1024


class Made(NamedTuple):
    """An image and what its disk holds."""

    path: Path
    content: bytes


def dynamic(folder: Path) -> Made:
    """A dynamic VHDX, with runs that touch, runs that do not, and blocks of zeros."""
    blocks = {n: Block(pattern(n, MIB)) for n in (1, 2, 3, 4, 5, 9)}
    blocks[7] = Block({8 * KIB: pattern(7, 4 * KIB), 512 * KIB: b"x"})
    blocks[11] = Block(bytes(MIB))
    builder = ImageBuilder(16 * MIB, blocks=blocks)
    return Made(builder.write(folder / "a.vhdx"), builder.content())


def small(folder: Path) -> Made:
    """The same in small: five runs, each of which is one request."""
    blocks = {n: Block({n * 16 * KIB: pattern(n, 20 * KIB)}) for n in (1, 2, 5, 9, 15)}
    builder = ImageBuilder(16 * MIB, blocks=blocks)
    return Made(builder.write(folder / "a.vhdx"), builder.content())


def fixed(folder: Path) -> Made:
    """A fixed VHDX."""
    builder = ImageBuilder(4 * MIB, disk_type="fixed", blocks={1: Block(pattern(1, MIB))})
    return Made(builder.write(folder / "a.vhdx"), builder.content())


def chain(folder: Path) -> Made:
    """A differencing VHDX over its parent."""
    parent = ImageBuilder(4 * MIB, blocks={n: Block(pattern(n, MIB)) for n in (0, 1)}, seed=40)
    child = parent.child()
    child.blocks = {
        1: Block(pattern(77, MIB), PARTIALLY_PRESENT, present=range(3, 900)),
        3: Block(pattern(3, MIB)),
    }
    below = parent.content()
    parent.write(folder / "parent.vhdx")
    return Made(child.write(folder / "a.avhdx"), child.content(below))


def large_sectors(folder: Path) -> Made:
    """A VHDX with logical sectors of 4096 bytes."""
    builder = ImageBuilder(4 * MIB, logical_sector_size=4096, blocks={2: Block(pattern(2, MIB))})
    return Made(builder.write(folder / "a.vhdx"), builder.content())


def unclean(folder: Path) -> Made:
    """A VHDX whose log is to be replayed."""
    before, log, after = dirty(position=100 * SECTOR, sequence_number=7)
    logged(log, images()[0], after)
    return Made(before.write(folder / "a.vhdx"), after.content())


def raw(folder: Path) -> Made:
    """A raw disk whose last sector is not whole, with holes."""
    content = bytes(3 * MIB) + random.Random(1).randbytes(MIB + 100)
    path = folder / "a.raw"
    with open(path, "wb") as file:
        file.seek(3 * MIB)
        file.write(content[3 * MIB :])
    return Made(path, content)


def dynamic_vhd(folder: Path) -> Made:
    """A dynamic VHD, whose sectors are stored one by one."""
    sectors = {n: bytes([n % 250 + 1]) * 512 for n in (0, 1, 7, 8, 15, 4096, 8191, 8195)}
    content = bytearray(6 * MIB)
    for number, data in sectors.items():
        content[number * 512 : number * 512 + 512] = data
    path = VhdBuilder(6 * MIB, sectors=sectors).write(folder / "a.vhd")
    return Made(path, bytes(content))


def fixed_vhd(folder: Path) -> Made:
    """A fixed VHD."""
    sectors = {n: bytes([n % 250 + 1]) * 512 for n in (0, 5000)}
    content = bytearray(3 * MIB)
    for number, data in sectors.items():
        content[number * 512 : number * 512 + 512] = data
    return Made(VhdBuilder(3 * MIB, disk_type=FIXED, sectors=sectors).write(folder / "a.vhd"), bytes(content))


def empty(folder: Path) -> Made:
    """A disk of zeros."""
    builder = ImageBuilder(2 * MIB)
    return Made(builder.write(folder / "a.vhdx"), builder.content())


KINDS: tuple[Callable[[Path], Made], ...] = (
    *(dynamic, fixed, chain, large_sectors, unclean, raw, dynamic_vhd, fixed_vhd, empty),
)


def nonzero(content: bytes, unit: int = 4096) -> int:
    """How many bytes of it stand in units that are not all zeros."""
    units = (content[at : at + unit] for at in range(0, len(content), unit))
    return sum(unit for each in units if any(each))
