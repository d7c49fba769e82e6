"""The images that are written to: of our own making, of the builder's, strange but legal, and of QEMU."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import FULLY_PRESENT, GIB, MIB, NOT_PRESENT, UNDEFINED, UNMAPPED, ZERO
from tests.support.parts import Block
from tests.support.patterns import pattern
from tests.support.presets import disk2vhd_like, qemu_like

UNMAPPED_V095 = 5
JUNK = 0xEE
"""The owner that patterns in space name which no block may ever show."""


class Kind(NamedTuple):
    """A maker of images, and what other software can be asked about them."""

    make: Callable[[Path], object]
    needs_qemu: bool = False
    qemu_reads: bool = True
    looks_lost: bool = False
    """Whether space that nobody owns is likely to be lost blocks, at first or after a crash."""


def junk(length: int) -> bytes:
    """Bytes that no disk may ever hold."""
    return pattern(JUNK, length, seed=JUNK)


def strange() -> ImageBuilder:
    """Every state that a dynamic image can have, with gaps full of junk and anchors."""
    image = ImageBuilder(
        disk_size=12 * MIB + 512,
        gap=2 * MIB,
        blocks={
            0: Block(pattern(0, MIB)),
            1: Block(state=ZERO),
            2: Block(junk(MIB), UNMAPPED, anchored=True),
            3: Block(state=UNMAPPED),
            4: Block(junk(MIB), UNDEFINED, anchored=True),
            5: Block(state=UNDEFINED),
            6: Block(state=UNMAPPED_V095),
            8: Block(pattern(8, MIB)),
            12: Block(pattern(12, 512)),
        },
        tail=junk(3 * MIB + 777),
    )
    plan = image.plan()
    # a gap of one MiB between the blocks: what a writer that crashed may have left
    image.blocks[8].file_offset = plan.blocks[8] + MIB
    image.blocks[12].file_offset = plan.blocks[12] + MIB
    image.patches = [
        (plan.blocks_offset - 2 * MIB, junk(2 * MIB)),
        (plan.blocks[8], junk(MIB)),
        # a ZERO entry that carries an offset, as QEMU wrote before 2015: it claims nothing
        (plan.bat_offset + 8, (ZERO | plan.blocks[8]).to_bytes(8, "little")),
    ]
    return image


def short_last_block() -> ImageBuilder:
    """As QEMU makes fixed images: the file ends with the disk, in the middle of the last block."""
    return qemu_like(
        disk_type="fixed",
        default_state=FULLY_PRESENT,
        disk_size=9 * MIB,
        blocks={1: Block(pattern(1, MIB))},
        file_length=17 * MIB,
    )


def of_qemu(size: str, *options: str) -> Callable[[Path], object]:
    """Made by `qemu-img create`."""
    words = [part for option in options for part in ("-o", option)]
    return lambda path: subprocess.run(
        ["qemu-img", "create", "-q", "-f", "vhdx", *words, str(path), size], check=True
    )


ODD = 5 * MIB + 1536
KINDS: dict[str, Kind] = {
    "dynamic": Kind(lambda path: vhdx.create(path, ODD, block_size=MIB)),
    "dynamic, zero blocks": Kind(lambda path: vhdx.create(path, ODD, block_size=MIB, zero_blocks=True)),
    "dynamic, 2 MiB blocks": Kind(lambda path: vhdx.create(path, 15 * MIB + 512, block_size=2 * MIB)),
    "dynamic, 4096": Kind(
        lambda path: vhdx.create(path, 6 * MIB + 4096, block_size=MIB, logical_sector_size=4096),
        qemu_reads=False,
    ),
    "fixed": Kind(lambda path: vhdx.create(path, ODD, block_size=MIB, disk_type="fixed")),
    "fixed, 4096": Kind(
        lambda path: vhdx.create(
            path, 5 * MIB + 8192, block_size=2 * MIB, disk_type="fixed", logical_sector_size=4096
        ),
        qemu_reads=False,
    ),
    "32 MiB blocks": Kind(lambda path: vhdx.create(path, 70 * MIB + 512, block_size=32 * MIB)),
    "256 MiB blocks": Kind(lambda path: vhdx.create(path, 600 * MIB + 1024, block_size=256 * MIB)),
    "sparse 3 GiB": Kind(lambda path: vhdx.create(path, 3 * GIB, block_size=256 * MIB)),
    "strange": Kind(lambda path: strange().write(path)),
    "strange, absent fixed": Kind(
        lambda path: ImageBuilder(
            disk_type="fixed",
            default_state=NOT_PRESENT,
            disk_size=6 * MIB,
            blocks={1: Block(pattern(1, MIB)), 2: Block(state=ZERO), 4: Block(pattern(4, MIB))},
            file_length=13 * MIB,
        ).write(path),
        looks_lost=True,
    ),
    "like QEMU": Kind(
        lambda path: qemu_like(
            disk_size=9 * MIB, block_size=2 * MIB, blocks={1: Block(pattern(1, 2 * MIB))}
        ).write(path)
    ),
    "like QEMU, short last block": Kind(lambda path: short_last_block().write(path)),
    "like Disk2vhd": Kind(
        lambda path: disk2vhd_like(disk_size=5 * MIB, blocks={2: Block(pattern(2, MIB))}).write(path)
    ),
    "QEMU": Kind(of_qemu("5M", "block_size=1M"), needs_qemu=True),
    "QEMU, default blocks": Kind(of_qemu("19M"), needs_qemu=True),
    "QEMU, fixed": Kind(of_qemu("5M", "block_size=2M", "subformat=fixed"), needs_qemu=True),
    "QEMU, fixed and present": Kind(
        of_qemu("5M", "block_size=2M", "subformat=fixed", "block_state_zero=off"), needs_qemu=True
    ),
}
