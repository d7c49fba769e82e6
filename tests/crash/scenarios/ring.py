"""The ring: laps under fresh GUIDs, commits that start early, entries of many pages, larger logs."""

from functools import partial

from tests.crash.session import Session
from tests.support.build import ImageBuilder
from tests.support.layout import GIB, MIB

from .scenario import Scenario, block

BLOCKS_OF_A_PAGE = 512


def laps(session: Session) -> None:
    """Commits of eight pages: a lap of a ring of 1 MiB every 28 flushes."""
    for round_ in range(70):
        for page in range(8):
            session.zero((page * BLOCKS_OF_A_PAGE + 7 + round_) * MIB, MIB)
        written = (round_ % 8 * BLOCKS_OF_A_PAGE + 3) * MIB
        session.write(written, 512)
        if round_ % 2:
            session.zero(written, MIB)
        session.flush()
    session.close()


def small_laps(session: Session) -> None:
    """Commits of one page; the log is full after 127 of them."""
    for number in range(135):
        session.write(3 * MIB + number * MIB, 512)
        if number % 4 == 0:
            session.trim(number * MIB, 2 * MIB)
        session.flush()
    session.close()


def early(session: Session, pages: int = 150) -> None:
    """More pages than half of a log of 1 MiB holds, twice, without a flush between."""
    for page in range(pages):
        if page % 60 == 0:
            session.write((page * BLOCKS_OF_A_PAGE + 5) * MIB, 512)
        session.zero((page * BLOCKS_OF_A_PAGE + 9) * MIB, MIB)
    session.flush()
    session.write(512, 512)
    for page in range(pages):
        session.zero((page * BLOCKS_OF_A_PAGE + 11) * MIB, MIB)
    session.close()


def _disk_of(gigabytes: int, log_length: int = MIB) -> ImageBuilder:
    blocks = {n: block(n) for n in (0, 1, 3)}
    return ImageBuilder(gigabytes * GIB, blocks=blocks, log_length=log_length)


SCENARIOS = (
    Scenario("a ring that fills several times", partial(_disk_of, 4), laps, 1240, samples=3, one_in=4),
    Scenario("a ring filled by small commits", partial(_disk_of, 1), small_laps, 590, samples=2, one_in=6),
    Scenario("commits that start early", partial(_disk_of, 160), early, 750, samples=6, one_in=6),
    Scenario("entries split at 126 pages", partial(_disk_of, 160, 2 * MIB), early, 340, samples=4, one_in=8),
    Scenario("a log of 2 MiB", partial(_disk_of, 4, 2 * MIB), laps, 700, samples=2, one_in=8),
)
