"""How an era begins: an image of any kind that the command makes."""

import shutil

from tests.support.layout import GIB, MIB

from .history import stamped
from .others import run_other
from .reference import Reference
from .scene import SMALL, Layer, Scene, Word, some_range

BLOCK_SIZES = {1: 8, 2: 6, 4: 3, 8: 3, 32: 3, 256: 1}
LOG_SIZES = (1, 1, 1, 2, 8)


def begin(scene: Scene) -> None:
    """The first image: an empty one of ours, or one that QEMU filled."""
    chance = scene.chance
    fixed = chance.random() < 0.2
    sector_size = chance.choice((512, 512, 4096))
    block_size = chance.choices(list(BLOCK_SIZES), list(BLOCK_SIZES.values()))[0] * MIB
    if fixed:
        block_size = min(block_size, 32 * MIB)
    size = _size(scene, sector_size, block_size, fixed=fixed)
    layer = Layer(scene.new_name(), Reference(scene.new_name(".raw"), size), block_size)
    kind = "fixed" if fixed else "dynamic"
    by_qemu = sector_size == 512 and size <= SMALL and chance.random() < 0.2 and shutil.which("qemu-img")
    if by_qemu:
        _convert_with_qemu(scene, layer, kind)
    else:
        _create(scene, layer, kind, sector_size)
    scene.layers.append(layer)
    maker = "QEMU" if by_qemu else "us"
    scene.report.count(
        f"begun by {maker}: {kind}, sectors of {sector_size}, blocks of {block_size // MIB} MiB"
    )


def _create(scene: Scene, layer: Layer, kind: str, sector_size: int) -> None:
    words: list[Word] = [
        *("--block-size", layer.block_size),
        *("--log-size", f"{scene.chance.choice(LOG_SIZES)}M"),
        *("--logical-sector-size", sector_size),
        *("--physical-sector-size", scene.chance.choice((512, 4096))),
        *("--type", kind),
    ]
    if kind == "dynamic" and scene.chance.random() < 0.15:
        words.append("--zero-blocks")
    scene.succeed("create", layer.path, layer.reference.size, *words)


def _convert_with_qemu(scene: Scene, layer: Layer, kind: str) -> None:
    """With some contents, which QEMU puts where it likes."""
    reference, zero = layer.reference, scene.chance.choice(("on", "off"))
    for _ in range(scene.chance.randrange(6)):
        offset, length = some_range(scene.chance, [(0, reference.size)], layer.block_size, 4 * MIB)
        reference.write(stamped(scene.next_change(), offset, length), offset)
    options = f"subformat={kind},block_size={layer.block_size},block_state_zero={zero}"
    run_other(
        scene, "qemu-img", "convert", "-O", "vhdx", "-o", options, "-f", "raw", reference.path, layer.path
    )


def _size(scene: Scene, sector_size: int, block_size: int, *, fixed: bool) -> int:
    """Whole sectors, seldom whole blocks; now and then far larger than anybody fills."""
    chance = scene.chance
    if not fixed and chance.random() < 0.15:
        size = chance.randrange(GIB, min(block_size // MIB * 64 * GIB, 1 << 42))
    elif chance.random() < 0.3:
        return chance.choice((1, 1, 4, 9, 16)) * 4 * MIB
    else:
        size = chance.randrange(sector_size, (SMALL // 3) if fixed else SMALL * 2 // 3)
    return size - size % sector_size or sector_size
