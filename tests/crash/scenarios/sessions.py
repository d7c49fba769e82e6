"""Sessions: opened and closed, killed and replayed, logs of other writers replayed, the file cut."""

from tests.crash.session import Session
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, SECTOR
from tests.support.logs import Data, LogBuilder, Zero, difference
from tests.support.patterns import pattern

from .scenario import Scenario, dynamic


def killed(session: Session) -> None:
    """A dirty log is replayed by the next session; power may fail in any of them."""
    for number in range(4):
        session.write((3 + number) * MIB + 512, 1024)
        session.trim(number * MIB, MIB)
        session.flush()
        session.write((7 + number) * MIB, 512)
        session.write((3 + number) * MIB + 1024, 1024)
        session.abandon()
    session.close()
    session.recover_or_close()


def killed_and_repaired(session: Session) -> None:
    session.write(5 * MIB, 4096)
    session.zero(0, MIB)
    session.flush()
    session.write(6 * MIB, 4096)
    session.abandon()
    session.close()
    session.recover()
    session.write(7 * MIB, 4096)
    session.close()


def the_cut(session: Session) -> None:
    """Closing cuts what was used at the end of the file; the next session extends it again."""
    for number in range(4):
        session.write((4 + number) * MIB, 1024)
    session.flush()
    session.zero(5 * MIB, 3 * MIB)
    session.close()
    session.write(9 * MIB + 512, 512)
    session.close()
    session.trim(0, session.size)
    session.close()
    session.write(MIB + 512, 512)
    session.close()


def replayed(session: Session) -> None:
    """The log of another writer is replayed, then this one goes on."""
    session.write(512, 512)
    session.write(5 * MIB + 512, 512)
    session.flush()
    session.trim(2 * MIB, MIB)
    session.write(6 * MIB, 1024)
    session.close()


def replayed_only(session: Session) -> None:
    session.recover()


def dirty(position: int, length: int = MIB) -> ImageBuilder:
    """Without its replay, block 0 would be block 2 and block 2 be absent; the log begins at `position`."""
    after = dynamic()
    before = dynamic()
    places = after.plan().blocks
    before.bat = {0: places[2] | 6, 2: 0}
    end = after.length()
    log = LogBuilder(length, sequence_number=2**33 + 5, position=position, last_file_offset=end + 5 * MIB)
    log.add(Data(after.plan().metadata_offset + MIB // 2, b"before the tail, never replayed!" * 128))
    tail = log.add(*difference(before.build(), after.build(), 2 * MIB))
    free = after.plan().metadata_offset + MIB // 2
    log.add(Zero(free, 2 * SECTOR), Data(free + 4 * SECTOR, pattern(9, SECTOR)), tail=tail)
    log.add(Data(free, pattern(8, SECTOR)), Zero(end, MIB), tail=tail)
    before.log = log
    return before


SCENARIOS = (
    Scenario("killed, replayed, killed again", dynamic, killed, 550),
    Scenario("killed and repaired", dynamic, killed_and_repaired, 170),
    Scenario("the file cut at its end", dynamic, the_cut, 350),
    Scenario("the log of another writer", lambda: dirty(3 * SECTOR), replayed, 260),
    Scenario("a log that wraps", lambda: dirty(MIB - 3 * SECTOR), replayed, 270),
    Scenario("a log that is replayed and nothing else", lambda: dirty(0), replayed_only, 180),
)
