"""Zeroing and trimming: whole blocks, parts of them, with and without keeping the space."""

from tests.crash.session import Session
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, NOT_PRESENT, ZERO
from tests.support.parts import Block

from .scenario import Scenario, block, dynamic


def zeroed_whole(session: Session) -> None:
    session.zero(0, 2 * MIB)
    session.flush()
    session.write(512, 512)
    session.zero(MIB, 8 * MIB)
    session.flush()
    session.write(2 * MIB + 4096, 1024)
    session.zero(2 * MIB, MIB)
    session.write(2 * MIB + 8192, 1024)
    session.flush()
    session.zero(0, session.size)
    session.close()


def zeroed_in_part(session: Session) -> None:
    for offset, length in ((0, 2048), (100, 700), (MIB - 2048, 5000), (3 * MIB - 512, 1024), (2 * MIB, 512)):
        session.zero(offset, length)
        session.write(offset + length - 1, 700)
        session.zero(offset + length, 512)
        session.flush()
    session.zero(MIB - 100, 1 * MIB + 200)
    session.close()


def zeroed_and_kept(session: Session) -> None:
    session.zero(0, MIB, keep_allocated=True)
    session.flush()
    session.zero(MIB - 512, 3 * MIB, keep_allocated=True)
    session.write(512, 1024)
    session.flush()
    session.write(4 * MIB + 512, 1024)
    session.zero(4 * MIB, 2 * MIB, keep_allocated=True)
    session.write(5 * MIB, 512)
    session.close()


def trimmed_whole(session: Session) -> None:
    session.trim(0, 2 * MIB)
    session.flush()
    session.write(512, 512)
    session.trim(2 * MIB, MIB)
    session.write(2 * MIB + 4096, 1024)
    session.flush()
    session.trim(0, session.size)
    session.flush()
    session.write(MIB + 512, 512)
    session.close()


def trimmed_in_part(session: Session) -> None:
    for offset, length in ((0, 2048), (100, 700), (MIB - 2048, 5000), (3 * MIB - 512, 1024), (2 * MIB, 512)):
        session.trim(offset, length)
        session.write(offset + length - 1, 700)
        session.flush()
    session.trim(MIB - 100, 1 * MIB + 200)
    session.write(MIB + 512, 512)
    session.close()


def again_and_again(session: Session) -> None:
    """One block changes hands between a flush and the next, every way there is."""
    for _ in range(3):
        session.write(512, 512)
        session.trim(0, MIB)
        session.write(1024, 512)
        session.zero(0, MIB)
        session.write(2048, 512)
        session.flush()
        session.trim(0, MIB)
        session.flush()
        session.write(4096, 512)
        session.write(5 * MIB, 512)
        session.flush()
        session.zero(5 * MIB, MIB)
    session.close()


def _mixed() -> ImageBuilder:
    image = dynamic()
    image.blocks |= {4: Block(state=ZERO), 5: Block(state=NOT_PRESENT), 6: block(6)}
    return image


SCENARIOS = (
    Scenario("whole blocks zeroed", _mixed, zeroed_whole, 310),
    Scenario("parts of blocks zeroed", _mixed, zeroed_in_part, 240),
    Scenario("blocks zeroed and their space kept", _mixed, zeroed_and_kept, 85),
    Scenario("whole blocks trimmed", _mixed, trimmed_whole, 270),
    Scenario("parts of blocks trimmed", _mixed, trimmed_in_part, 240),
    Scenario("a block given up and written again", dynamic, again_and_again, 300),
)
