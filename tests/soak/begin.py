"""How an era begins: an image of any kind that the command makes."""

from tests.support.layout import GIB, MIB

from .reference import Reference
from .scene import SMALL, Layer, Scene, Word

BLOCK_SIZES = {1: 8, 2: 6, 4: 3, 8: 3, 32: 3, 256: 1}
LOG_SIZES = (1, 1, 1, 2, 8)


def begin(scene: Scene) -> None:
    """Create the first image."""
    chance = scene.chance
    fixed = chance.random() < 0.2
    sector_size = chance.choice((512, 512, 4096))
    block_size = chance.choices(list(BLOCK_SIZES), list(BLOCK_SIZES.values()))[0] * MIB
    if fixed:
        block_size = min(block_size, 32 * MIB)
    size = _size(scene, sector_size, block_size, fixed=fixed)
    path = scene.new_name()
    words: list[Word] = [
        *("--block-size", block_size),
        *("--log-size", f"{chance.choice(LOG_SIZES)}M"),
        *("--logical-sector-size", sector_size),
        *("--physical-sector-size", chance.choice((512, 4096))),
        *("--type", "fixed" if fixed else "dynamic"),
    ]
    if not fixed and chance.random() < 0.15:
        words.append("--zero-blocks")
    scene.succeed("create", path, size, *words)
    reference = Reference(scene.new_name(".raw"), size)
    scene.layers.append(Layer(path, reference, block_size))
    kind = "fixed" if fixed else "dynamic"
    scene.report.count(f"images begun: {kind}, sectors of {sector_size}, blocks of {block_size // MIB} MiB")


def _size(scene: Scene, sector_size: int, block_size: int, *, fixed: bool) -> int:
    """Whole sectors, seldom whole blocks; now and then far larger than anybody fills."""
    chance = scene.chance
    if not fixed and chance.random() < 0.15:
        size = chance.randrange(GIB, min(block_size // MIB * 64 * GIB, 1 << 42))
    elif chance.random() < 0.3:
        return chance.randint(1, 4) ** 2 * 4 * MIB
    else:
        size = chance.randrange(sector_size, (SMALL // 3) if fixed else SMALL * 2 // 3)
    return size - size % sector_size or sector_size
