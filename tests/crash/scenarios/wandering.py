"""Wandering: whatever comes to mind next, on images of all kinds. What it does depends on the seed alone."""

from tests.crash.session import Session
from tests.support.layout import MIB

from .allocating import with_anchors, with_gaps
from .foreign import fixed, qemu_dynamic
from .scenario import Scenario, dynamic
from .writing import large, of_4096


def wander(session: Session, steps: int = 25) -> None:
    chance = session.chance
    for _ in range(steps):
        what = chance.choices(
            ("write", "small", "zero", "keep", "trim", "part", "flush", "close", "kill", "repair"),
            (6, 3, 3, 1, 3, 2, 6, 1, 1, 1),
        )[0]
        size = session.survey.disk.block_size
        start = chance.randrange(session.size // size) * size
        whole = min(size * chance.randint(1, 2), session.size - start)
        if what in ("write", "small"):
            length = chance.choice((512, 2048, 4096, 5000) if what == "write" else (1, 100, 513))
            session.write(
                min(start + chance.choice((0, 512, 777, size - 1000)), session.size - length), length
            )
        elif what in ("zero", "keep"):
            session.zero(start, whole, keep_allocated=what == "keep")
        elif what == "trim":
            session.trim(start, whole)
        elif what == "part":
            offset = start + chance.choice((0, 512, 300, size // 2))
            clear = session.zero if chance.random() < 0.5 else session.trim
            clear(offset, min(chance.choice((512, 1000, MIB // 2)), session.size - offset))
        elif what == "flush":
            session.flush()
        elif what == "close":
            session.close()
        elif what == "kill":
            session.abandon()
        else:
            session.recover_or_close()
    session.recover_or_close()


SCENARIOS = (
    Scenario("wandering on a dynamic image", dynamic, wander, 190),
    Scenario("wandering among junk", with_gaps, wander, 360),
    Scenario("wandering among kept space", with_anchors, wander, 280),
    Scenario("wandering on a fixed image", fixed, wander, 85),
    Scenario("wandering on an image of QEMU", qemu_dynamic, wander, 490),
    Scenario("wandering on sectors of 4096 bytes", of_4096, wander, 540),
    Scenario("wandering on blocks of 4 MiB", large, wander, 140),
)
