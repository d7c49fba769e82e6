"""One trial: a scenario in whose step something goes wrong, and everything that must hold afterwards."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import vhdx
from tests.support.layout import MIB
from vhdx.ops.repair import repair

from .checking import assert_sound, copied, is_clean, left_by_a_crash
from .scenarios import Scenario, Session

EXPECTED = (OSError, KeyboardInterrupt, MemoryError)
ASKED: dict[str, Callable[[vhdx.Disk], object]] = {
    "pread": lambda disk: disk.pread(1, 0),
    "preadinto": lambda disk: disk.preadinto(bytearray(9000), 0),
    "extents": lambda disk: list(disk.extents()),
    "pwrite": lambda disk: disk.pwrite(b"x" * 512, 4 * MIB),
    "pwrite of many": lambda disk: disk.pwrite(bytes(2 * MIB), 4 * MIB),
    "zero": lambda disk: disk.zero(length=MIB, offset=0),
    "trim": lambda disk: disk.trim(length=MIB, offset=MIB),
    "flush": lambda disk: disk.flush(),
}


def refuses_everything(disk: vhdx.Disk) -> bool:
    """Whether the object refuses; it must not do so for some requests only."""
    try:
        disk.flush()
    except vhdx.ImageFailedError:
        for ask in ASKED.values():
            with pytest.raises(vhdx.ImageFailedError, match="open it again"):
                ask(disk)
        return True
    return False


class Trial:
    """A scenario whose step is done again and again, each time on a fresh copy of its image."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self.folder = folder
        self.original = folder / "original.vhdx"
        self.copy = folder / "copy.vhdx"
        self.count = 0
        scenario.make(self.original)

    @property
    def image(self) -> Path:
        """The file of the next run; each has its own, so that a run that hangs is in nobody's way."""
        return self.folder / f"{self.count}.vhdx"

    def run(self, trouble: AbstractContextManager[object]) -> tuple[bool, bool]:
        """Let the step fail, look at what is left, then do the step again and see all be well.

        ``trouble`` surrounds the step. Whether the step raised, and whether the object refused everything.
        """
        session = Session(copied(self.original, self.image))
        try:
            self.scenario.before(session)
            raised = self._step_raises(session, trouble)
            left = left_by_a_crash(copied(self.image, self.copy), session.model)
            closed = session.disk_is_closed()
            failed = not closed and refuses_everything(session.disk)
            assert raised or not failed
            if failed:  # nobody must take what was not flushed for written
                with pytest.raises(vhdx.ImageFailedError, match="open it again"):
                    session.close()
            if closed or failed:
                session.close()
                session.model.reset(left)
                session.reopen()
            else:
                self._go_on(session, exact=not raised)
            self.scenario.step(session)
        finally:
            session.close()
        repair(self.image)  # closing once more changed nothing
        assert_sound(self.image, session.model)
        assert is_clean(self.image)
        self.image.unlink()
        self.count += 1
        return raised, failed

    def _step_raises(self, session: Session, trouble: AbstractContextManager[object]) -> bool:
        try:
            with trouble:
                self.scenario.step(session)
        except EXPECTED:
            return True
        return False

    def _go_on(self, session: Session, *, exact: bool) -> None:
        content = session.model.seen_in(session.disk.pread)
        session.model.assert_possible(content)
        assert not exact or content == session.model.content()
        session.model.take(content)
