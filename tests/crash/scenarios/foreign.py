"""Images of other kinds and other makers: fixed, as QEMU writes them, as Disk2vhd does."""

from typing import Any

from tests.crash.explore import HARMLESS
from tests.crash.session import Session
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, ZERO
from tests.support.presets import disk2vhd_like, qemu_like
from tests.support.soundness import SHORT

from .scenario import Scenario, block, junk


def busy(session: Session) -> None:
    for offset in range(0, session.size - 5000, MIB):
        session.write(offset + 300, 5000)
        session.write(offset + MIB // 2, 1024)
    session.flush()
    for offset in (512, 3 * MIB + 512, session.size - 1024):
        session.write(offset, 1024)
        session.flush()
    session.zero(0, session.size // 2)
    session.write(session.size - 700, 500)
    session.flush()
    session.trim(session.size // 2, session.size - session.size // 2)
    session.write(1024, 512)
    session.write(session.size - 512, 512)
    session.close()
    session.write(2 * MIB, 1024)
    session.close()


def fixed(**changes: Any) -> ImageBuilder:
    usual: dict[str, Any] = {"disk_size": 5 * MIB + 3 * 512, "disk_type": "fixed"}
    image = ImageBuilder(**{**usual, **changes})
    image.blocks = {n: block(n) for n in range(0, 5, 2)}
    return image


def _qemu_fixed(default_state: int) -> ImageBuilder:
    """The file ends with the disk, in the middle of the last block and of a MiB."""
    size = 5 * MIB + 3 * 512
    image = qemu_like(
        disk_size=size, block_size=2 * MIB, disk_type="fixed", default_state=default_state, gap=2 * MIB
    )
    start = image.plan().blocks_offset
    if default_state == ZERO:
        junk(image, start // MIB, 5)
    else:
        image.blocks = {0: block(0, 2 * MIB), 1: block(1, 2 * MIB)}
    image.file_length = start + size
    return image


def qemu_dynamic() -> ImageBuilder:
    return qemu_like(
        disk_size=9 * MIB + 512, block_size=2 * MIB, blocks={0: block(0, 2 * MIB), 2: block(2, 2 * MIB)}
    )


def _disk2vhd() -> ImageBuilder:
    image = disk2vhd_like(disk_size=8 * MIB, blocks={0: block(0, 2 * MIB), 1: block(1, 2 * MIB)})
    image.tail = b"\xee" * 512
    return image


MAY_BE_SHORT = HARMLESS | {SHORT}
SCENARIOS = (
    Scenario("a fixed image", fixed, busy, 570),
    Scenario("a fixed image of QEMU", lambda: _qemu_fixed(6), busy, 580, warnings=MAY_BE_SHORT),
    Scenario(
        "a fixed image of QEMU whose blocks are ZERO",
        lambda: _qemu_fixed(ZERO),
        busy,
        840,
        warnings=HARMLESS | {SHORT},
    ),
    Scenario("a dynamic image of QEMU", qemu_dynamic, busy, 1930),
    Scenario("an image of Disk2vhd", _disk2vhd, busy, 1590),
)
