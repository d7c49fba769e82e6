"""Compacting: blocks of zeros and kept space go, the last blocks move, the file is cut, over and over."""

from functools import partial
from unittest import mock

from tests.crash.session import Session
from tests.support.build import ImageBuilder
from tests.support.layout import GIB, MIB
from tests.support.parts import Block
from vhdx.reshape import relocate

from .allocating import with_anchors, with_gaps
from .foreign import fixed, qemu_dynamic
from .scenario import Scenario, block, dynamic
from .writing import large, of_4096


def compacted(session: Session) -> None:
    session.compact()
    session.compact()


def scanned(session: Session) -> None:
    session.compact(scan_zeros=True)


def after_zeros(session: Session) -> None:
    """Space is given up, some by blocks that hold zeros; what is written later finds the right blocks."""
    session.write(7 * MIB, 4096)
    session.zero(0, MIB)
    session.trim(3 * MIB, MIB)
    session.zero(2 * MIB, MIB, keep_allocated=True)
    session.close()
    session.compact(scan_zeros=True)
    session.write(2 * MIB + 512, 512)
    session.write(6 * MIB + 512, 512)
    session.flush()
    session.zero(MIB, MIB)
    session.compact()
    session.write(session.size - 1024, 1024)
    session.close()


def in_small_batches(session: Session) -> None:
    """A commit after every second block, so that sources are given back while others still move."""
    with mock.patch.object(relocate, "_BATCH_SIZE", 2 * MIB):
        session.compact()
    session.write(MIB + 512, 512)
    session.close()


def holes(session: Session) -> None:
    session.zero(512, MIB // 2, keep_allocated=True)
    session.close()
    session.compact(punch=True)
    session.write(1024, 1024)
    session.close()


def interrupted(session: Session) -> None:
    """By Ctrl-C while blocks are looked at, and while they move."""
    session.compact(scan_zeros=True, interrupted=4)
    session.write(4 * MIB + 512, 512)
    session.close()
    session.compact(interrupted=2)
    session.compact(scan_zeros=True)


def killed(session: Session) -> None:
    """What was moved in memory alone is where it was; the log of the dead is replayed."""
    with mock.patch.object(relocate, "_BATCH_SIZE", 2 * MIB):
        session.compact(scan_zeros=True, killed=True, interrupted=16)
        session.compact(killed=True, interrupted=1)
        session.compact(scan_zeros=True)
    session.write(11 * MIB, 512)
    session.close()


def with_a_dirty_log(session: Session) -> None:
    session.write(7 * MIB, 4096)
    session.zero(0, MIB)
    session.flush()
    session.write(8 * MIB, 4096)
    session.abandon()
    session.compact(scan_zeros=True)
    session.close()


def laps(session: Session) -> None:
    """Blocks whose entries stand in many pages: commits that start early."""
    session.compact(scan_zeros=True)
    session.write(512, 512)
    session.close()


def _full(**changes: object) -> ImageBuilder:
    """Every second block has contents, the others are zeros; the file is in no order."""
    image = dynamic(present=12, **changes)
    places = image.plan().blocks
    for number in range(12):
        image.blocks[number].file_offset = places[number * 5 % 12]
        if number % 2:
            image.blocks[number].data = b""
    return image


def _scattered() -> ImageBuilder:
    """Blocks far apart in the table: half of them are zeros."""
    blocks = {page * 512 + 3: block(page) if page % 2 else Block() for page in range(150)}
    return ImageBuilder(80 * GIB, blocks=blocks)


SCENARIOS = (
    Scenario("compacted among junk", with_gaps, compacted, 20),
    Scenario("compacted with kept space", with_anchors, compacted, 20),
    Scenario("compacted in small batches", partial(_full, gap=5 * MIB), in_small_batches, 60),
    Scenario("blocks of zeros", _full, scanned, 60),
    Scenario("zeroed, compacted, written", dynamic, after_zeros, 200),
    Scenario("compacted, blocks of 4 MiB", large, after_zeros, 100),
    Scenario("compacted, sectors of 4096 bytes", of_4096, after_zeros, 100),
    Scenario("an image of QEMU compacted", qemu_dynamic, scanned, 5),
    Scenario("compacted with a dirty log", dynamic, with_a_dirty_log, 50),
    Scenario("holes in a fixed image", fixed, holes, 10),
    Scenario("holes in a dynamic image", dynamic, holes, 20),
    Scenario("a compaction interrupted", _full, interrupted, 100),
    Scenario("a compaction killed", _full, killed, 100),
    Scenario("compacted, in more pages than half the log", _scattered, laps, 94, samples=2, one_in=20),
)
