"""Chains of images from the independent builder, for programs that read parents."""

from dataclasses import dataclass
from pathlib import Path

from tests.support.build import ImageBuilder
from tests.support.layout import MIB, PARTIALLY_PRESENT, UNDEFINED, UNMAPPED, ZERO
from tests.support.parts import Block
from tests.support.patterns import pattern


@dataclass(frozen=True)
class Chain:
    """Layers from the base up; the file of layer n is called ``n.vhdx``."""

    name: str
    layers: tuple[ImageBuilder, ...]
    bitmaps: bool = True
    """Whether every chunk with an absent block has a bitmap in every child: libvhdi cannot do without."""

    def __str__(self) -> str:
        return self.name

    def write(self, folder: Path) -> list[Path]:
        """The files, the youngest first."""
        return [layer.write(folder / f"{number}.vhdx") for number, layer in enumerate(self.layers)][::-1]

    def content(self) -> bytes:
        """What the youngest reads as."""
        content = b""
        for layer in self.layers:
            content = layer.content(content)
        return content


def base(block_size: int = MIB, sector_size: int = 512) -> ImageBuilder:
    """A full disk of 8 MiB."""
    blocks = {number: Block(pattern(number, block_size, 1)) for number in range(8 * MIB // block_size)}
    return ImageBuilder(8 * MIB, block_size, sector_size, seed=1, blocks=blocks)


def over(parent: ImageBuilder, number: int, blocks: dict[int, Block], block_size: int = 0) -> ImageBuilder:
    """A child of the layer below."""
    child = parent.child(f"{number - 1}.vhdx")
    child.blocks = blocks
    child.block_size = block_size or parent.block_size
    return child


def part(number: int, present: object, seed: int = 2, block_size: int = MIB) -> Block:
    """A partially present block."""
    assert isinstance(present, range | set)
    return Block(pattern(number, block_size, seed), PARTIALLY_PRESENT, present=present)


_BASE, _BASE_2, _BASE_4096 = base(), base(2 * MIB), base(sector_size=4096)
_MIDDLE = over(
    _BASE, 1, {1: Block(pattern(1, MIB, 5)), 2: part(2, range(800), 5), 7: part(7, range(5, 2043))}
)

CHAINS = [
    Chain("scattered sectors", (_BASE, over(_BASE, 1, {2: part(2, {0, 1, 5, 7, 8, 9, 15, 16, 100, 2047})}))),
    Chain(
        "every second sector", (_BASE, over(_BASE, 1, {0: part(0, range(0, 2048, 2)), 7: part(7, range(3))}))
    ),
    Chain(
        "a whole block and a part",
        (_BASE, over(_BASE, 1, {1: Block(pattern(1, MIB, 2)), 3: part(3, range(9))})),
    ),
    Chain("sectors of 4096", (_BASE_4096, over(_BASE_4096, 1, {2: part(2, {0, 1, 5, 6, 7, 8, 255})}))),
    Chain("blocks of 2 MiB", (_BASE_2, over(_BASE_2, 1, {1: part(1, range(100, 3000), block_size=2 * MIB)}))),
    Chain(
        "other blocks than the parent",
        (_BASE, over(_BASE, 1, {0: part(0, range(100, 3000), block_size=2 * MIB)}, 2 * MIB)),
    ),
    Chain(
        "three layers", (_BASE, _MIDDLE, over(_MIDDLE, 2, {2: part(2, range(400, 1200), 9), 3: part(3, {4})}))
    ),
    Chain("whole blocks only", (_BASE, over(_BASE, 1, {1: Block(pattern(1, MIB, 2))})), bitmaps=False),
    *(
        Chain(
            f"state {state} hides the parent",
            (_BASE, over(_BASE, 1, {1: Block(state=state), 5: part(5, range(9))})),
            bitmaps=False,
        )
        for state in (ZERO, UNMAPPED, UNDEFINED)
    ),
]
