"""Allocating: one block and many, at the end of the file, in gaps full of junk, in what was given up."""

from tests.crash.session import Session
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, UNDEFINED, UNMAPPED
from tests.support.parts import Block

from .scenario import Scenario, block, dynamic, junk


def one_flush_for_each(session: Session) -> None:
    for number in range(3, 12):
        session.write(number * MIB + 512 * number, 4096)
        session.flush()
    session.close()


def one_flush_for_many(session: Session) -> None:
    for number in range(3, 8):
        session.write(number * MIB + 512 * number, 2048)
    session.flush()
    for number in range(8, 12):
        session.write(number * MIB, 512)
    session.close()


def from_junk(session: Session) -> None:
    for number in (3, 4, 5):
        session.write(number * MIB + 4096 * number, 512)
        session.flush()
    session.write(6 * MIB, MIB)
    session.write(7 * MIB + 100, 100)
    session.flush()
    session.zero(3 * MIB, MIB)
    session.flush()
    session.write(8 * MIB + 512, 512)
    session.write(3 * MIB + 512, 512)
    session.close()


def given_up_in_one_session(session: Session) -> None:
    for number in range(3):
        session.trim(number * MIB, MIB)
        session.write((6 + number) * MIB + 1024, 1024)
        session.flush()
        session.write((9 + number) * MIB + 2048, 1024)
        session.flush()
        session.zero((6 + number) * MIB, MIB)
        session.write(number * MIB + 512, 512)
    session.close()


def given_up_across_sessions(session: Session) -> None:
    session.zero(0, MIB)
    session.close()
    session.write(7 * MIB + 512, 2048)
    session.flush()
    session.trim(MIB, MIB)
    session.close()
    session.write(8 * MIB, 1024)
    session.trim(7 * MIB, MIB)
    session.close()
    session.write(9 * MIB + 4096, 1024)
    session.close()


def anchors(session: Session) -> None:
    """Blocks without contents keep their space; writing to one takes other space."""
    session.write(3 * MIB + 512, 512)
    session.flush()
    session.write(7 * MIB + 512, 512)
    session.trim(4 * MIB, MIB)
    session.flush()
    session.zero(4 * MIB, MIB)
    session.flush()
    session.write(8 * MIB, 2048)
    session.write(4 * MIB + 1024, 512)
    session.close()
    session.write(9 * MIB, 2048)
    session.write(10 * MIB, 2048)
    session.close()


def with_gaps() -> ImageBuilder:
    image = dynamic(gap=3 * MIB, tail=bytes(2 * MIB))
    end = (image.length() - 2 * MIB) // MIB
    junk(image, image.plan().blocks_offset // MIB - 3, 3)
    junk(image, end, 2)
    return image


def with_anchors() -> ImageBuilder:
    kept = {3: UNMAPPED, 4: UNMAPPED, 5: UNDEFINED}
    image = dynamic()
    image.blocks |= {
        number: Block(block(number).data, state=state, anchored=True) for number, state in kept.items()
    }
    image.blocks[6] = block(6)
    places = image.plan().blocks
    for number in kept:
        junk(image, places[number] // MIB, 1)
    return image


SCENARIOS = (
    Scenario("blocks allocated, a flush for each", dynamic, one_flush_for_each, 470),
    Scenario("blocks allocated, a flush for many", dynamic, one_flush_for_many, 570),
    Scenario("blocks allocated in gaps full of junk", with_gaps, from_junk, 210),
    Scenario("space given up and used again in one session", dynamic, given_up_in_one_session, 410),
    Scenario("space given up and used again across sessions", dynamic, given_up_across_sessions, 130),
    Scenario("blocks without contents that keep their space", with_anchors, anchors, 290),
)
