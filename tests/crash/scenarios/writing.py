"""Writing: into present blocks, at any offset, with many flushes and with few."""

from tests.crash.session import Session
from tests.support.build import ImageBuilder
from tests.support.layout import KIB, MIB

from .scenario import Scenario, block, dynamic


def first_write(session: Session) -> None:
    session.write(5 * MIB + 512, 1024)
    session.flush()
    session.write(100, 30)
    session.close()


def in_place(session: Session) -> None:
    for round_ in range(5):
        for number in range(3):
            session.write(number * MIB + session.chance.randrange(16) * 4 * KIB, 4 * KIB)
        session.write(round_ * 300, 700)
        session.flush()
    session.close()


def unflushed(session: Session) -> None:
    for number in range(14):
        session.write(session.chance.randrange(3 * MIB - 9000), 1 + session.chance.randrange(9000))
        if number % 5 == 0:
            session.write(4 * MIB - 300, 600)
    session.close()


def bytes_and_borders(session: Session) -> None:
    for offset, length in (
        (511, 2),
        (MIB - 1, 2),
        (0, 1),
        (3 * MIB - 700, 1500),
        (4095, 4098),
        (2 * MIB + 1, 513),
    ):
        session.write(offset, length)
        session.flush()
        session.write(offset + 1, length)
    session.flush()
    session.write(7 * MIB - 1, 2 * MIB)
    session.flush()
    session.close()


def whole_blocks(session: Session) -> None:
    session.write(2 * MIB, 2 * MIB)
    session.flush()
    session.write(3 * MIB - 4096, 2 * MIB + 4096)
    session.close()


def larger_blocks(session: Session) -> None:
    for offset in (0, 5 * MIB, 13 * MIB, 14 * MIB - 2048, 4 * MIB - 512, 9 * MIB):
        session.write(offset, 4096)
        session.flush()
    session.zero(4 * MIB, 4 * MIB)
    session.write(4 * MIB + 512, 512)
    session.close()


def sectors_of_4096(session: Session) -> None:
    for offset in (0, 8 * KIB, 3 * MIB, 5 * MIB + 4 * KIB, 2 * MIB + 100):
        session.write(offset, 4 * KIB)
        session.flush()
    session.zero(0, MIB)
    session.trim(2 * MIB, MIB)
    session.write(12 * KIB, 8 * KIB)
    session.flush()
    session.close()


def odd_size(session: Session) -> None:
    session.write(session.size - 512, 512)
    session.flush()
    session.write(session.size - 2000, 2000)
    session.write(3 * MIB - 100, 200)
    session.flush()
    session.zero(3 * MIB, session.size - 3 * MIB)
    session.flush()
    session.write(session.size - 700, 100)
    session.flush()
    session.trim(2 * MIB, session.size - 2 * MIB)
    session.write(session.size - 1, 1)
    session.close()


def last_block(session: Session) -> None:
    """The disk ends early in its last block, whose space nobody else may have, the neighbours being free."""
    session.write(12 * MIB + 512, 1024)
    session.flush()
    session.zero(0, 4 * MIB)
    session.flush()
    session.write(4 * MIB + 512, 1024)
    session.flush()
    session.write(8 * MIB + 512, 1024)
    session.zero(4 * MIB, 4 * MIB)
    session.close()
    session.zero(8 * MIB, 4 * MIB)
    session.close()
    session.write(1024, 512)
    session.write(5 * MIB, 512)
    session.close()


def _ends_early() -> ImageBuilder:
    image = ImageBuilder(13 * MIB, block_size=4 * MIB, blocks={0: block(0, 4 * MIB), 3: block(3, 4 * MIB)})
    places = image.plan().blocks
    image.blocks[0].file_offset, image.blocks[3].file_offset = places[3], places[0]
    return image


def of_4096() -> ImageBuilder:
    blocks = {n: block(n) for n in range(3)}
    return ImageBuilder(8 * MIB, logical_sector_size=4096, blocks=blocks)


def large() -> ImageBuilder:
    return ImageBuilder(15 * MIB, block_size=4 * MIB, blocks={0: block(0, 4 * MIB), 2: block(2, 4 * MIB)})


SCENARIOS = (
    Scenario("first write of a session", dynamic, first_write, 30),
    Scenario("writes in place", dynamic, in_place, 890),
    Scenario("many writes and no flush", dynamic, unflushed, 1450),
    Scenario("single bytes, and writes over borders", dynamic, bytes_and_borders, 290),
    Scenario("whole blocks", dynamic, whole_blocks, 280),
    Scenario("blocks of 4 MiB", large, larger_blocks, 210),
    Scenario("a last block that the disk ends in", _ends_early, last_block, 160),
    Scenario("sectors of 4096 bytes", of_4096, sectors_of_4096, 260),
    Scenario("a disk of odd size", lambda: dynamic(disk_size=3 * MIB + 5 * 512), odd_size, 120),
)
