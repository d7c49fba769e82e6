"""What writers do, as scenarios: an image, what is done before, and the step in which things go wrong.

Together the steps use every path of a session: its first write, allocation of one and of many blocks, reuse
of freed space, rewrites, zero, trim, a ring that is full, replay of a dirty log, repairing, closing.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import vhdx
from tests.support.build import ImageBuilder
from tests.support.layout import MIB, SECTOR
from tests.support.parts import Block, RegionTable
from tests.support.patterns import pattern
from vhdx.disk.open import open_disk

from .checking import copied, model_of
from .images import junk, short_last_block, strange
from .model import REACH

SIZE = 6 * MIB + 512


class Session:
    """A disk and its twin: everything is done to both."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = model_of(path, small=0)
        self.reopen()

    def reopen(self) -> None:
        self.disk = open_disk(self.path, "r+")

    def write(self, tag: int, length: int, offset: int) -> None:
        """Write bytes that name the tag; the twin is told before, for the step may fail in the middle."""
        data = pattern(tag, length, seed=tag)
        self.model.write(data, offset)
        self.disk.pwrite(data, offset)

    def zero(self, length: int, offset: int, *, keep_allocated: bool = False) -> None:
        self.model.zero(length, offset)
        self.disk.zero(length=length, offset=offset, keep_allocated=keep_allocated)

    def trim(self, length: int, offset: int) -> None:
        """Trim, what is trimmed being either zeros or as it was."""
        self.model.zero(length, offset)
        self.disk.trim(length=length, offset=offset)

    def flush(self) -> None:
        self.disk.flush()
        self.model.flushed()

    def close(self) -> None:
        self.disk.close()

    def disk_is_closed(self) -> bool:
        """Whether somebody has closed it."""
        try:
            self.disk.extents(length=0)
        except ValueError:
            return True
        except vhdx.ImageFailedError:
            return False
        return False


Step = Callable[[Session], None]


def nothing(session: Session) -> None:
    """No step."""


class Scenario(NamedTuple):
    """``before`` happens on a sound host, ``step`` on one that fails. Steps can be done again."""

    make: Callable[[Path], object]
    step: Step
    before: Step = nothing


def _dynamic(path: Path) -> None:
    vhdx.create(path, SIZE, block_size=MIB)


def _filled(path: Path) -> None:
    """Three blocks with contents, the first two of which lie in the way of a cut."""
    image = ImageBuilder(disk_size=SIZE, blocks={n: Block(_seen_parts(n)) for n in (0, 2, 4)})
    image.tail = junk(4096).ljust(MIB, b"\0")
    image.write(path)


def _seen_parts(block: int) -> dict[int, bytes]:
    """The contents of a block where the windows of a model look; the rest is left out, to be fast."""
    parts = ((0, REACH), (MIB // 2 - REACH, 2 * REACH), (MIB - REACH, REACH))
    return {start: pattern(block, length, start=start) for start, length in parts}


def _fixed(path: Path) -> None:
    vhdx.create(path, SIZE, block_size=MIB, disk_type="fixed")


def _dirty(path: Path) -> None:
    """What a killed process leaves: two commits in the log, the last of them not yet in its place."""
    work = path.with_name("work.vhdx")
    _filled(work)
    with open_disk(work, "r+") as disk:
        disk.pwrite(junk(4096), 5 * MIB)
        disk.flush()
        disk.zero(length=MIB, offset=0)
        disk.pwrite(pattern(3, 4096), 3 * MIB)
        disk.flush()
        copied(work, path)
    work.unlink()


def _damaged_table(path: Path) -> None:
    image = ImageBuilder(disk_size=SIZE, blocks={1: Block(_seen_parts(1))})
    image.region_tables = {2: RegionTable(checksum=0)}
    image.write(path)


def _allocate_one(session: Session) -> None:
    session.write(11, 5000, MIB + 100)
    session.flush()


def _allocate_many(session: Session) -> None:
    session.write(12, 4 * MIB, MIB // 2)
    session.flush()


def _in_place(session: Session) -> None:
    session.write(13, 5000, 4 * MIB + 1000)
    session.flush()


def _look(session: Session) -> None:
    """Reads everything: from then on the library remembers where blocks are."""
    session.model.assert_equal(session.disk.pread)


def _zero_some(session: Session) -> None:
    session.zero(2 * MIB + 700, 2 * MIB - 300)
    session.flush()


def _zero_in_place(session: Session) -> None:
    session.zero(2 * MIB + 700, 2 * MIB - 300, keep_allocated=True)
    session.flush()


def _trim_some(session: Session) -> None:
    session.trim(3 * MIB + 700, MIB - 300)
    session.flush()


def _free_a_block(session: Session) -> None:
    session.trim(MIB, 2 * MIB)
    session.flush()


def _reuse(session: Session) -> None:
    session.write(14, 5000, MIB + 700)
    session.write(15, 700, 5 * MIB + 1)
    session.flush()


def _trim_and_write_again(session: Session) -> None:
    session.trim(MIB, 4 * MIB)
    session.write(16, 512, 4 * MIB + 512)
    session.flush()
    session.write(17, 512, 3 * MIB)
    session.flush()


def _fill_the_ring(session: Session) -> None:
    """The next commit, of two sectors, is the last one that fits."""
    session.write(18, 512, MIB)
    session.flush()
    assert session.disk._writer is not None
    journal = session.disk._writer._transaction._journal
    journal._position = journal._length - 3 * SECTOR


def _commit_twice(session: Session) -> None:
    session.write(19, 512, 5 * MIB)
    session.flush()
    session.zero(MIB, 4 * MIB)
    session.flush()


def _write_without_flush(session: Session) -> None:
    session.write(20, 2 * MIB, MIB // 2)
    session.zero(MIB, 4 * MIB)


def _close(session: Session) -> None:
    session.close()


def _close_with_a_cut(session: Session) -> None:
    """Free space at the end of the file."""
    session.trim(MIB, 4 * MIB)
    session.close()


def _write_to_the_end(session: Session) -> None:
    session.write(21, 3 * MIB, session.disk.size - 3 * MIB)
    session.flush()


SCENARIOS: dict[str, Scenario] = {
    "first write of a session, in place": Scenario(_fixed, _in_place),
    "in place": Scenario(_filled, _in_place, _in_place),
    "first write of a session, new block": Scenario(_dynamic, _allocate_one),
    "one more block": Scenario(_dynamic, _in_place, _allocate_one),
    "many blocks": Scenario(_dynamic, _allocate_many),
    "junk in free space": Scenario(lambda path: strange().write(path), _allocate_many),
    "reuse": Scenario(_filled, _reuse, _free_a_block),
    "trim and write again": Scenario(_filled, _trim_and_write_again, _look),
    "zero": Scenario(_filled, _zero_some, _look),
    "zero in place": Scenario(_filled, _zero_in_place),
    "trim": Scenario(_filled, _trim_some, _look),
    "full ring": Scenario(_dynamic, _commit_twice, _fill_the_ring),
    "replay": Scenario(_dirty, _allocate_one),
    "replay before a write in place": Scenario(_dirty, _in_place),
    "damaged table": Scenario(_damaged_table, _in_place),
    "short last block": Scenario(lambda path: short_last_block().write(path), _write_to_the_end),
    "close": Scenario(_dynamic, _close, _write_without_flush),
    "close with a cut": Scenario(_filled, _close_with_a_cut, _in_place),
    "close after replay": Scenario(_dirty, _close, _write_without_flush),
}
